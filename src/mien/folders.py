"""What lies below a folder. Imports the standard library alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def files_below(folder: str | Path, note: Callable[[OSError], None] | None = None) -> Iterator[str]:
    """All files below a folder, in the order of their paths.

    Linked folders are followed. What is hidden is left out: copying programs leave such files
    beside pictures, under nearly their names (`._a.jpg`), and half of others.

    Args:
        folder: which.
        note: is told of folders that cannot be listed; without it the first one is raised.
    """
    yield from _below(os.fspath(folder), (), note)


def _below(
    folder: str, above: tuple[str, ...], note: Callable[[OSError], None] | None
) -> Iterator[str]:
    """The same, for a folder within these: a link to one of them would have no end."""
    here = os.path.realpath(folder)
    if here in above:
        return
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as error:
        if note is None:
            raise
        note(error)
        return
    for name in names:
        path = os.path.join(folder, name)
        if name.startswith("."):
            continue
        if os.path.isdir(path):
            yield from _below(path, (*above, here), note)
        elif os.path.isfile(path):
            yield path
