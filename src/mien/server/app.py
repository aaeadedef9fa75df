"""The web application: which address is answered by whom.

May import FastAPI, Starlette, its siblings, and from mien: models, pipeline.
"""

from __future__ import annotations

import errno
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
)
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

import mien
from mien.models import list_models
from mien.pipeline import Analyzer
from mien.server.access import Guard, cookie, has_key, is_signed_in, needs_key
from mien.server.job_runner import JobRunner
from mien.server.jobs import Jobs
from mien.server.live import Live
from mien.server.meters import Meters
from mien.server.pictures import Pictures
from mien.server.refusals import Refusal
from mien.server.reports import Reports
from mien.server.schema import ANALYZE, REPORT, UPLOADING, complete, errors
from mien.server.settings import MB, Settings
from mien.server.uploads import Room
from mien.server.videos import Videos
from mien.server.workers import Workers

_PAGE: Final = Path(__file__).parent / "page"
_LAST_S: Final = 1.0  # for what is being computed, where the time for the end is over


class Application:
    """Everything that one server consists of.

    Attributes:
        app: what is served, as ASGI.

    Raises:
        ConfigError: the data folder cannot be used.
    """

    def __init__(self, analyzer: Analyzer, settings: Settings) -> None:
        self._settings = settings
        self._meters = Meters()
        self._jobs = Jobs(settings.data, settings.keep_hours * 3600)
        self._workers = Workers(settings.workers, settings.max_waiting)
        shared = (analyzer, self._workers, settings, self._meters)
        self._pictures, self._live = Pictures(*shared), Live(*shared)
        self._runner = JobRunner(self._jobs, *shared)
        room = Room(self._jobs.used_bytes, settings.max_data_mb * MB)
        self._reports = Reports(self._workers, settings, self._jobs.folder, room)
        self._videos = Videos(self._jobs, self._runner, settings, room)
        self._end_s = inf  # when everything should be over, by `time.monotonic`
        self._meters.watch("mien_waiting", "pieces of work that wait", "kind", self._workers.lines)
        self._meters.watch(
            "mien_held_bytes", "of pictures that wait or come in", "kind", self._pictures.held
        )
        self._meters.watch("mien_videos", "videos in each state", "state", self._jobs.count)
        self.app: ASGIApp = Guard(self._routes(), settings, self._meters)
        if settings.origins:
            self.app = CORSMiddleware(
                self.app,
                allow_origins=settings.origins,
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["Authorization", "X-API-Key", "Content-Type"],
            )

    def stop(self) -> None:
        """The server is about to go down: end what would last for ever."""
        self._end_s = time.monotonic() + self._settings.shutdown_s
        self._videos.stopping.set()

    def close(self) -> None:
        """Finish what was accepted; videos that cannot be finished in time go on next time."""
        self._runner.close(self._left_s())
        self._workers.close(max(_LAST_S, self._left_s()))
        self._jobs.close()

    def _left_s(self) -> float:
        """How much of the time for the end is left, part of which went to requests under way."""
        return min(self._settings.shutdown_s, max(0.0, self._end_s - time.monotonic()))

    def _routes(self) -> FastAPI:
        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            yield
            await run_in_threadpool(self.close)

        app = FastAPI(
            title="mien",
            version=mien.__version__,
            description="Facial expressions in pictures, videos and live cameras.",
            docs_url=None,  # these pages would load scripts from elsewhere
            redoc_url=None,
            lifespan=lifespan,
        )
        _explain_errors(app)
        self._add_session(app)
        self._add_health(app)
        app.post(
            "/v1/analyze",
            tags=["pictures"],
            openapi_extra=ANALYZE,
            responses=errors(400, 408, 413, 415, 503),
        )(self._pictures.analyze)
        app.post(
            "/v1/reports",
            tags=["reports"],
            openapi_extra=REPORT,
            response_class=HTMLResponse,
            responses=errors(*UPLOADING),
        )(self._reports.make)
        app.include_router(self._videos.router())

        @app.get("/v1/models", tags=["models"])
        def models() -> list[dict[str, Any]]:
            """What `mien models list --json` prints, without where the files lie."""
            return [{**entry.to_dict(), "file": entry.path.name} for entry in list_models()]

        @app.websocket("/v1/live")
        async def live(socket: WebSocket) -> None:
            await self._live.serve(socket)

        @app.get("/", include_in_schema=False)
        async def page() -> FileResponse:
            return FileResponse(_PAGE / "index.html")

        app.mount("/page", StaticFiles(directory=_PAGE, check_dir=False))
        _describe(app, has_key=bool(self._settings.key))
        return app

    def _add_session(self, app: FastAPI) -> None:
        settings = self._settings

        @app.get("/v1/session", tags=["session"])
        async def session(request: Request) -> dict[str, bool]:
            """Whether a key is needed, and whether this browser has shown it."""
            signed_in = is_signed_in(request, settings)
            return {"key_required": bool(settings.key), "signed_in": signed_in}

        @app.post("/v1/session", status_code=204, tags=["session"])
        async def sign_in(request: Request) -> Response:
            """A cookie for the key, for what a browser sends no header with."""
            if not has_key(request, settings):
                raise Refusal(401, "this is not the key")
            response = Response(status_code=204)
            if settings.key:
                name, value = cookie(settings)
                # Behind a proxy only the browser knows that it speaks TLS.
                origin = request.headers.get("origin", "")
                secure = request.url.scheme == "https" or origin.startswith("https:")
                response.set_cookie(name, value, httponly=True, samesite="strict", secure=secure)
            return response

        @app.delete("/v1/session", status_code=204, tags=["session"])
        async def sign_out() -> Response:
            """Take the cookie away."""
            response = Response(status_code=204)
            response.delete_cookie(cookie(settings)[0], httponly=True, samesite="strict")
            return response

    def _add_health(self, app: FastAPI) -> None:
        @app.get("/healthz", tags=["health"])
        async def healthz() -> dict[str, str]:
            """The process answers."""
            return {"status": "alive"}

        @app.get("/readyz", tags=["health"], responses=errors(503))
        async def readyz() -> dict[str, str]:
            """It takes work."""
            if self._videos.stopping.is_set() or not self._runner.alive or not self._workers.alive:
                raise Refusal(503, "the server is going down or broken")
            return {"status": "ready"}

        @app.get("/metrics", tags=["health"], response_class=PlainTextResponse)
        async def metrics() -> Response:
            """Counters for Prometheus."""
            return Response(self._meters.text(), media_type="text/plain; version=0.0.4")


def _describe(app: FastAPI, *, has_key: bool) -> None:
    """Have `/openapi.json` say what FastAPI leaves out."""
    openapi = app.openapi

    def completed() -> dict[str, Any]:
        return app.openapi_schema or complete(openapi(), needs_key, has_key=has_key)

    app.openapi = completed  # type: ignore[method-assign]


def _explain_errors(app: FastAPI) -> None:
    """Have every error answered by `{"error": …}`."""

    @app.exception_handler(Refusal)
    async def refused(_request: Request, refusal: Refusal) -> Response:
        return refusal.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return Refusal(422, f"{first['loc'][-1]}: {first['msg']}").response()

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(OSError)
    async def disk(_request: Request, error: OSError) -> Response:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise error
        return Refusal(507, "the server's disk is full").response()

    @app.exception_handler(ClientDisconnect)
    async def gone(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody reads it

    @app.exception_handler(Exception)
    async def defect(_request: Request, _error: Exception) -> Response:
        return JSONResponse({"error": "a defect of mien; the server's stderr says more"}, 500)
