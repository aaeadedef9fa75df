"""Files that are there whole or not at all. Imports nothing from mien."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_LONGEST_NAME: Final = 255  # bytes, on nearly every system


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A name to write under, beside the target's, which it gets when the block ends.

    Where the block fails, what it wrote is deleted, and what was there before stays. A kill
    leaves `.NAME.part.SUFFIX`, which the next attempt replaces.

    Raises:
        OSError: it cannot be renamed.
    """
    partial = partial_of(target)
    try:
        yield partial
        partial.replace(target)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def partial_of(target: Path) -> Path:
    """Where a file is written until it is whole: `.NAME.part.SUFFIX` beside it.

    Of a NAME for which that would be too long, it has the beginning.
    """
    # The suffix stays last: writers of pictures, videos and arrays choose their format by it.
    stem = target.stem
    while len(os.fsencode(name := f".{stem}.part{target.suffix}")) > _LONGEST_NAME and stem:
        stem = stem[:-1]
    return target.with_name(name)


def sync_names(folder: Path) -> None:
    """Make a renaming in a folder outlast a power cut. Not every system can.

    Raises:
        OSError: the disk refuses.
    """
    with suppress(PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
