"""Files that are there whole or not at all, and locks, so that two who write one do not mix.

May import fcntl, where there is one; nothing from mien.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

_LONGEST_NAME: Final = 255  # bytes, on nearly every system


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A name to write under, beside the target's, which it gets when the block ends.

    Where the block fails, what it wrote is deleted, and what was there before stays. A kill
    leaves `.NAME.part.SUFFIX`, which the next attempt replaces. Whoever else writes the same file
    at this time is waited for.

    Raises:
        OSError: it cannot be made or renamed, or the block wrote nothing.
    """
    partial = partial_of(target)
    with claimed(partial, wait=True):
        try:
            yield partial
            if not partial.stat().st_size:
                raise FileNotFoundError(errno.ENOENT, "nothing was written", str(partial))
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


@contextmanager
def claimed(path: Path, *, wait: bool = False) -> Iterator[None]:
    """A file that is nobody else's meanwhile, here or in another process.

    It is made where it is not there, and may be written, renamed or removed within the block.
    Where files cannot be locked, it may be others' as well.

    Args:
        path: its name.
        wait: until whoever has claimed it is done.

    Raises:
        BlockingIOError: somebody else has claimed it, and is not waited for.
        OSError: it cannot be made.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where an open file could not be renamed either
        yield
        return
    while True:
        with path.open("ab") as file:
            if not lock(file, wait=wait):
                raise BlockingIOError(errno.EWOULDBLOCK, "somebody else is writing it", str(path))
            if not _is_named(file, path):  # whoever had it has renamed it before it was locked here
                continue
            try:
                yield
            finally:
                with suppress(OSError):  # closing is not enough: forked processes have it open too
                    fcntl.flock(file, fcntl.LOCK_UN)
            return


def _is_named(file: IO[bytes], path: Path) -> bool:
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def lock(file: IO[bytes], *, shared: bool = False, wait: bool = False) -> bool:
    """Lock a file until it is closed, alone or with others; says whether it was free.

    What was held before is given up. Where files cannot be locked, they are always free.

    Args:
        file: open.
        shared: with everybody else who shares it.
        wait: until it is free.
    """
    try:
        import fcntl

        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(file, how if wait else how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # some network file systems have no locks
        pass
    return True
