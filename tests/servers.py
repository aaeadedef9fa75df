"""A server for tests: the real one, on a free port, in a thread of this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import httpx

from mien.pipeline import Analyzer
from mien.server.serving import Server
from mien.server.settings import Settings


@contextmanager
def running(analyzer: Analyzer, data: Path, **settings: Any) -> Iterator[httpx.Client]:
    """A client of a server with these settings; the server ends with the block."""
    server = Server(analyzer, Settings(data=data, **settings), port=0)
    thread = Thread(target=server.run)
    thread.start()
    try:
        with httpx.Client(base_url=server.address, timeout=60, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
