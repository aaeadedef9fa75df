"""How numbers and names are written for readers, on terminals and in reports. Imports nothing from
mien.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from math import isnan
from typing import Final

#: Stands where there is no figure.
NOTHING: Final = "\u2013"
#: Characters by which a name from somebody's archive could move a terminal's cursor, or worse.
_CONTROLS: Final = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], "\ufffd")


def printable(text: str, *, lines: bool = False) -> str:
    """A text without control characters, for terminals; with `lines` it may hold several."""
    return text.translate(_CONTROLS | {ord("\n"): "\n"} if lines else _CONTROLS)


def one_form(name: str) -> str:
    """A name with each accented letter as one sign: Macs write files' names with two, where
    spreadsheets write one.
    """
    return unicodedata.normalize("NFC", name)


def path_text(path: str | os.PathLike[str]) -> str:
    """A file's name as text that any file can hold: it may itself hold bytes that are no text."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def fitted(text: str, width: int) -> str:
    """A text shortened in the middle: the end of a name, as of a file, tells something too."""
    if len(text) <= width:
        return text
    tail = width // 3
    return text[: width - tail - 1] + "…" + text[-tail:]


def counted(number: int, thing: str, things: str = "") -> str:
    """A number with its noun: `1 frame`, `2,000 frames`, `2 people`."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def told_apart(names: Sequence[str]) -> list[str]:
    """The names, with a running number behind those that are the same: `a.csv, 2 of 3`."""
    alike, met = Counter(names), Counter[str]()
    apart = []
    for name in names:
        met[name] += 1
        apart.append(name if alike[name] == 1 else f"{name}, {met[name]} of {alike[name]}")
    return apart


def percent(share: float) -> str:
    """A share; it is only 0% or 100% where it is nothing or all."""
    if isnan(share):
        return NOTHING
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1 - 1e-9:
        return ">99%"
    return f"{100 * share:.0f}%"
