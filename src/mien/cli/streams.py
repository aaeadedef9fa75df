"""The standard streams as they are found: closed, without a reader, on a full disk, of few letters.

Imports the standard library only.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress


def settle_streams() -> None:
    """Make closed streams lead nowhere, and letters that stdout lacks escapes.

    A closed one would give its number to the next file that is opened, and what libraries say on
    stderr would go into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # it takes the lowest number that is free
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def leave_stdout() -> None:
    """Nobody reads it any more: what is still to come goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def leave_full_stdout() -> None:
    """The same if it is its disk that is full, of which Python would complain at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        leave_stdout()


def stdout_has_all_letters() -> bool:
    """Whether stdout takes UTF-8, in which JSON need not escape any letter."""
    return codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"


def _nowhere() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8")
