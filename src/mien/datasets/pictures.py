"""Full pictures and clips with a label: what the whole pipeline is examined on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.datasets.layouts import read_rows
from mien.datasets.rows import CLASS_ALIASES, EVERY_SPLIT, class_name, split_name, told_split
from mien.errors import DatasetError
from mien.folders import files_below
from mien.types import EXPRESSIONS, VIDEO_SUFFIXES

#: CREMA-D's codes (Cao et al., "CREMA-D", IEEE Transactions on Affective Computing, 2014).
_CREMAD: Final = {
    "ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"
}  # fmt: skip
#: The last letters are the intensity; of one clip, 1040_ITH_SAD_X, there is only one.
_CREMAD_NAME: Final = re.compile(r"(\d{4})_[A-Z]{3}_(ANG|DIS|FEA|HAP|NEU|SAD)_[A-Z]{1,2}")
#: MEAD's clips with their path in the name (Wang et al., "MEAD", ECCV 2020).
_MEAD_NAME: Final = re.compile(r"mead_([MW]\d{3})_level_\d_([a-z]+)_\d+")


@dataclass(frozen=True)
class LabelledPicture:
    """A full picture that shows one face, its class, and a group (subject or session).

    `view` is one of `HEAD_VIEWS`, or empty where the set does not say.
    """

    path: Path
    label: int
    group: str
    view: str = ""


@dataclass(frozen=True)
class LabelledClip:
    """A video of one person with one acted expression."""

    path: Path
    label: int
    group: str


def load_pictures(path: str | Path, split: str = EVERY_SPLIT) -> list[LabelledPicture]:
    """The full pictures of a set in one of the layouts of `mien.datasets.layouts`.

    Pictures of other classes than the seven (CK+'s contempt) are left out.

    Args:
        path: its folder.
        split: which of them, as of `load_crops`.

    Raises:
        DatasetError: no such folder, unknown layout, or no labelled picture of that split.
    """
    split = split_name(split)
    if not Path(path).is_dir():
        raise DatasetError(f"{path}: no such folder. Give the folder of a data set")
    pictures = [
        LabelledPicture(row.picture, EXPRESSIONS.index(row.expression), row.group, row.view)
        for row in read_rows(path)
        if isinstance(row.picture, Path)
        and row.expression in EXPRESSIONS
        and split in (EVERY_SPLIT, row.split)
    ]
    if not pictures:
        raise DatasetError(
            f"{path}: no labelled picture{told_split(split)} found. Expected a folder per class "
            f"named like {', '.join(EXPRESSIONS)}"
        )
    return pictures


def load_clips(path: str | Path) -> list[LabelledClip]:
    """The videos in a folder whose name (CREMA-D, MEAD) or folder says the expression.

    Raises:
        DatasetError: no such folder, or no labelled video.
    """
    path = Path(path)
    if not path.is_dir():
        raise DatasetError(f"{path}: no such folder. Give a folder of labelled videos")
    clips = list(_clips(path))
    if not clips:
        raise DatasetError(
            f"{path}: no labelled video. Expected a folder per class, or CREMA-D's or MEAD's names"
        )
    return clips


def _clips(path: Path) -> Iterator[LabelledClip]:
    for file in map(Path, files_below(path)):
        if file.suffix.lower() not in VIDEO_SUFFIXES:
            continue
        cremad, mead = _CREMAD_NAME.fullmatch(file.stem), _MEAD_NAME.fullmatch(file.stem)
        if cremad:
            group, expression = cremad[1], _CREMAD[cremad[2]]
        elif mead:
            group, expression = mead[1], class_name(mead[2])
        elif file.parent.name.lower() in CLASS_ALIASES:
            group, expression = "", class_name(file.parent.name)
        else:
            continue
        if expression in EXPRESSIONS:
            yield LabelledClip(file, EXPRESSIONS.index(expression), group)
