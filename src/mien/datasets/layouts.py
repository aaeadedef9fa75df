"""Every layout to rows. Layouts are told apart by what is there, never by a name alone.

fer2013.parquet   columns usage, emotion, png (encoded bytes), optionally ferplus_* votes
fer2013.csv       columns emotion, pixels ("70 80 82 ..."), Usage; with FER+'s fer2013new.csv
                  beside it, its votes
CK+               folders cohn-kanade-images and Emotion: the apex frame of every sequence
RAF-DB            list_patition_label.txt (its own spelling) and Image/aligned or original
AffectNet         train_set and val_set with annotations/*_exp.npy
KDEF              files named AF01ANS.JPG: session, person, expression, angle
<class>/<file>    a folder per class, at any depth; the nearest folder above it that is called
                  train, val or test names the split (also KDEF's), as do file names that start
                  with Training_, PublicTest_, PrivateTest_
                  (CK+48 and other re-packed sets have this layout)
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from mien.adapters import AFFECTNET_EXPRESSIONS, RAFDB_EXPRESSIONS
from mien.datasets.rows import (
    CLASS_ALIASES,
    FERPLUS_COLUMNS,
    HEAD_VIEWS,
    NO_SPLIT,
    SPLITS,
    Row,
    class_name,
    split_name,
)
from mien.errors import DatasetError
from mien.folders import files_below
from mien.types import EXPRESSIONS, PICTURE_SUFFIXES, UInt8Array

_FERPLUS_FILE: Final = "fer2013new.csv"
_FERPLUS_HEADER: Final = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
    "unknown", "NF",
)  # fmt: skip

#: Codes of the sets that number their classes.
_CKPLUS: Final = {
    1: "angry", 2: "contempt", 3: "disgust", 4: "fear", 5: "happy", 6: "sad", 7: "surprise"
}  # fmt: skip
_RAFDB: Final = dict(enumerate(RAFDB_EXPRESSIONS, 1))
_AFFECTNET: Final = dict(enumerate(AFFECTNET_EXPRESSIONS))
_AFFECTNET_SPLITS: Final = {"train_set": "Training", "val_set": "PublicTest"}
_KDEF: Final = {
    "AF": "fear", "AN": "angry", "DI": "disgust", "HA": "happy", "NE": "neutral", "SA": "sad",
    "SU": "surprise",
}  # fmt: skip
_KDEF_VIEWS: Final = dict(zip(("S", "HL", "HR", "FL", "FR"), HEAD_VIEWS, strict=True))

_KDEF_NAME: Final = re.compile(r"[AB]([FM]\d\d)(AF|AN|DI|HA|NE|SA|SU)(S|HL|HR|FL|FR)", re.I)
#: File names that say whom they show: CK+48's S010_004_00000017, and 12_3, of the person, or of one
#: sitting of a person (a copy of KDEF), with number 12. Longer numbers are dates and times of
#: cameras (20240105_120000).
_GROUP_NAMES: Final = re.compile(r"(S\d{3})_\d{3}_\d+|(\d{1,5})_\d{1,5}")


def read_rows(path: str | Path, *, broken: bool = False) -> Iterator[Row]:
    """The rows of a data set, in its own order; pictures are not decoded yet.

    Args:
        path: a file or folder in one of the layouts above.
        broken: whether to go on past a row that is wrong: it comes with the error as its picture,
            and with `?` as its class where that is what is wrong.

    Raises:
        DatasetError: no such file, no layout that we know, or a broken one.
    """
    for row in _rows(path):
        if isinstance(row.picture, DatasetError) and not broken:
            raise row.picture
        yield row


def _rows(path: str | Path) -> Iterator[Row]:
    path = Path(path)
    if not path.exists():
        raise DatasetError(f"{path}: no such file or folder. Give the path of a data set")
    if path.is_dir():
        inside = [path / name for name in ("fer2013.parquet", "fer2013.csv")]
        path = next((file for file in inside if file.is_file()), path)
    if path.is_dir():
        return _folder(path)
    if path.suffix == ".parquet":
        return _fer2013_parquet(path)
    if path.suffix == ".csv":
        return _fer2013_csv(path)
    raise DatasetError(f"{path}: expected a .parquet or .csv file or a folder of classes")


def _folder(path: Path) -> Iterator[Row]:
    if (path / "Emotion").is_dir() and (path / "cohn-kanade-images").is_dir():
        return _ckplus(path)
    files = list(map(Path, files_below(path)))
    listing = next((file for file in files if file.name == "list_patition_label.txt"), None)
    if listing is not None:
        return _rafdb(listing)
    if any((path / part / "annotations").is_dir() for part in _AFFECTNET_SPLITS):
        return _affectnet(path)
    return _class_folders(path, files)


# --- FER2013 -------------------------------------------------------------------------------


def _fer2013_parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DatasetError(
            f"{path}: reading Parquet needs pyarrow, which the runtime does without: "
            "pip install 'mien[parquet]'"
        ) from error
    try:
        file = parquet.ParquetFile(path)
    except pyarrow.ArrowException as error:
        raise DatasetError(f"{path}: not a readable Parquet file ({error})") from error
    with file:
        have = set(file.schema_arrow.names)
        missing = {"usage", "emotion", "png"} - have
        if missing:
            raise DatasetError(f"{path}: expected columns usage, emotion, png; lacks {missing}")
        votes = FERPLUS_COLUMNS if have.issuperset(FERPLUS_COLUMNS) else ()
        columns = ["usage", "emotion", "png", *votes]
        number = 0
        for batch in file.iter_batches(batch_size=4096, columns=columns):
            for row in batch.to_pylist():
                number += 1
                name = f"{path.name}:{number}"
                ballot = tuple(row[column] or 0 for column in votes) or None
                usage = _usage(row["usage"])
                if isinstance(row["emotion"], int) and isinstance(row["png"], bytes):
                    yield _fer2013(row["emotion"], name, row["png"], usage, ballot)
                else:
                    words = "expected an integer as its emotion and bytes as its png"
                    yield _broken(name, words, split=usage)


def _fer2013_csv(path: Path) -> Iterator[Row]:
    votes_file = path.with_name(_FERPLUS_FILE)
    ballots = _ferplus_votes(votes_file)
    number = 0
    with _csv(path) as reader:
        header = {name.strip(): name for name in reader.fieldnames or ()}
        if not {"emotion", "pixels", "Usage"} <= header.keys():
            raise DatasetError(
                f"{path}: expected columns emotion, pixels, Usage; found {list(header)}"
            )
        for number, row in enumerate(reader, 1):
            name = f"{path.name}:{number}"
            usage = _usage(row[header["Usage"]])
            try:
                pixels = np.array(row[header["pixels"]].split(), np.uint8)
                side = int(np.sqrt(len(pixels)))
                if not side:
                    raise ValueError("it has no pixels")
                image = pixels.reshape(side, side)
                label = int(row[header["emotion"]])
            except (AttributeError, TypeError, ValueError, OverflowError) as error:
                yield _broken(name, f"not a square grey picture ({error})", split=usage)
                continue
            ballot = None
            if ballots is not None:
                if number > len(ballots):
                    raise _astray(votes_file, f"has {len(ballots):,} rows, fewer than", path)
                voted_usage, ballot = ballots[number - 1]
                if voted_usage not in (None, usage):
                    words = f"row {number} is of {voted_usage}, not of {usage} as in"
                    raise _astray(votes_file, words, path)
            yield _fer2013(label, name, image, usage, ballot)
    if ballots is not None and number < len(ballots):
        words = f"has {len(ballots):,} rows, more than the {number:,} of"
        raise _astray(votes_file, words, path)


def _astray(votes_file: Path, words: str, path: Path) -> DatasetError:
    """Votes that are of other pictures than those beside them."""
    return DatasetError(
        f"{votes_file}: {words} {path.name}, which it must follow row by row. Take out of both "
        "what is taken out of one, or move the votes away"
    )


def _usage(text: object) -> str:
    """The split that a table names, in our spelling."""
    return split_name(str(text or "").strip()) or NO_SPLIT


def _ferplus_votes(path: Path) -> list[tuple[str | None, tuple[int, ...]]] | None:
    """The rows of Microsoft's FER+ file, which follows fer2013.csv row by row: split and votes."""
    if not path.is_file():
        return None
    with _csv(path) as reader:
        missing = set(_FERPLUS_HEADER) - set(reader.fieldnames or ())
        if missing:
            raise DatasetError(f"{path}: expected FER+'s columns; lacks {sorted(missing)}")
        return [
            (
                _usage(row["Usage"]) if "Usage" in row else None,
                tuple(int(row[name] or 0) for name in _FERPLUS_HEADER),
            )
            for row in reader
        ]


