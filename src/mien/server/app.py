"""The web application: which address is answered by whom. May import FastAPI and its siblings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

import mien
from mien.pipeline import Analyzer
from mien.server.live import Live
from mien.server.settings import Settings
from mien.server.workers import Workers

_PAGE: Final = Path(__file__).parent / "page"


def create_app(analyzer: Analyzer, settings: Settings) -> FastAPI:
    """The application of one server."""
    workers = Workers(settings.workers, max_waiting=64)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        workers.close()

    app = FastAPI(
        title="mien", version=mien.__version__, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    live = Live(analyzer, workers, settings)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_PAGE / "index.html")

    @app.websocket("/v1/live")
    async def serve_live(socket: WebSocket) -> None:
        await live.serve(socket)

    app.mount("/page", StaticFiles(directory=_PAGE))
    return app
