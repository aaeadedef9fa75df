"""What a batch asks of a disk: files that appear whole, and whether they still are.

May import from mien: errors, whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final
from uuid import uuid4

from mien.errors import SinkError
from mien.whole import sync_names

#: How the names of files end that are being written.
TEMPORARY: Final = ".tmp"

_PARQUET: Final = b"PAR1"


@contextmanager
def durable(target: Path, *, replace: bool = True) -> Iterator[IO[bytes]]:
    """A file that appears, complete and on the disk, when the block ends; or not at all.

    Args:
        target: its name.
        replace: whether it may be there already; where not, `FileExistsError` is raised.

    Raises:
        SinkError: it cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:12]}{TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(target)
        else:
            _name_new(temporary, target)
        sync_names(target.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        with suppress(OSError):  # a disk that was made read-only refuses even what is not there
            temporary.unlink()


def unwritable(target: Path, error: OSError) -> SinkError:
    """What to say of a file, or a folder, that the disk does not take."""
    return SinkError(
        f"{target}: cannot be written ({error.strerror or error}). Look after the folder and "
        "the disk's space, then give the same command again: what is done is kept"
    )


def _name_new(temporary: Path, target: Path) -> None:
    """Rename, unless the name is taken."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(target) from None
        temporary.replace(target)


def is_whole_parquet(file: IO[bytes]) -> bool:
    """Whether a Parquet file, open at its beginning, ends as it should; one cut off does not."""
    begins = file.read(4) == _PARQUET
    size = file.seek(0, os.SEEK_END)
    if not begins or size < 12:
        return False
    file.seek(-8, os.SEEK_END)
    footer, ends = file.read(4), file.read(4) == _PARQUET
    return ends and int.from_bytes(footer, "little") + 12 <= size
