"""What `/openapi.json` says that FastAPI does not find out itself: bodies, errors, files, keys.

Imports types only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
_ONE_FAILED: Final = _object(source=_TEXT, error=_TEXT)
_ONE_OF_MANY: Final = {"oneOf": [RESULT, _ONE_FAILED]}


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


#: What may be wrong, beside a key that is missing and a host or a page that is refused.
_ERRORS: Final = {
    400: "a body that cannot be read",
    404: "there is no such thing, or its time is over",
    408: "the body did not come in time",
    413: "too large",
    415: "of a kind that is not understood",
    422: "something about it is wrong",
    503: "full for now: see Retry-After",
    507: "no room on the server's disk",
}

#: What may be wrong with an upload that is written to the disk.
UPLOADING: Final = (400, 408, 413, 415, 422, 503, 507)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses` for refusals with these statuses."""
    return {status: _json(_ERRORS[status], _ERROR) for status in statuses}


def files(about: str, kinds: Iterable[str]) -> dict[str, Any]:
    """An answer that is a file of one of these kinds."""
    return {"description": about, "content": _bytes(*kinds)}


def complete(
    document: dict[str, Any], needs_key: Callable[[str], bool], *, has_key: bool
) -> dict[str, Any]:
    """FastAPI's description with the errors and the keys that hold for every address.

    Args:
        document: what FastAPI made; it is changed.
        needs_key: whether an address asks for the key.
        has_key: whether the server has one.
    """
    parts = document.setdefault("components", {})
    parts["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for name in ("HTTPValidationError", "ValidationError"):  # errors look otherwise here
        parts.get("schemas", {}).pop(name, None)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            answers = operation["responses"]
            if "HTTPValidationError" in str(answers.get("422")):
                answers["422"] = _json(_ERRORS[422], _ERROR)
            answers["403"] = _json("another host, or a page of another site", _ERROR)
            if needs_key(path):
                answers["401"] = _json("the key is missing or wrong", _ERROR)
                # An empty one: it can be done without.
                operation["security"] = [{"bearer": []}, {"header": []}] + [{}] * (not has_key)
    return document


#: `POST /v1/analyze`.
ANALYZE: Final[dict[str, Any]] = {
    "parameters": _named(),
    "requestBody": _upload("image/*", "application/octet-stream", many=True),
    "responses": {
        "200": _json(
            "the result, or a list for several", {"oneOf": [RESULT, _array(_ONE_OF_MANY)]}
        ),
        "422": _json("no picture could be read", {"oneOf": [_ERROR, _array(_ONE_FAILED)]}),
    },
}

#: `POST /v1/reports`.
REPORT: Final[dict[str, Any]] = {
    "requestBody": _upload(many=True),
    "responses": {
        "200": {"description": "the page", "content": {"text/html": {"schema": _TEXT}}},
    },
}

#: The body of `POST /v1/videos`; the rest FastAPI knows.
VIDEO: Final[dict[str, Any]] = {
    "parameters": _named(),
    "requestBody": _upload("video/*", "application/octet-stream", many=False),
}
