"""`mien serve`: answer over HTTP and WebSocket, with a page for the browser."""

from __future__ import annotations

import argparse

from mien.cli.exits import GOOD, require_extra, say


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser("serve", help="answer over HTTP and WebSocket, with a page")
    add = parser.add_argument
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (127.0.0.1)")
    add("--port", type=int, default=8080, metavar="N", help="on which port; 0 for a free one")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    require_extra("server", "fastapi", "uvicorn", "websockets", "multipart", "prometheus_client")
    import uvicorn

    from mien.pipeline import Analyzer
    from mien.server.app import create_app
    from mien.server.settings import Settings

    settings = Settings()
    app = create_app(Analyzer(threads=1), settings)
    say(f"mien: open http://{options.host}:{options.port}/")
    uvicorn.run(app, host=options.host, port=options.port, log_config=None, access_log=False)
    return GOOD
