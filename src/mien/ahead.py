"""Work done ahead, in a thread of its own. Imports nothing from mien."""

from __future__ import annotations

import atexit
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Final, TypeVar

T = TypeVar("T")

_DEPTH: Final = 2  # items that may wait: enough to level out, and little enough to hold
_LOOK_S: Final = 0.1  # how often whoever waits looks whether the reader has gone


@dataclass
class _End:
    """After the last item: why, where it was not the end."""

    error: BaseException | None = None


def ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """The same items in the same order, made while the earlier ones are used.

    An error of `items` is raised after the items before it. Closing the generator ends the thread,
    and then `items`, before it returns; whatever the items are made of may be released after that.
    A generator that nobody has closed ends so with the process: a thread that still computes in a
    library while Python ends takes the process down with it.
    """
    waiting: Queue[T | _End] = Queue(_DEPTH)
    gone = Event()

    def put(item: T | _End) -> None:
        while not gone.is_set():
            with suppress(Full):
                waiting.put(item, timeout=_LOOK_S)
                return

    def take() -> T | _End:
        while not gone.is_set():
            with suppress(Empty):
                return waiting.get(timeout=_LOOK_S)
        return _End()

    def make() -> None:
        end = _End()
        try:
            for item in items:
                put(item)
                if gone.is_set():
                    break
        except BaseException as error:  # it is raised where the items are read
            end = _End(error)
        finally:
            if isinstance(items, Generator):
                items.close()
            put(end)

    worker = Thread(target=make, name="mien-ahead", daemon=True)

    def stop() -> None:
        gone.set()
        worker.join()

    worker.start()
    atexit.register(stop)
    try:
        while not isinstance(item := take(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        atexit.unregister(stop)
        stop()
