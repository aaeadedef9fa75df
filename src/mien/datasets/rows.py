"""A row: one labelled picture, not decoded yet. Also the names of classes and splits."""

from __future__ import annotations

import io
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mien.errors import DatasetError, SourceError
from mien.picture import read_picture
from mien.preprocess import to_gray
from mien.types import EXPRESSIONS, UInt8Array
from mien.wording import one_form

#: FER2013's splits. PublicTest is for choosing, PrivateTest for the final examination.
SPLITS: Final = ("Training", "PublicTest", "PrivateTest")

#: The split of a row where its data set knows none.
NO_SPLIT: Final = "none"

#: What asks for the rows of every split, and of none. No row has it.
EVERY_SPLIT: Final = "all"

#: Those that are kept from what is learned, where a set has none to watch. No row has it either.
HELD_OUT: Final = "held out"

#: The columns of FER+ votes, in FER+'s own order.
FERPLUS_COLUMNS: Final = (
    "ferplus_neutral",
    "ferplus_happiness",
    "ferplus_surprise",
    "ferplus_sadness",
    "ferplus_anger",
    "ferplus_disgust",
    "ferplus_fear",
    "ferplus_contempt",
    "ferplus_unknown",
    "ferplus_nf",
)
#: The column of votes for "not a face".
NOT_A_FACE: Final = FERPLUS_COLUMNS.index("ferplus_nf")

#: Spellings of the classes in the wild, in lower case, to our names.
CLASS_ALIASES: Final = {
    **{name: name for name in EXPRESSIONS},
    "anger": "angry",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
    "contempt": "contempt",
    "contemptuous": "contempt",
}

#: From where a picture shows its face, where its data set says so.
HEAD_VIEWS: Final = ("front", "half left", "half right", "full left", "full right")

_SPLIT_ALIASES: Final = {
    "training": "Training",
    "train": "Training",
    "publictest": "PublicTest",
    "validation": "PublicTest",
    "valid": "PublicTest",
    "val": "PublicTest",
    "privatetest": "PrivateTest",
    "test": "PrivateTest",
    "held-out": HELD_OUT,
}


def split_name(text: str) -> str:
    """FER2013's name of a split: `train` is Training, `val` PublicTest, `test` PrivateTest."""
    return _SPLIT_ALIASES.get(text.lower(), text)


def told_split(split: str) -> str:
    """Which of a set's rows are of a split, for messages; empty where that is every row."""
    return {EVERY_SPLIT: "", NO_SPLIT: " outside of val and test"}.get(
        split, f" of the split {split!r} (folders train, val and test above the classes name it)"
    )


def learned_split(splits: Set[str]) -> str:
    """Which of a set's splits is learned from: Training, or where there is none, what has none."""
    return "Training" if "Training" in splits else NO_SPLIT


def class_name(text: str) -> str:
    """Our name of a class; a name that we do not know stays as it is, in lower case.

    Accents are as of `one_form`: folders copied from a Mac are called as those that are typed.
    """
    name = one_form(text.lower())
    return CLASS_ALIASES.get(name, name)


@dataclass(frozen=True)
class Row:
    """One labelled picture.

    Attributes:
        name: what messages call it: a file, or a file and a row's number.
        expression: the class, in our spelling.
        picture: the file, its encoded bytes, the decoded grey picture `uint8 (H, W)`, or why the
            set does not have it.
        split: one of `SPLITS`, or `NO_SPLIT` where the data set knows none.
        group: the person or session it shows; empty when unknown. Folds must not cut through it.
        votes: FER+ votes in the order of `FERPLUS_COLUMNS`, or None.
        view: one of `HEAD_VIEWS`; empty when unknown.
    """

    name: str
    expression: str
    picture: Path | bytes | UInt8Array | DatasetError
    split: str = NO_SPLIT
    group: str = ""
    votes: tuple[int, ...] | None = None
    view: str = ""

    def gray(self) -> UInt8Array:
        """The picture in grey, `uint8 (H, W)`.

        Raises:
            DatasetError: it cannot be read or decoded.
        """
        if isinstance(self.picture, DatasetError):
            raise self.picture
        if isinstance(self.picture, np.ndarray):
            return to_gray(self.picture)
        file = io.BytesIO(self.picture) if isinstance(self.picture, bytes) else self.picture
        try:
            return to_gray(read_picture(file, self.name, raised_by=""))
        except SourceError as error:
            raise DatasetError(str(error)) from error
