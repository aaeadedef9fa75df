"""Who may ask: hosts, origins and the key; and the headers that every answer carries.

May import Starlette and its siblings refusals, settings and meters. Works on bare ASGI messages,
since it stands before everything else, WebSockets included.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.server.meters import Meters
from mien.server.refusals import Refusal
from mien.server.settings import Settings, is_local, is_loopback, origin_of

#: Answered without a key: the page and its files hold nothing secret, and probes have none.
_OPEN: Final = ("/", "/healthz", "/readyz", "/v1/session")
_OPEN_BELOW: Final = "/page/"

_CHANGING: Final = ("POST", "PUT", "PATCH", "DELETE")

_HEADERS: Final = {
    # blob: and data: hold what the page made itself, such as a camera's picture.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Stands before the application: refuses, counts, and adds headers."""

    def __init__(self, app: ASGIApp, settings: Settings, meters: Meters) -> None:
        self._app, self._settings, self._meters = app, settings, meters
        self._hosts = {urlsplit(origin).netloc for origin in settings.origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(scope, MutableHeaders(raw=message["headers"]))
            await send(message)

        try:
            try:
                self._check(HTTPConnection(scope))
            except Refusal as refusal:
                if scope["type"] == "websocket":
                    # uvicorn's 403. It would log an answer of our own as a fault of ours.
                    await send({"type": "websocket.close"})
                else:
                    await refusal.response()(scope, receive, send_guarded)
            else:
                await self._app(scope, receive, send_guarded)
        finally:
            if scope["type"] == "http":
                self._meters.answered(scope, status, time.perf_counter() - began)

    def _check(self, connection: HTTPConnection) -> None:
        headers = connection.headers
        host = headers.get("host", "").lower()
        # A foreign page whose name is made to point here (DNS rebinding) would be of the same host.
        if host not in self._hosts and not self._may_mean_here(host):
            names = "localhost" if self._settings.loopback else "its address"
            raise Refusal(
                403,
                f"this server answers to {names}, not to {host[:80] or 'no host'}. Start it with "
                "--allow-origin for another name, or if a proxy stands before it",
            )
        changes = connection.scope["type"] == "websocket" or connection.scope["method"] in _CHANGING
        if changes and not self._is_known_origin(headers, host):
            raise Refusal(403, "pages of other sites may not do that (--allow-origin)")
        if needs_key(connection.scope["path"]) and not is_signed_in(connection, self._settings):
            raise Refusal(401, "a key is needed: send it as `Authorization: Bearer KEY`")

    def _may_mean_here(self, host: str) -> bool:
        """Whether no foreign page can have a host's name.

        It means this computer; or, where others may come in without a key, it is a number or a
        name that the internet does not have. A key protects by itself: its cookie belongs to the
        name under which it was got.
        """
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        if self._settings.loopback:
            return is_loopback(name)
        return bool(self._settings.key) or is_local(name)

    def _is_known_origin(self, headers: Headers, host: str) -> bool:
        """Whether no page asks (programs send no origin), or one of ours or of a known site."""
        origin = headers.get("origin")
        if origin is None:
            return True
        known = origin_of(origin)
        return known != "" and (
            urlsplit(origin.lower()).netloc == host or known in self._settings.origins
        )

    def _add_headers(self, scope: Scope, headers: MutableHeaders) -> None:
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        is_page = scope["path"] == "/" or scope["path"].startswith(_OPEN_BELOW)
        headers.setdefault("Cache-Control", "no-cache" if is_page else "no-store")


def needs_key(path: str) -> bool:
    """Whether an address is answered only to those who show the key."""
    return path not in _OPEN and not path.startswith(_OPEN_BELOW)


def has_key(connection: HTTPConnection, settings: Settings) -> bool:
    """Whether a request shows the key in a header, or none is needed."""
    if not settings.key:
        return True
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    shown = token.strip() if scheme.lower() == "bearer" else ""
    shown = shown or connection.headers.get("x-api-key", "")
    return _same(shown, settings.key)


def is_signed_in(connection: HTTPConnection, settings: Settings) -> bool:
    """Whether a request shows the key, or the cookie that a browser got for it."""
    if has_key(connection, settings):
        return True
    name, value = cookie(settings)
    return _same(connection.cookies.get(name, ""), value)


def cookie(settings: Settings) -> tuple[str, str]:
    """Name and value of the cookie that stands for the key. The key does not follow from it.

    The name depends on the key: servers on other ports of one host share their cookies.
    """
    value = hmac.new(settings.key.encode(), b"mien session", hashlib.sha256).hexdigest()
    return f"mien_{hashlib.sha256(value.encode()).hexdigest()[:8]}", value


def _same(shown: str, wanted: str) -> bool:
    return hmac.compare_digest(shown.encode(), wanted.encode())
