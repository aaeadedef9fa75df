"""`POST /v1/reports`: tables of results in, one page to read out.

May import Starlette, and from mien: errors, report, and its siblings workers, uploads, refusals and
settings.
"""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from starlette.requests import Request
from starlette.responses import Response

from mien.errors import MienError, SinkError
from mien.report import write_report
from mien.server.refusals import Refusal
from mien.server.settings import MB, Settings
from mien.server.uploads import read_files
from mien.server.workers import Full, Workers

#: What a report may do in a browser: it runs nothing, loads nothing and belongs to no site.
ALONE: Final = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:"
}

_SUFFIXES: Final = (".jsonl", ".json", ".csv")
_MOST_TABLES: Final = 50

#: For the description of the interface.
BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            }
        },
    },
    "responses": {"200": {"description": "the page", "content": {"text/html": {}}}},
}


class Reports:
    """All requests for reports of tables that the client holds.

    Args:
        workers: where reports are written.
        settings: the limits.
        folder: where tables lie meanwhile: one that is cleared when a server starts.
    """

    def __init__(self, workers: Workers, settings: Settings, folder: Path) -> None:
        self._workers, self._settings, self._folder = workers, settings, folder

    async def make(self, request: Request, view: str = "research", purpose: str = "") -> Response:
        """One page about the tables in a request, each a field `file`.

        Raises:
            Refusal: it cannot be served, or there is no table that can be read.
            OSError: the disk does not take it.
        """
        # A worker whose time is over may still write there while it is removed.
        place = tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True)
        with place as folder:
            tables: dict[Path, str] = {}
            try:
                async with asyncio.timeout(self._settings.timeout):
                    tables = await self._store(request, Path(folder))
                    out = Path(folder) / "report.html"
                    work = partial(
                        write_report,
                        list(tables),
                        out,
                        view=view,
                        purpose=purpose,
                        called=list(tables.values()),
                    )
                    await asyncio.wrap_future(self._workers.submit("report", work))
            except TimeoutError:
                limit = f"{self._settings.timeout:g} seconds, the limit"
                if tables:
                    raise Refusal(503, f"not done within {limit}") from None
                raise Refusal(408, f"the tables did not come within {limit}") from None
            except Full:
                raise Refusal(503, "too much is waiting. Try again in seconds") from None
            except SinkError as error:
                raise error.__cause__ or error  # noqa: B904  (the disk's, not the client's)
            except MienError as error:
                raise Refusal(422, str(error)) from None
            return Response(out.read_bytes(), media_type="text/html", headers=ALONE)

    async def _store(self, request: Request, folder: Path) -> dict[Path, str]:
        """Write the tables of a request's body, and how the client calls each."""
        opened: list[tuple[Path, BinaryIO]] = []

        def open_file() -> BinaryIO:
            path = folder / str(len(opened))
            opened.append((path, path.open("xb")))
            return opened[-1][1]

        try:
            named = await read_files(
                request,
                open_file,
                max_files=_MOST_TABLES,
                max_bytes=self._settings.max_body_mb * MB,
                on_disk=True,
            )
        finally:
            for _, file in opened:
                file.close()
        tables = {}
        for (name, _), (path, _) in zip(named, opened, strict=True):
            suffix = Path(name).suffix
            if suffix.lower() not in _SUFFIXES:
                raise Refusal(422, f"{name}: expected a table of mien's: {' '.join(_SUFFIXES)}")
            tables[path.replace(path.with_suffix(suffix))] = name
        return tables
