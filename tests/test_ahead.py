"""Work done ahead in a thread: order, errors, and that nothing stays behind."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from mien.ahead import ahead


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mien-ahead"]


def test_the_same_items_in_the_same_order() -> None:
    assert list(ahead(iter(range(100)))) == list(range(100))
    assert list(ahead(iter(()))) == []
    assert not workers()


def test_they_are_made_in_another_thread_and_only_a_few_ahead() -> None:
    made: list[str] = []

    def items() -> Iterator[int]:
        for number in range(50):
            made.append(threading.current_thread().name)
            yield number

    reader = ahead(items())
    assert next(reader) == 0
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)  # it would go on, if it were not held back
    assert len(made) == 4  # the one taken, two that wait, and one that waits for room
    assert set(made) == {"mien-ahead"}
    reader.close()


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("torn")

    reader = ahead(items())
    assert [next(reader), next(reader)] == [1, 2]
    with pytest.raises(OSError, match="torn"):
        next(reader)
    assert not workers()


def test_whoever_stops_early_leaves_nothing_running() -> None:
    """Closing ends the thread and what it reads, even while the thread waits for room."""
    closed = []

    def items() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.append(threading.current_thread().name)

    inner = ahead(items())
    outer = ahead(item + 1 for item in inner)
    assert next(outer) == 1
    outer.close()
    inner.close()
    assert closed == ["mien-ahead"]
    assert not workers()


#: Two readers, one of the other, neither closed: as a video's frames are read.
_LEFT_OPEN = """
import time
from mien.ahead import ahead

def items():
    try:
        while True:
            time.sleep(0.01)
            yield 1
    finally:
        print("closed", flush=True)

inner = ahead(items())
outer = ahead(item for item in inner)
next(outer)
"""


def test_what_is_left_open_ends_with_the_process() -> None:
    """Else its thread computes while Python ends, and libraries in C++ then abort the process."""
    done = subprocess.run(
        [sys.executable, "-c", _LEFT_OPEN], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "closed\n"), done.stderr
