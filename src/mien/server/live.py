"""`WS /v1/live`: frames of a camera in, what the faces show out, as fast as both sides can.

May import Starlette, and from mien: errors, picture, pipeline, types, and its siblings workers and
settings.

Frames that come faster than they can be analysed are dropped: the newest waits, the one before it
goes. So answers are never older than one frame, whatever the speed of either side.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import struct
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from mien.errors import SourceError
from mien.picture import read_picture
from mien.pipeline import Analyzer
from mien.server.settings import Settings
from mien.server.workers import Full, Workers
from mien.types import Frame

_TIME: Final = struct.Struct("<d")
_TRY_AGAIN_LATER: Final = 1013
_SEND_S: Final = 10.0  # a client that takes no answer for so long is gone


@dataclass(frozen=True)
class _Sent:
    """One frame as it came in."""

    number: int
    time_s: float
    picture: bytes
    came: float  # by `time.perf_counter`


class Session:
    """One camera: the frame that waits, and what is known from those before it."""

    def __init__(self, analyzer: Analyzer, settings: Settings) -> None:
        self._analyzer, self._settings = analyzer, settings
        self._lock = Lock()
        self._begin()

    def _begin(self) -> None:
        self._following = self._analyzer.following()
        self._waiting: _Sent | None = None
        self._baseline_s: float | None = None
        self._time_s = -math.inf
        self.received = self.dropped = 0

    def reset(self) -> None:
        """Forget everything, as for a new connection."""
        with self._lock:
            self._begin()

    def learn_baseline(self, seconds: float) -> None:
        """Take each person's face of the next seconds for their neutral one.

        Raises:
            ValueError: not a useful number of seconds.
            NotImplementedError: the pipeline cannot do that.
        """
        if not 0 < seconds <= 60:
            raise ValueError(f"seconds: expected more than 0 and at most 60, got {seconds}")
        if not hasattr(self._following, "learn_baseline"):
            raise NotImplementedError("this version of mien cannot learn a baseline")
        self._baseline_s = seconds

    def receive(self, message: bytes) -> None:
        """Let a frame wait, in the place of one that waits already.

        Raises:
            ValueError: not a frame.
        """
        number = self.received
        self.received += 1
        if len(message) <= _TIME.size:
            raise ValueError(
                f"expected 8 bytes of time and a picture after them, got {len(message)} bytes"
            )
        (time_s,) = _TIME.unpack_from(message)
        if not (math.isfinite(time_s) and time_s >= max(0.0, self._time_s)):
            raise ValueError(f"time_s: expected seconds that do not fall, got {time_s}")
        self._time_s = time_s
        sent = _Sent(number, time_s, message[_TIME.size :], time.perf_counter())
        with self._lock:
            self.dropped += self._waiting is not None
            self._waiting = sent

    def turn(self) -> dict[str, Any] | None:
        """Analyse the frame that waits, if there is one, and return the message about it."""
        with self._lock:
            sent, self._waiting = self._waiting, None
            following = self._following
            baseline_s, self._baseline_s = self._baseline_s, None
        if sent is None:
            return None
        began = time.perf_counter()
        if baseline_s is not None:
            getattr(following, "learn_baseline")(baseline_s)  # noqa: B009
        try:
            image = read_picture(
                io.BytesIO(sent.picture), "live", max_pixels=self._settings.live_px**2
            )
        except SourceError as error:
            return {"type": "error", "message": str(error), "frame": sent.number}
        frame = Frame(image, "live", sent.number, sent.time_s)
        result = self._analyzer.analyze_frame(frame, following=following)
        if following is not self._following:  # reset meanwhile
            return None
        return {
            "type": "result",
            "result": result.to_dict(),
            "received": self.received,
            "dropped": self.dropped,
            "wait_ms": 1000 * (began - sent.came),
            "work_ms": 1000 * (time.perf_counter() - began),
        }


class Live:
    """All live connections."""

    def __init__(self, analyzer: Analyzer, workers: Workers, settings: Settings) -> None:
        self._analyzer, self._workers, self._settings = analyzer, workers, settings
        self.connections = 0

    async def serve(self, socket: WebSocket) -> None:
        """Talk to one client until it goes."""
        await socket.accept()
        with suppress(WebSocketDisconnect):
            if self.connections >= self._settings.max_live:
                await _send(socket, _error("too many live connections. Try again later"))
                await socket.close(_TRY_AGAIN_LATER)
                return
            self.connections += 1
            try:
                await self._talk(socket)
            finally:
                self.connections -= 1

    async def _talk(self, socket: WebSocket) -> None:
        spec = self._analyzer.classifier.spec
        hello = {
            "type": "hello",
            "model": spec.name,
            "labels": list(spec.labels),
            "max_px": self._settings.live_px,
            "max_fps": self._settings.live_fps,
        }
        await _send(socket, hello)
        session = Session(self._analyzer, self._settings)
        arrived = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            answering = tasks.create_task(self._answer(socket, session, arrived))
            try:
                await self._listen(socket, session, arrived)
            finally:
                answering.cancel()

    async def _listen(self, socket: WebSocket, session: Session, arrived: asyncio.Event) -> None:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                if message.get("bytes") is not None:
                    session.receive(message["bytes"])
                    arrived.set()
                else:
                    _command(session, message.get("text") or "")
            except (ValueError, NotImplementedError) as error:
                await _send(socket, _error(str(error)))

    async def _answer(self, socket: WebSocket, session: Session, arrived: asyncio.Event) -> None:
        due = 0.0
        while True:
            await arrived.wait()
            arrived.clear()
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            due = time.perf_counter() + 1 / self._settings.live_fps
            try:
                answer = await asyncio.wrap_future(self._workers.submit("live", session.turn))
            except (Full, CancelledError):
                answer = _error("the server is busy or going down")
            if answer is not None:
                await _send(socket, answer)


def _command(session: Session, text: str) -> None:
    """Do what a text message asks."""
    try:
        command = json.loads(text)
        kind = command["type"]
    except (ValueError, TypeError, KeyError):
        raise ValueError('expected a JSON object with a "type"') from None
    if kind == "reset":
        session.reset()
    elif kind == "baseline":
        seconds = command.get("seconds", 3)
        if not isinstance(seconds, int | float):
            raise ValueError("seconds: expected a number")
        session.learn_baseline(seconds)
    else:
        raise ValueError(f"type: expected reset or baseline, got {str(kind)[:40]!r}")


def _error(message: str) -> dict[str, Any]:
    return {"type": "error", "message": message}


async def _send(socket: WebSocket, message: dict[str, Any]) -> None:
    async with asyncio.timeout(_SEND_S):
        await socket.send_text(json.dumps(message, ensure_ascii=False))
