"""The files of a set on the disk. Imports nothing from mien."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, in the order of their paths.

    Linked folders are followed. What is hidden is no part of a set: copying programs leave such
    files beside pictures, under nearly their names (`._a.jpg`), and half of others.
    """
    yield from _below(folder, ())


def _below(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """The same, for a folder within these: a link to one of them would have no end."""
    here = folder.resolve()
    if here in above:
        return
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _below(entry, (*above, here))
        elif entry.is_file():
            yield entry
