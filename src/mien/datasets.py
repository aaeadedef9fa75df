"""Labelled face pictures from the layouts people have them in. May import numpy, pyarrow, cv2,
and from mien: errors, types, preprocess.

Layouts, told apart by what is there:
    fer2013.parquet   columns usage, emotion, png (encoded bytes), optionally ferplus_* votes
    fer2013.csv       columns emotion, pixels ("70 80 82 ..."), Usage
    train|test/<class>/<file>, names starting with Training_, PublicTest_ or PrivateTest_
    <class>/<file>    a folder per class; every picture belongs to the split "all"
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from mien.errors import DatasetError
from mien.preprocess import resize_crop, to_gray
from mien.types import EXPRESSIONS, PICTURE_SUFFIXES, Frame, UInt8Array

SPLITS: Final = ("Training", "PublicTest", "PrivateTest")

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
    "ferplus_nf",  # "not a face"
)

#: Spellings of the seven classes in the wild, to FER2013's names.
CLASS_ALIASES: Final = {
    **{name: name for name in EXPRESSIONS},
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}


@dataclass(frozen=True)
class FaceCrops:
    """A labelled set of grey face crops in memory.

    Attributes:
        images: `uint8 (N, S, S)`.
        labels: `int64 (N,)`, index into `EXPRESSIONS`.
        votes: FER+ votes `uint8 (N, 10)` in the order of `FERPLUS_COLUMNS`, or None.
        names: N names for messages: file names or row numbers.
    """

    images: UInt8Array
    labels: npt.NDArray[np.int64]
    votes: UInt8Array | None
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise ValueError(f"images: expected uint8 (N, S, S), got {self.images.shape}")
        if self.labels.shape != (n,) or len(self.names) != n:
            raise ValueError(f"expected {n} labels and names, got {self.labels.shape}")
        if self.votes is not None and self.votes.shape != (n, len(FERPLUS_COLUMNS)):
            raise ValueError(f"votes: expected ({n}, 10), got {self.votes.shape}")

    def __len__(self) -> int:
        return len(self.images)

    def select(self, mask: npt.NDArray[np.bool_]) -> FaceCrops:
        """The rows where `mask (N,)` is true."""
        names = tuple(name for name, keep in zip(self.names, mask, strict=True) if keep)
        votes = None if self.votes is None else self.votes[mask]
        return FaceCrops(self.images[mask], self.labels[mask], votes, names)

    def pixel_hashes(self) -> list[bytes]:
        """One digest per image: equal if and only if the pixels are identical."""
        return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in self.images]

    def fingerprint(self) -> str:
        """SHA-256 over pixels and labels: the data hash that travels with a model."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).tobytes())
        digest.update(self.labels.tobytes())
        return digest.hexdigest()


def load_crops(path: str | Path, split: str, *, size_px: int = 48) -> FaceCrops:
    """Read one split of a set of face crops, each brought to grey `size_px` x `size_px`.

    Args:
        path: a `.parquet` or `.csv` file, or a folder, in one of the layouts above.
        split: `Training`, `PublicTest`, `PrivateTest`, or `all`.

    Raises:
        DatasetError: no such file, unknown layout, or no picture of that split.
    """
    path = Path(path)
    if not path.exists():
        raise DatasetError(f"{path}: no such file or folder. Give the path of a data set")
    if path.is_dir():
        inside = [path / name for name in ("fer2013.parquet", "fer2013.csv")]
        path = next((candidate for candidate in inside if candidate.is_file()), path)
    if path.is_dir():
        rows = _folder_rows(path, split)
    elif path.suffix == ".parquet":
        rows = _parquet_rows(path, split)
    elif path.suffix == ".csv":
        rows = _csv_rows(path, split)
    else:
        raise DatasetError(f"{path}: expected a .parquet or .csv file or a folder of classes")
    images, labels, votes, names = [], [], [], []
    for name, image, label, vote in rows:
        images.append(_fit(image, size_px))
        labels.append(label)
        names.append(name)
        if vote is not None:
            votes.append(vote)
    if not images:
        raise DatasetError(
            f"{path}: no picture of the split {split!r}. Splits of FER2013 are "
            f"{', '.join(SPLITS)}; `all` takes everything"
        )
    return FaceCrops(
        np.stack(images),
        np.array(labels, np.int64),
        np.array(votes, np.uint8) if len(votes) == len(images) else None,
        tuple(names),
    )


_Row = tuple[str, UInt8Array, int, "list[int] | None"]


def _fit(image: UInt8Array, size_px: int) -> UInt8Array:
    return resize_crop(to_gray(image), size_px)


def _decode(data: bytes, name: str) -> UInt8Array:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise DatasetError(f"{name}: not a readable picture. Remove or replace it")
    return np.asarray(image, np.uint8)


