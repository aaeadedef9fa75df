"""What `/openapi.json` says of pictures, whose requests and answers FastAPI does not read itself.

Imports types only.
"""

from __future__ import annotations

from typing import Any, Final

from mien.types import QUALITY_REASONS, SCHEMA_VERSION

_NUMBER: Final = {"type": "number"}
_INTEGER: Final = {"type": "integer"}
_TEXT: Final = {"type": "string"}
_SHARE: Final = {"type": "number", "minimum": 0, "maximum": 1}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _array(items: Any, count: int | None = None) -> dict[str, Any]:
    length = {} if count is None else {"minItems": count, "maxItems": count}
    return {"type": "array", "items": items, **length}


#: A frame's result, as docs/usage.md explains it.
RESULT: Final = _object(
    schema={"const": SCHEMA_VERSION},
    source=_TEXT,
    frame=_INTEGER,
    time_s=_NUMBER,
    width=_INTEGER,
    height=_INTEGER,
    model=_TEXT,
    faces=_array(
        _object(
            track_id={"type": ["integer", "null"]},
            box=_array(_NUMBER, 4),
            score=_SHARE,
            landmarks=_array(_array(_NUMBER, 2), 5),
            expression=_TEXT,
            confidence=_SHARE,
            uncertain={"type": "boolean"},
            probs={"type": "object", "additionalProperties": _SHARE},
            quality=_object(score=_SHARE, reasons=_array({"enum": list(QUALITY_REASONS)})),
        )
    ),
)

_ERROR: Final = _object(error=_TEXT)
_ONE_OF_MANY: Final = {"oneOf": [RESULT, _object(source=_TEXT, error=_TEXT)]}


def _json(about: str, schema: Any) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": schema}}}


def _bytes(*media: str) -> dict[str, Any]:
    return {kind: {"schema": {"type": "string", "format": "binary"}} for kind in media}


def _upload(*media: str, many: bool) -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    form = _object(file=_array(file) if many else file)
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": form}, **_bytes(*media)},
    }


def _named() -> list[dict[str, Any]]:
    return [{"name": "name", "in": "query", "required": False, "schema": _TEXT}]


#: `POST /v1/analyze`.
ANALYZE: Final[dict[str, Any]] = {
    "parameters": _named(),
    "requestBody": _upload("image/*", "application/octet-stream", many=True),
    "responses": {
        "200": _json(
            "the result, or a list for several", {"oneOf": [RESULT, _array(_ONE_OF_MANY)]}
        ),
        "408": _json("the pictures did not come in time", _ERROR),
        "413": _json("too large", _ERROR),
        "415": _json("of a kind that is not understood", _ERROR),
        "422": _json("no picture could be read", {"oneOf": [_ERROR, _array(_ERROR)]}),
        "503": _json("full for now: see Retry-After", _ERROR),
    },
}

#: The body of `POST /v1/videos`; the rest FastAPI knows.
VIDEO: Final[dict[str, Any]] = {
    "requestBody": _upload("video/*", "application/octet-stream", many=False)
}
