"""`POST /v1/analyze`: pictures in, what `mien analyze --json` prints out.

May import Starlette, and from mien: errors, picture, pipeline, sinks, types, and its
siblings workers, uploads, refusals, settings and meters.
"""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from mien.errors import SourceError
from mien.picture import looks_like_picture, read_picture, require_content
from mien.pipeline import Analyzer, Found
from mien.server.meters import Meters
from mien.server.refusals import Refusal, too_late
from mien.server.settings import MB, Settings
from mien.server.uploads import read_files
from mien.server.workers import Full, Workers
from mien.sinks import to_json
from mien.types import Frame, FrameResult

#: How many pictures' faces are classified in one batch where many wait. More saves little more and
#: keeps the first of them waiting.
_TOGETHER: Final = 4

_Answer = Future[FrameResult]


class Pictures:
    """All requests with pictures."""

    def __init__(
        self, analyzer: Analyzer, workers: Workers, settings: Settings, meters: Meters
    ) -> None:
        self._analyzer, self._workers = analyzer, workers
        self._settings, self._meters = settings, meters
        self._lock = threading.Lock()
        self._found: list[tuple[_Answer, Found]] = []  # faces that are not yet classified
        self._held_bytes = 0

    def held(self) -> dict[str, float]:
        """How many bytes are in memory."""
        return {"picture": self._held_bytes}

    async def analyze(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            Refusal: it cannot be served.
        """
        if self._workers.waiting("picture") >= self._settings.max_waiting:
            raise _full()
        held = _Held(self._hold)
        pictures: list[tuple[str, bytes]] = []
        try:
            async with asyncio.timeout(self._settings.timeout):
                files = await read_files(
                    request,
                    io.BytesIO,
                    max_files=self._settings.max_pictures,
                    max_bytes=self._settings.max_body_mb * MB,
                    take=held.take,
                )
                pictures = [(name, _bytes(file)) for name, file in files]
                answers = self._submit(pictures, held)
                results = await asyncio.gather(
                    *(asyncio.wrap_future(answer) for answer in answers), return_exceptions=True
                )
        except TimeoutError:
            limit_s = self._settings.timeout
            raise too_late("the request", limit_s, came=bool(pictures)) from None
        finally:
            held.release()
        return _response([name for name, _ in pictures], results)

    def _submit(self, pictures: list[tuple[str, bytes]], held: _Held) -> list[_Answer]:
        """Let pictures wait for their turn, all or none of them."""
        room = self._settings.max_waiting - self._workers.waiting("picture")
        if len(pictures) > room:
            raise _full()
        answers = []
        for name, data in pictures:
            answer: _Answer = Future()
            try:
                self._workers.submit("picture", partial(self._turn, answer, name, data))
            except Full:  # the server is going down
                raise _full() from None
            held.give(len(data))
            answers.append(answer)
        return answers

    def _turn(self, answer: _Answer, name: str, data: bytes) -> None:
        """Find a picture's faces, and classify them together with those found before.

        They wait for each other only while more pictures wait, whose turns will see to them.
        """
        found = None
        try:
            if answer.set_running_or_notify_cancel():
                found = self._find(name, data)
        except BaseException as error:  # whoever waits for the answer handles it
            answer.set_exception(error)
        self._hold(-len(data))
        with self._lock:
            if found is not None:
                self._found.append((answer, found))
            if self._workers.waiting("picture") and len(self._found) < _TOGETHER:
                return
            batch, self._found = self._found, []
        if batch:
            self._classify(batch)

    def _find(self, name: str, data: bytes) -> Found:
        said = name or "picture"
        require_content(io.BytesIO(data), said)
        if not looks_like_picture(data):
            raise SourceError(
                f"{said}: not a picture. Expected JPEG, PNG, WebP, AVIF, HEIF, BMP or TIFF"
            )
        image = read_picture(io.BytesIO(data), said, max_pixels=self._settings.max_pixels)
        return self._analyzer.find(Frame(image, name))

    def _classify(self, batch: list[tuple[_Answer, Found]]) -> None:
        try:
            results = self._analyzer.classify_found([found for _, found in batch])
        except BaseException as error:
            for answer, _ in batch:
                answer.set_exception(error)
            return
        for (answer, _), result in zip(batch, results, strict=True):
            self._meters.analyzed("picture", len(result.faces))
            answer.set_result(result)

    def _hold(self, size: int) -> None:
        """Hold so many bytes more (or less), if that is still possible."""
        with self._lock:
            if size > 0 and self._held_bytes + size > self._settings.max_waiting_mb * MB:
                raise _full()
            self._held_bytes += size


class _Held:
    """The bytes that one request holds in memory."""

    def __init__(self, hold: Callable[[int], None]) -> None:
        self._hold, self._bytes = hold, 0

    def take(self, size: int) -> None:
        """Hold more."""
        self._hold(size)
        self._bytes += size

    def give(self, size: int) -> None:
        """Leave so many to somebody else, who lets go of them."""
        self._bytes -= size

    def release(self) -> None:
        """Let go of the rest."""
        self._hold(-self._bytes)
        self._bytes = 0


def _bytes(file: object) -> bytes:
    assert isinstance(file, io.BytesIO)
    return file.getvalue()


def _full() -> Refusal:
    return Refusal(503, "too many pictures are waiting. Try again in seconds")


def _response(names: list[str], results: list[FrameResult | BaseException]) -> Response:
    """One object for one picture, a list for several."""
    texts = []
    for name, result in zip(names, results, strict=True):
        if isinstance(result, FrameResult):
            texts.append(to_json(result))
        elif isinstance(result, SourceError):
            if len(results) == 1:
                raise Refusal(422, str(result))
            texts.append(json.dumps({"source": name, "error": str(result)}, ensure_ascii=False))
        else:  # a defect of ours
            raise result
    good = any(isinstance(result, FrameResult) for result in results)
    body = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return Response(body, 200 if good else 422, media_type="application/json")
