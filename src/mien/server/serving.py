"""Listens, answers, and ends in good order.

May import uvicorn, its siblings, and from mien: errors, pipeline.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn

from mien.errors import ConfigError
from mien.pipeline import Analyzer
from mien.server.app import Application
from mien.server.connections import limited_to
from mien.server.settings import MB, Settings

_PING_S: Final = 20.0  # between questions whether a live client is there, and for its answer


@dataclass(frozen=True)
class Tls:
    """A certificate in PEM, and its key if that is in a file of its own."""

    certificate: Path
    key: Path | None = None


class Server(uvicorn.Server):
    """One server, whose socket is open from the beginning and answers once `run` is called.

    Args:
        analyzer: the pipeline that everybody shares.
        settings: the limits.
        host: the address on which to listen.
        port: and the port; 0 for a free one.
        tls: for https; None for http.

    Attributes:
        address: of the page.

    Raises:
        ConfigError: the address cannot be listened on, the certificate cannot be read, or the
            data folder cannot be used.
    """

    def __init__(
        self,
        analyzer: Analyzer,
        settings: Settings,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        tls: Tls | None = None,
    ) -> None:
        self._socket = _listen(host, port)
        try:
            self._application = Application(analyzer, settings)
        except BaseException:
            self._socket.close()
            raise
        config = uvicorn.Config(
            self._application.app,
            http=limited_to(settings.max_connections),
            ws_max_size=int(settings.live_mb * MB),
            ws_per_message_deflate=False,  # pictures are compressed already
            ws_ping_interval=_PING_S,
            ws_ping_timeout=_PING_S,
            log_config=None,
            log_level="error",
            access_log=False,  # who asked for what is nobody's business
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=max(1, round(settings.shutdown_s)),
            ssl_certfile=None if tls is None else tls.certificate,
            ssl_keyfile=None if tls is None else tls.key,
        )
        try:
            config.load()
        except OSError as error:
            self._application.close()
            self._socket.close()
            raise ConfigError(f"--certificate: cannot be used ({error})") from error
        super().__init__(config)
        shown = f"[{host}]" if ":" in host else host
        scheme = "http" if tls is None else "https"
        self.address = f"{scheme}://{shown}:{self._socket.getsockname()[1]}/"

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer until a signal comes (which is raised again) or `should_exit` is set."""
        super().run([self._socket] if sockets is None else sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in good order: the application hears of it before its connections are awaited."""
        self._application.stop()
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port: expected 0 to 65535, got {port}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, UnicodeError) as error:  # a name with an empty part, as 192.168.0..1
        raise ConfigError(
            f"--host {host} --port {port}: cannot listen there ({error}). Check the address, or "
            "choose another port; 0 takes a free one"
        ) from error
