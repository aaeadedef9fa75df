"""What to know of a set before figures on it are believed, in words; empty where there is nothing.

Imports its siblings, Pillow, and from mien: picture.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from PIL import Image

from mien.datasets.layouts import read_rows
from mien.datasets.rows import EVERY_SPLIT, HELD_OUT, NO_SPLIT, Row, learned_split, split_name
from mien.picture import open_picture

_LOOKED_AT: Final = 20  # pictures of a set, to see what they are
_NAMED: Final = 8  # places of rows that are not used
_OBLONG: Final = 1.25  # no crop is longer than so many times its shorter side


def left_out(path: str | Path, classes: Sequence[str], split: str = EVERY_SPLIT) -> str:
    """Which folders count for nothing, because they are called as no class is.

    A folder's name may be a slip of the pen.

    Raises:
        DatasetError: as of `load_crops`.
    """
    wanted, found = split_name(split), Counter[str]()
    for row in read_rows(path):
        if not isinstance(row.picture, Path):
            break  # FER2013, which has the seven
        if row.expression not in classes and wanted in (EVERY_SPLIT, HELD_OUT, row.split):
            found[row.expression] += 1
    if not found:
        return ""
    names = ", ".join(f"{name} ({count:,})" for name, count in sorted(found.items()))
    return f"{path}: left out, as none of the classes {', '.join(classes)}: {names}"


def of_no_split(path: str | Path, rows: Iterable[Row], classes: Sequence[str]) -> str:
    """Which rows are neither learned from nor watched nor kept for an examination, by their place.

    Where some are of Training, those that belong to no split are not learned from either; a folder
    or a table may call its split as none is called.

    Args:
        path: the set.
        rows: all of it.
        classes: the classes that count.
    """
    rows = list(rows)
    used = (learned_split({row.split for row in rows}), "PublicTest", "PrivateTest")
    left = [row for row in rows if row.expression in classes and row.split not in used]
    found = Counter(_place(row, path) for row in left)
    if not found:
        return ""
    shown = [f"{name} ({count:,})" for name, count in sorted(found.items())]
    more = [f"{len(shown) - _NAMED} more places"] if len(shown) > _NAMED else []
    return (
        f"{path}: {found.total():,} rows are not used, as they belong to none of train, val and "
        f"test: {', '.join(shown[:_NAMED] + more)}"
    )


def _place(row: Row, root: str | Path) -> str:
    """What stands where the name of a row's split should: the folders above its class."""
    if row.split != NO_SPLIT or not isinstance(row.picture, Path):
        return row.split
    folders = Path(os.path.relpath(row.picture, root)).parts[:-1]
    return "/".join(folders[:-1] or folders) or NO_SPLIT


def training_too(path: str | Path) -> str:
    """Whether there are rows to learn from among all rows of a set, which are examined.

    Raises:
        DatasetError: as of `load_crops`.
    """
    splits = {row.split for row in read_rows(path)}
    if "Training" not in splits:
        return ""
    others = [split for split in ("PublicTest", "PrivateTest") if split in splits]
    return (
        f"{path}: its Training rows count too. Of a model that has learned from them, the figures "
        "are better than it is" + "".join(f": choose others by --split {s}" for s in others[:1])
    )


def full_pictures(path: str | Path) -> tuple[int, int] | None:
    """The size of a picture where a set cannot hold face crops, which are about square; else None.

    A few pictures are looked at, and only their headers.

    Raises:
        DatasetError: as of `load_crops`.
    """
    sizes = []
    for row in islice(read_rows(path, broken=True), _LOOKED_AT):
        if isinstance(row.picture, Path):
            bad = (OSError, ValueError, Image.DecompressionBombError)
            with suppress(*bad), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it is large
                with open_picture(row.picture) as picture:
                    sizes.append(picture.size)
    long = [size for size in sizes if max(size) > _OBLONG * min(size)]
    return long[0] if 2 * len(long) > len(sizes) else None


def oblong(path: str | Path, advice: str) -> str:
    """Whether pictures that are taken for face crops cannot be such: see `full_pictures`.

    Args:
        path: the set.
        advice: what to do then.

    Raises:
        DatasetError: as of `load_crops`.
    """
    size = full_pictures(path)
    if size is None:
        return ""
    width, height = size
    return (
        f"{path}: pictures of {width} x {height} are taken for face crops, which are about square. "
        f"{advice}"
    )
