"""`POST /v1/reports`: tables of results in, one page to read out.

May import Starlette, and from mien: errors, report, and its siblings workers, uploads, refusals and
settings.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from mien.errors import MienError, SinkError
from mien.report import write_report
from mien.server.refusals import Refusal, too_late
from mien.server.settings import MB, Settings
from mien.server.uploads import Room, save_files
from mien.server.workers import Full, Workers

#: What a report may do in a browser: it runs nothing, loads nothing and belongs to no site.
ALONE: Final = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:"
}

_SUFFIXES: Final = (".jsonl", ".json", ".csv")
_MOST_TABLES: Final = 50
_MOST_HELD: Final = 50_000  # recordings, and faces in them


class Reports:
    """All requests for reports of tables that the client holds.

    Args:
        workers: where reports are written.
        settings: the limits.
        folder: where tables lie meanwhile: one that is cleared when a server starts.
        room: what there is of it.
    """

    def __init__(self, workers: Workers, settings: Settings, folder: Path, room: Room) -> None:
        self._workers, self._settings, self._folder = workers, settings, folder
        self._room = room
        self._under_way = 0

    async def make(self, request: Request, view: str = "research", purpose: str = "") -> Response:
        """One page about the tables in a request, each a field `file`.

        Raises:
            Refusal: it cannot be served, or there is no table that can be read.
            OSError: the disk does not take it.
        """
        if self._under_way >= self._settings.max_waiting:
            raise _full()
        self._under_way += 1
        try:
            with self._room.hold(request) as take:
                return await self._make(request, view, purpose, take)
        finally:
            self._under_way -= 1

    async def _make(
        self, request: Request, view: str, purpose: str, take: Callable[[int], None]
    ) -> Response:
        # A worker whose time is over may still write there while it is removed.
        place = tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True)
        with place as folder:
            tables: dict[Path, str] = {}
            try:
                async with asyncio.timeout(self._settings.report_timeout):
                    tables = await self._store(request, Path(folder), take)
                    out = Path(folder) / "report.html"
                    work = partial(
                        write_report,
                        list(tables),
                        out,
                        view=view,
                        purpose=purpose,
                        called=list(tables.values()),
                        most=_MOST_HELD,
                    )
                    await asyncio.wrap_future(self._workers.submit("report", work))
            except TimeoutError:
                limit_s = self._settings.report_timeout
                raise too_late("the tables", limit_s, came=bool(tables)) from None
            except Full:
                raise _full() from None
            except SinkError as error:
                raise error.__cause__ or error  # noqa: B904  (the disk's, not the client's)
            except MienError as error:
                raise Refusal(422, str(error)) from None
            return Response(out.read_bytes(), media_type="text/html", headers=ALONE)

    async def _store(
        self, request: Request, folder: Path, take: Callable[[int], None]
    ) -> dict[Path, str]:
        """Write the tables of a request's body, and how the client calls each."""
        paths = [folder / str(number) for number in range(_MOST_TABLES)]
        most = self._settings.max_report_mb * MB
        tables = {}
        for name, path in await save_files(request, paths, max_bytes=most, take=take):
            suffix = Path(name).suffix
            if suffix.lower() not in _SUFFIXES:
                expected = f"expected a table of mien's: {' '.join(_SUFFIXES)}"
                raise Refusal(422, f"{name or 'no name'}: {expected}")
            tables[path.replace(path.with_suffix(suffix))] = name
        return tables


def _full() -> Refusal:
    return Refusal(503, "too many reports are waiting. Try again in seconds")