def _parquet_rows(path: Path, split: str) -> Iterator[_Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except pyarrow.ArrowException as error:
        raise DatasetError(f"{path}: not a readable Parquet file ({error})") from error
    with file:
        have = set(file.schema_arrow.names)
        missing = {"usage", "emotion", "png"} - have
        if missing:
            raise DatasetError(f"{path}: expected columns usage, emotion, png; lacks {missing}")
        votes = [column for column in FERPLUS_COLUMNS if column in have]
        with_votes = len(votes) == len(FERPLUS_COLUMNS)
        columns = ["usage", "emotion", "png", *(votes if with_votes else [])]
        number = 0
        for batch in file.iter_batches(batch_size=4096, columns=columns):
            for row in batch.to_pylist():
                number += 1
                if split in ("all", row["usage"]):
                    name = f"{path.name}:{number}"
                    ballot = [row[column] or 0 for column in votes] if with_votes else None
                    yield (
                        name,
                        _decode(row["png"], name),
                        _checked(row["emotion"], name),
                        ballot,
                    )


def _csv_rows(path: Path, split: str) -> Iterator[_Row]:
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        header = {name.strip(): name for name in reader.fieldnames or ()}
        if not {"emotion", "pixels", "Usage"} <= header.keys():
            raise DatasetError(
                f"{path}: expected columns emotion, pixels, Usage; found {list(header)}"
            )
        for number, row in enumerate(reader, 1):
            if split not in ("all", row[header["Usage"]].strip()):
                continue
            name = f"{path.name}:{number}"
            try:
                pixels = np.array(row[header["pixels"]].split(), np.uint8)
                side = int(np.sqrt(len(pixels)))
                image = pixels.reshape(side, side)
                label = int(row[header["emotion"]])
            except (ValueError, OverflowError) as error:
                raise DatasetError(f"{name}: not a square grey picture ({error})") from error
            yield name, image, _checked(label, name), None


def _folder_rows(path: Path, split: str) -> Iterator[_Row]:
    for name, label in _class_files(path):
        if split in ("all", _split_of(Path(name))):
            yield name, _decode(Path(name).read_bytes(), name), label, None


def _split_of(file: Path) -> str:
    """The split a FER2013 export names in its files (`PublicTest_12.jpg`); else `all`."""
    return next((name for name in SPLITS if file.name.startswith(f"{name}_")), "all")


def _checked(label: int, name: str) -> int:
    if not 0 <= label < len(EXPRESSIONS):
        raise DatasetError(f"{name}: expected a label from 0 to 6, found {label}")
    return label


def crop_frame(image: UInt8Array) -> Frame:
    """A grey crop `(S, S)` as an RGB `Frame`, to show it to the detector."""
    return Frame(np.repeat(image[:, :, None], 3, axis=2))


@dataclass(frozen=True)
class LabelledPicture:
    """A full picture that shows one face, its class, and a group (subject or session)."""

    path: Path
    label: int
    group: str


#: CK+'s emotion codes; 2 is contempt, which FER2013 does not have.
_CKPLUS_LABELS: Final = {
    1: "angry",
    3: "disgust",
    4: "fear",
    5: "happy",
    6: "sad",
    7: "surprise",
}


def load_pictures(path: str | Path) -> list[LabelledPicture]:
    """The full pictures of CK+ (official layout: apex frames, contempt left out) or of a folder
    per class (KDEF and others).

    Raises:
        DatasetError: no such folder, or neither layout.
    """
    path = Path(path)
    if not path.is_dir():
        raise DatasetError(f"{path}: no such folder. Give the folder of a data set")
    if (path / "Emotion").is_dir() and (path / "cohn-kanade-images").is_dir():
        pictures = list(_ckplus_apexes(path))
    else:
        pictures = [
            LabelledPicture(Path(name), label, Path(name).stem.split("_")[0])
            for name, label in _class_files(path)
        ]
    if not pictures:
        raise DatasetError(f"{path}: no labelled picture found")
    return pictures


def _ckplus_apexes(path: Path) -> Iterator[LabelledPicture]:
    """One picture a labelled sequence: the last frame, at the peak of the expression."""
    for label_file in sorted((path / "Emotion").rglob("*_emotion.txt")):
        label = _CKPLUS_LABELS.get(int(float(label_file.read_text())))
        if label is None:
            continue
        folder = path / "cohn-kanade-images" / label_file.relative_to(path / "Emotion").parent
        frame = label_file.name.removesuffix("_emotion.txt")
        files = [folder / f"{frame}{suffix}" for suffix in PICTURE_SUFFIXES]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            raise DatasetError(f"{folder}: lacks the frame {frame}, which is labelled {label}")
        yield LabelledPicture(file, EXPRESSIONS.index(label), frame.split("_")[0])


def _class_files(path: Path) -> Iterator[tuple[str, int]]:
    """Every picture in a folder per class, with its class."""
    folders = [folder for folder in sorted(path.rglob("*")) if folder.is_dir()]
    classes = [folder for folder in (path, *folders) if folder.name.lower() in CLASS_ALIASES]
    if not classes:
        raise DatasetError(
            f"{path}: expected a folder per class named like {', '.join(EXPRESSIONS)}"
        )
    for folder in classes:
        label = EXPRESSIONS.index(CLASS_ALIASES[folder.name.lower()])
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in PICTURE_SUFFIXES:
                yield str(file), label
