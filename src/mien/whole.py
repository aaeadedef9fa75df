"""Files that are there whole or not at all. Imports nothing from mien."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A name to write under, beside the target's, which it gets when the block ends.

    Where the block fails, what it wrote is deleted, and what was there before stays. A kill
    leaves `.NAME.part.SUFFIX`, which the next attempt replaces.

    Raises:
        OSError: it cannot be renamed.
    """
    # The suffix stays last: writers of pictures and arrays choose their format by it.
    partial = target.with_name(f".{target.stem}.part{target.suffix}")
    try:
        yield partial
        partial.replace(target)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


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
