"""A few threads that compute for everybody, by turns. May import the standard library only.

Four kinds of work wait in a line each: frames of live cameras, pictures, reports, frames of videos.
A free thread serves the kind that was served longest ago, so that none starves another. A
report may take minutes, and the others take a moment: of two threads or more, one is kept free of
reports.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Literal, TypeVar, get_args

Kind = Literal["live", "picture", "report", "video"]

_T = TypeVar("_T")


class Full(Exception):  # noqa: N818  (a state of things, not a defect)
    """As much work is waiting as may wait."""


class Workers:
    """Threads that run functions, fairly between the kinds of work.

    Args:
        threads: how many.
        max_waiting: how many pieces of each kind may wait.
    """

    def __init__(self, threads: int, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._lines: dict[Kind, deque[tuple[Future[Any], Callable[[], Any]]]] = {
            kind: deque() for kind in get_args(Kind)
        }
        self._most_reports = max(1, threads - 1)
        self._reports = 0  # that are being written
        self._turns: deque[Kind] = deque(get_args(Kind))  # served longest ago first
        self._changed = threading.Condition()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"mien-worker-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, kind: Kind, work: Callable[[], _T]) -> Future[_T]:
        """Have a function run when its turn comes. A cancelled one that still waits is not run.

        Raises:
            Full: too much of this kind is waiting.
        """
        future: Future[_T] = Future()
        with self._changed:
            if self._closing or len(self._lines[kind]) >= self._max_waiting:
                raise Full
            self._lines[kind].append((future, work))
            self._changed.notify()
        return future

    @property
    def alive(self) -> bool:
        """Whether work is done."""
        return not self._closing and all(thread.is_alive() for thread in self._threads)

    def lines(self) -> dict[str, float]:
        """How many pieces of each kind wait."""
        return {kind: len(line) for kind, line in self._lines.items()}

    def waiting(self, kind: Kind) -> int:
        """How many pieces of a kind wait."""
        return len(self._lines[kind])

    def close(self, seconds: float | None = None) -> None:
        """Finish what waits, then end the threads; those that take longer than this are left."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        end = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while True:
            with self._changed:
                kind = self._next_kind()
                while kind is None:
                    if self._closing:
                        return
                    self._changed.wait()
                    kind = self._next_kind()
                future, work = self._lines[kind].popleft()
                self._turns.remove(kind)
                self._turns.append(kind)
                self._reports += kind == "report"
            _run(future, work)
            if kind == "report":
                with self._changed:
                    self._reports -= 1
                    self._changed.notify()  # the next one may wait for this one's end

    def _next_kind(self) -> Kind | None:
        return next((kind for kind in self._turns if self._lines[kind] and self._may(kind)), None)

    def _may(self, kind: Kind) -> bool:
        return kind != "report" or self._reports < self._most_reports


def _run(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # whoever waits for the answer handles it
        future.set_exception(error)