@contextmanager
def _csv(path: Path) -> Iterator[csv.DictReader[str]]:
    """The rows of a CSV file by the names in its first line, which may begin with a mark."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield csv.DictReader(file)
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(f"{path}: not a readable CSV file in UTF-8 ({error})") from error


def _fer2013(
    label: int,
    name: str,
    picture: bytes | UInt8Array,
    usage: str,
    ballot: tuple[int, ...] | None,
) -> Row:
    if not 0 <= label < len(EXPRESSIONS):
        return _broken(name, f"expected a label from 0 to 6, found {label}", split=usage)
    return Row(name, EXPRESSIONS[label], picture, usage, votes=ballot)


def _broken(name: str, words: str, expression: str = "?", split: str = NO_SPLIT) -> Row:
    return Row(name, expression, DatasetError(f"{name}: {words}"), split)


# --- sets with a layout of their own ---------------------------------------------------------


def _ckplus(path: Path) -> Iterator[Row]:
    """One row a labelled sequence: its last frame, at the peak of the expression."""
    for label_file in map(Path, files_below(path / "Emotion")):
        if not label_file.name.endswith("_emotion.txt"):
            continue
        try:
            expression = _CKPLUS[int(float(label_file.read_text(encoding="utf-8")))]
        except (ValueError, KeyError) as error:
            yield _broken(str(label_file), f"expected a class from 1 to 7 ({error})")
            continue
        within = label_file.relative_to(path / "Emotion").parent
        frame = label_file.name.removesuffix("_emotion.txt")
        folder = path / "cohn-kanade-images" / within
        files = (folder / f"{frame}{suffix}" for suffix in PICTURE_SUFFIXES)
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            yield _broken(
                str(folder), f"lacks the frame {frame}, labelled {expression}", expression
            )
            continue
        yield Row(str(file), expression, file, group=frame.split("_")[0])


def _rafdb(listing: Path) -> Iterator[Row]:
    images = listing.parent.parent / "Image"
    aligned = (images / "aligned").is_dir()
    folder = images / ("aligned" if aligned else "original")
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            name, code = line.split()
            expression = _RAFDB[int(code)]
        except (ValueError, KeyError):
            words = f"expected a file name and a class from 1 to 7, found {line!r}"
            yield _broken(f"{listing}:{number}", words)
            continue
        file = folder / (name.replace(".jpg", "_aligned.jpg") if aligned else name)
        yield Row(str(file), expression, file, split_name(name.split("_")[0]))


def _affectnet(path: Path) -> Iterator[Row]:
    for part, split in _AFFECTNET_SPLITS.items():
        for label_file in sorted((path / part / "annotations").glob("[!.]*_exp.npy")):
            try:
                code = int(np.load(label_file, allow_pickle=False))
            except (OSError, EOFError, TypeError, ValueError) as error:
                yield _broken(str(label_file), f"expected a class's number ({error})", split=split)
                continue
            name = label_file.name.removesuffix("_exp.npy")
            file = path / part / "images" / f"{name}.jpg"
            if code in _AFFECTNET:  # the others are "none", "uncertain", "no face"
                yield Row(str(file), _AFFECTNET[code], file, split)


# --- a folder per class ----------------------------------------------------------------------


def _class_folders(path: Path, files: Iterable[Path]) -> Iterator[Row]:
    empty = True
    for file in files:
        if file.suffix.lower() not in PICTURE_SUFFIXES:
            continue
        kdef = _KDEF_NAME.fullmatch(file.stem)
        if kdef:
            person, code, angle = (part.upper() for part in kdef.groups())
            expression, view = _KDEF[code], _KDEF_VIEWS[angle]
        elif file.parent == path and path.name.lower() not in CLASS_ALIASES:
            continue  # a picture beside the folders has no class
        else:
            person, expression, view = _group(file), class_name(file.parent.name), ""
        empty = False
        yield Row(str(file), expression, file, _split(file, path), person, view=view)
    if empty:
        raise DatasetError(
            f"{path}: expected a folder per class named like {', '.join(EXPRESSIONS)}, with "
            "pictures in it"
        )


def _split(file: Path, root: Path) -> str:
    """What the file's name says (`PublicTest_12.jpg`), or the nearest folder below the root."""
    for name in SPLITS:
        if file.name.startswith(f"{name}_"):
            return name
    folders = map(split_name, reversed(file.relative_to(root).parts[:-1]))
    return next((name for name in folders if name in SPLITS), NO_SPLIT)


def _group(file: Path) -> str:
    match = _GROUP_NAMES.fullmatch(file.stem)
    return next(filter(None, match.groups()), "") if match else ""
