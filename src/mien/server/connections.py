"""Sockets that stall are closed. May import Starlette, uvicorn, h11 and its sibling refusals.

uvicorn waits for ever for a request that does not come and for a reader that does not read. This
protocol gives each of them a time, and refuses connections beyond a number.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any, Final

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from mien.server.refusals import Refusal

_HEADER_S: Final = 10.0  # from a connection's beginning, or the last answer, to a request
_BODY_LEFT_S: Final = 5.0  # for reading the answer, where the rest of a body is not wanted
_STALL_S: Final = 30.0  # without a byte being taken by the other side
_BEYOND: Final = 128  # connections over the number that are still told why they are refused


class TimedConnection(H11Protocol):
    """One client's connection, which ends when the client stalls.

    `max_connections` is a class's, since uvicorn makes the objects: see `limited_to`.
    """

    max_connections = 512
    _timer: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        _detect_death(transport.get_extra_info("socket"))
        if len(self.connections) > self.max_connections:
            self.app = _too_many
        if len(self.connections) > self.max_connections + _BEYOND:
            transport.abort()
        self._expect(_HEADER_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._expect(None)
        self.resume_writing()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Bytes have come: a request may have begun."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect(None)

    def _should_upgrade(self) -> bool:
        """One beyond the number is told so, whatever it asks for."""
        return self.app is not _too_many and super()._should_upgrade()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """From here on another protocol minds the connection; it sends pings."""
        self._expect(None)
        self.resume_writing()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """An answer is out: the next request is awaited, or the rest of the last one."""
        unread = self.conn.their_state is h11.SEND_BODY
        self._expect(_BODY_LEFT_S if unread else _HEADER_S)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client takes no more for now."""
        self._stalled = self.loop.call_later(_STALL_S, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has taken what was there."""
        if self._stalled is not None:
            self._stalled.cancel()
        if self.flow is not None:
            super().resume_writing()

    def _expect(self, seconds: float | None) -> None:
        """Close the connection unless something comes within this time; None: no hurry."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


async def _too_many(scope: Scope, receive: Receive, send: Send) -> None:
    """The application for connections beyond the number."""
    answer = Refusal(503, "too many connections are open").response()
    answer.headers["Connection"] = "close"
    await answer(scope, receive, send)


def limited_to(max_connections: int) -> type[TimedConnection]:
    """The protocol with a number of connections."""
    settings: dict[str, Any] = {"max_connections": max_connections}
    return type("TimedConnection", (TimedConnection,), settings)


def _detect_death(connection: socket.socket | None) -> None:
    """Have the system notice a peer that vanished without a word, where it can."""
    wanted = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}
    with suppress(OSError, AttributeError):
        assert connection is not None
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in wanted.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
