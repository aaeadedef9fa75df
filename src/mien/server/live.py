"""`WS /v1/live`: frames of a camera in, what the faces show out, as fast as both sides can.

May import Starlette, and from mien: errors, following, picture, pipeline, types, and its siblings
workers, settings and meters.

Frames that come faster than they can be analysed are dropped: the newest waits, the one before it
goes. So answers are never older than one frame, whatever the speed of either side. Each camera has
one turn among the workers at a time, and so all of them get as many.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import math
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from mien.errors import SourceError
from mien.following import Following
from mien.picture import looks_like_picture, read_picture
from mien.pipeline import Analyzer
from mien.server.meters import Meters
from mien.server.settings import Settings, option
from mien.server.workers import Full, Workers
from mien.types import Frame

_LOG: Final = logging.getLogger(__name__)

_TIME: Final = struct.Struct("<d")
_TRY_AGAIN_LATER: Final = 1013
_IDLE: Final = 4408  # of the codes that are anybody's: as HTTP's 408
_SEND_S: Final = 10.0  # a client that takes no answer for so long is gone
_LONGEST_BASELINE_S: Final = 60.0


@dataclass(frozen=True)
class _Sent:
    """One frame as it came in."""

    number: int
    time_s: float
    picture: bytes
    came: float  # by `time.perf_counter`


class Session:
    """One camera since it began or was reset: the frame that waits, and what is known of faces."""

    def __init__(self, analyzer: Analyzer, settings: Settings, meters: Meters) -> None:
        self._analyzer, self._settings, self._meters = analyzer, settings, meters
        self._following: Following = analyzer.following()
        self._lock = Lock()
        self._waiting: _Sent | None = None
        self._time_s = 0.0
        self._received = self._dropped = 0
        self._learning = False  # whether a baseline is asked for whose end is not told yet

    def learn_baseline(self, seconds: float) -> None:
        """Take each person's face of the next seconds for their neutral one.

        Raises:
            ValueError: not a useful number of seconds, or the model has no class neutral.
        """
        if not 0 < seconds <= _LONGEST_BASELINE_S:
            raise ValueError(
                f"seconds: expected more than 0 and at most {_LONGEST_BASELINE_S:g}, got {seconds}"
            )
        self._following.learn_baseline(seconds)
        self._learning = True

    def receive(self, message: bytes) -> dict[str, Any] | None:
        """Let a frame wait, in the place of one that waits already; or say why it is none."""
        number = self._received
        self._received += 1
        if len(message) <= _TIME.size:
            wrong = f"expected 8 bytes of time and a picture after them, got {len(message)} bytes"
            return _error(wrong, "frame", number)
        (time_s,) = _TIME.unpack_from(message)
        if not self._time_s <= time_s < math.inf:
            wrong = f"time_s: expected seconds that do not fall, got {time_s} after {self._time_s}"
            return _error(wrong, "frame", number)
        self._time_s = time_s
        sent = _Sent(number, time_s, message[_TIME.size :], time.perf_counter())
        with self._lock:
            drops, self._waiting = self._waiting is not None, sent
        if drops:
            self._dropped += 1
            self._meters.live_dropped.inc()
        return None

    def turn(self) -> list[dict[str, Any]]:
        """Analyse the frame that waits, if there is one, and return the messages about it.

        Runs in a worker, one turn at a time; everything else runs in the server's loop.
        """
        with self._lock:
            sent, self._waiting = self._waiting, None
        if sent is None:
            return []
        began = time.perf_counter()
        try:
            if not looks_like_picture(sent.picture):
                raise SourceError("live: not a picture. Expected JPEG, PNG or WebP")
            image = read_picture(
                io.BytesIO(sent.picture),
                "live",
                max_pixels=self._settings.live_px**2,
                raised_by=option("live_px"),
            )
            frame = Frame(image, "live", sent.number, sent.time_s)
            result = self._analyzer.analyze_frame(frame, following=self._following)
        except SourceError as error:
            return [_error(str(error), "frame", sent.number)]
        except Exception:
            _LOG.exception("a live frame failed")
            wrong = "a defect of mien; the server's stderr says more"
            return [_error(wrong, "frame", sent.number)]
        ended = time.perf_counter()
        self._meters.analyzed("live", len(result.faces))
        self._meters.live_seconds.observe(ended - sent.came)
        answer = {
            "type": "result",
            "result": result.to_dict(),
            "received": self._received,
            "dropped": self._dropped,
            "wait_ms": 1000 * (began - sent.came),
            "work_ms": 1000 * (ended - began),
        }
        return [answer, *self._learned()]

    def _learned(self) -> list[dict[str, Any]]:
        """The message that a baseline is set, once it is."""
        baseline = self._following.baseline
        if not self._learning or baseline is None or baseline.learning:
            return []
        self._learning = False
        return [{"type": "baseline_set", "track_ids": list(baseline.tracks)}]


class Live:
    """All live connections."""

    def __init__(
        self, analyzer: Analyzer, workers: Workers, settings: Settings, meters: Meters
    ) -> None:
        self._analyzer, self._workers = analyzer, workers
        self._settings, self._meters = settings, meters
        self._connections = 0

    async def serve(self, socket: WebSocket) -> None:
        """Talk to one client until it goes."""
        analyzer, settings, meters = self._analyzer, self._settings, self._meters
        await socket.accept()
        with suppress(WebSocketDisconnect, TimeoutError):
            if self._connections >= settings.max_live:
                await _send(socket, _error("too many live connections. Try again later"))
                await socket.close(_TRY_AGAIN_LATER)
                return
            self._connections += 1
            meters.live_connections.set(self._connections)
            try:
                spec = analyzer.classifier.spec
                hello = {
                    "type": "hello",
                    "model": spec.name,
                    "labels": list(spec.labels),
                    "max_px": settings.live_px,
                    "max_fps": settings.live_fps,
                }
                await _send(socket, hello)
                new_session = partial(Session, analyzer, settings, meters)
                await _Conversation(socket, self._workers, settings, new_session).hold()
            finally:
                self._connections -= 1
                meters.live_connections.set(self._connections)


class _Conversation:
    """Listening to one client and answering it, at the same time."""

    def __init__(
        self,
        socket: WebSocket,
        workers: Workers,
        settings: Settings,
        new_session: Callable[[], Session],
    ) -> None:
        self._socket, self._workers = socket, workers
        self._fps, self._idle_s = settings.live_fps, settings.live_idle_s
        self._new_session, self._session = new_session, new_session()
        self._arrived = asyncio.Event()
        self._speaking = asyncio.Lock()

    async def hold(self) -> None:
        """Listen and answer until the client goes."""
        both = [asyncio.create_task(self._listen()), asyncio.create_task(self._answer())]
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        for task in done:
            task.result()

    async def _listen(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._idle_s):
                    message = await self._socket.receive()
            except TimeoutError:
                said = f"nothing came for {self._idle_s:g} seconds, the limit"
                await self._socket.close(_IDLE, said)
                return
            if message["type"] == "websocket.disconnect":
                return
            try:
                if message.get("bytes") is not None:
                    refusal = self._session.receive(message["bytes"])
                    if refusal is None:
                        self._arrived.set()
                    else:
                        await self._say(refusal)
                else:
                    await self._say(self._obey(message.get("text") or ""))
            except ValueError as error:
                await self._say(_error(str(error)))

    def _obey(self, text: str) -> dict[str, Any]:
        """Do what a text message asks; returns the message that says so."""
        try:
            command = json.loads(text)
            kind = command["type"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ValueError('expected a JSON object with a "type"') from None
        if kind == "reset":
            self._session = self._new_session()
            return {"type": "reset"}
        if kind == "baseline":
            return self._baseline(command.get("seconds", 3))
        raise ValueError(f"type: expected reset or baseline, got {str(kind)[:40]!r}")

    def _baseline(self, seconds: Any) -> dict[str, Any]:
        try:
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                raise ValueError("seconds: expected a number")
            self._session.learn_baseline(seconds)
        except ValueError as error:
            return _error(str(error), "baseline")
        return {"type": "baseline", "seconds": seconds}

    async def _answer(self) -> None:
        due = time.perf_counter()
        while True:
            await self._arrived.wait()
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            # On a grid: frames that come late by some milliseconds do not slow those after them.
            due = max(due + 1 / self._fps, time.perf_counter())
            self._arrived.clear()
            session = self._session
            try:
                answers = await asyncio.wrap_future(self._workers.submit("live", session.turn))
            except Full:
                answers = [_error("the server is full or going down", "frame")]
            for answer in answers:
                await self._say(answer, session)

    async def _say(self, message: dict[str, Any], session: Session | None = None) -> None:
        """Send a message, unless it belongs to a session that is over."""
        async with self._speaking:
            if session in (None, self._session):
                await _send(self._socket, message)


def _error(message: str, about: str | None = None, frame: int | None = None) -> dict[str, Any]:
    more = {"about": about, "frame": frame}
    return {"type": "error", "message": message} | {k: v for k, v in more.items() if v is not None}


async def _send(socket: WebSocket, message: dict[str, Any]) -> None:
    async with asyncio.timeout(_SEND_S):
        await socket.send_text(json.dumps(message, ensure_ascii=False))
