"""Face crops in memory: what a network learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.datasets.layouts import read_rows
from mien.datasets.remarks import of_no_split
from mien.datasets.rows import (
    EVERY_SPLIT,
    FERPLUS_COLUMNS,
    HELD_OUT,
    Row,
    learned_split,
    split_name,
    told_split,
)
from mien.errors import ConfigError, DatasetError
from mien.preprocess import resize_crop
from mien.types import EXPRESSIONS, FERPLUS_EXPRESSIONS, Frame, UInt8Array

#: Side of FER2013's crops. Smaller ones are enlarged to it, whatever a network wants.
SMALLEST_PX: Final = 48


@dataclass(frozen=True)
class FaceCrops:
    """A labelled set of grey face crops in memory.

    Attributes:
        images: `uint8 (N, S, S)`.
        labels: `int64 (N,)`, index into `classes`.
        votes: FER+ votes `uint8 (N, 10)` in the order of `FERPLUS_COLUMNS`, or None.
        names: N names for messages: file names or row numbers.
        groups: N persons or sessions; empty strings when unknown.
        classes: the names of the classes.
        split: which rows of a set they are: one of its splits, or `HELD_OUT`.
    """

    images: UInt8Array
    labels: npt.NDArray[np.int64]
    votes: UInt8Array | None
    names: tuple[str, ...]
    groups: tuple[str, ...] = ()
    classes: tuple[str, ...] = EXPRESSIONS
    split: str = EVERY_SPLIT

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise ValueError(f"images: expected uint8 (N, S, S), got {self.images.shape}")
        if self.labels.shape != (n,) or len(self.names) != n:
            raise ValueError(f"expected {n} labels and names, got {self.labels.shape}")
        if self.votes is not None and self.votes.shape != (n, len(FERPLUS_COLUMNS)):
            raise ValueError(f"votes: expected ({n}, 10), got {self.votes.shape}")
        if not self.groups:
            object.__setattr__(self, "groups", ("",) * n)

    def __len__(self) -> int:
        return len(self.images)

    def vote_shares(self) -> npt.NDArray[np.float32]:
        """`float32 (N, 8)`: the share of each of `FERPLUS_EXPRESSIONS` in the FER+ votes for them.

        Zero everywhere in a row that nobody voted for.

        Raises:
            DatasetError: the set has no votes.
        """
        counts = self._known_votes()[:, : len(FERPLUS_EXPRESSIONS)].astype(np.float32)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        return np.asarray(shares, np.float32)

    def by_votes(self) -> FaceCrops:
        """The rows as FER+ labels them: each with the class that most of its ten voters chose.

        Rows that nobody voted for, or whose most votes say `unknown` or `not a face`, are left out;
        of equal counts, the first in FER+'s order wins.

        Raises:
            DatasetError: the set has no votes.
        """
        votes = self._known_votes()
        chosen = votes.argmax(1)
        voted = replace(self, labels=chosen.astype(np.int64), classes=FERPLUS_EXPRESSIONS)
        return voted.select(votes.any(1) & (chosen < len(FERPLUS_EXPRESSIONS)))

    def _known_votes(self) -> UInt8Array:
        if self.votes is None:
            raise DatasetError(
                "no FER+ votes among these rows: expected columns ferplus_neutral ... ferplus_nf, "
                "or fer2013new.csv beside fer2013.csv"
            )
        return self.votes

    def select(self, mask: npt.NDArray[np.bool_]) -> FaceCrops:
        """The rows where `mask (N,)` is true."""
        chosen = np.nonzero(mask)[0]
        return replace(
            self,
            images=self.images[mask],
            labels=self.labels[mask],
            votes=None if self.votes is None else self.votes[mask],
            names=tuple(self.names[i] for i in chosen),
            groups=tuple(self.groups[i] for i in chosen),
        )

    def unseen(self, training: FaceCrops) -> npt.NDArray[np.bool_]:
        """`(N,)`: which rows do not stand, pixel for pixel, among the training rows.

        Sets of different sizes are compared at the larger one, to which the other's are enlarged.
        """
        side = max(self.images.shape[1], training.images.shape[1])
        mine, theirs = (
            [pixel_hash(resize_crop(image, side)) for image in rows.images]
            for rows in (self, training)
        )
        known = set(theirs)
        return np.array([digest not in known for digest in mine], bool)

    def without(self, training: FaceCrops) -> FaceCrops:
        """Those rows: of others, a network that has learned from them is too sure.

        Raises:
            DatasetError: all of them stand among the training rows.
        """
        fresh = self.unseen(training)
        if not fresh.any():
            raise DatasetError(
                f"all {len(self):,} rows to calibrate on stand, pixel for pixel, among the "
                "Training rows. Give others"
            )
        return self.select(fresh)

    def pixel_hashes(self) -> list[bytes]:
        """One digest per image: equal if and only if the pixels are identical."""
        return [pixel_hash(image) for image in self.images]

    def fingerprint(self) -> str:
        """SHA-256 over pixels and labels: the data hash that travels with a model."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).tobytes())
        digest.update(self.labels.tobytes())
        return digest.hexdigest()

    def votes_fingerprint(self) -> str:
        """SHA-256 over the votes, which the data hash leaves out; empty without votes."""
        if self.votes is None:
            return ""
        return hashlib.sha256(np.ascontiguousarray(self.votes).tobytes()).hexdigest()


def pixel_hash(image: UInt8Array) -> bytes:
    """A digest of a picture's pixels."""
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def load_crops(
    path: str | Path,
    split: str,
    *,
    size_px: int = SMALLEST_PX,
    classes: Sequence[str] = EXPRESSIONS,
    rows: Iterable[Row] | None = None,
) -> FaceCrops:
    """Read one split of a set of face crops, all brought to one size, in grey.

    Args:
        path: a file or folder in one of the layouts of `mien.datasets.layouts`.
        split: `Training`, `PublicTest`, `PrivateTest` (also `train`, `val`, `test`), `NO_SPLIT` for
            the rows that belong to none, or `EVERY_SPLIT` for all rows.
        size_px: side that a network wants. The crops have no fewer pixels, if the pictures have as
            many, and at least `SMALLEST_PX`.
        classes: the classes to keep, in the order of their labels; rows of others are left out.
        rows: all of the set, where they have been read already.

    Raises:
        DatasetError: no such file, unknown layout, an unreadable picture, or no picture of that
            split and those classes.
    """
    split = split_name(split)
    rows = read_rows(path) if rows is None else rows
    crops = gather(_shown(rows, split, classes), classes, size_px)
    if not len(crops):
        raise DatasetError(
            f"{path}: no picture{told_split(split)} of the classes {', '.join(classes)}. "
            "`mien data info` shows what there is"
        )
    return replace(crops, split=split)


def _shown(
    rows: Iterable[Row], split: str, classes: Sequence[str]
) -> Iterator[tuple[Row, UInt8Array]]:
    """The rows of a split and of these classes, each with its picture."""
    for row in rows:
        if split in (EVERY_SPLIT, row.split) and row.expression in classes:
            try:
                yield row, row.gray()
            except DatasetError as error:
                raise DatasetError(
                    f"{error}; or take it out of the set. `mien data check` names all that are "
                    "unreadable"
                ) from error


def gather(
    shown: Iterable[tuple[Row, UInt8Array]], classes: Sequence[str], size_px: int
) -> FaceCrops:
    """Rows with their pictures, all brought to one size.

    Args:
        shown: rows of these classes, each with its grey picture `(H, W)`.
        classes: in the order of their labels.
        size_px: side that a network wants, as of `load_crops`.
    """
    index = {name: label for label, name in enumerate(classes)}
    images, labels, votes, names, groups = [], [], [], [], []
    for row, image in shown:
        images.append(_shrink(image, size_px))
        labels.append(index[row.expression])
        names.append(row.name)
        groups.append(row.group)
        if row.votes is not None:
            votes.append(row.votes)
    return FaceCrops(
        stack(images),
        np.array(labels, np.int64),
        np.array(votes, np.uint8) if len(votes) == len(images) and any(map(any, votes)) else None,
        tuple(names),
        tuple(groups),
        tuple(classes),
    )


def _shrink(image: UInt8Array, size_px: int) -> UInt8Array:
    """A grey picture `(H, W)` as it is, or if it is larger than need be, square and that large."""
    size_px = max(size_px, SMALLEST_PX)
    return image if max(image.shape) <= size_px else resize_crop(image, size_px)


def stack(images: Sequence[UInt8Array]) -> UInt8Array:
    """Grey pictures as squares `(N, S, S)`: S is the largest one's side, at least `SMALLEST_PX`."""
    side = max([SMALLEST_PX, *(max(image.shape) for image in images)])
    squares = [resize_crop(image, side) for image in images]
    return np.stack(squares) if squares else np.zeros((0, side, side), np.uint8)


def load_training(
    path: str | Path,
    *,
    size_px: int = SMALLEST_PX,
    classes: Sequence[str] = EXPRESSIONS,
    holdout: float = 0.2,
    note: Callable[[str], None] = lambda text: None,
) -> tuple[FaceCrops, FaceCrops]:
    """Rows to learn from, and rows to watch.

    A set's own Training and PublicTest rows where it has them. Without Training rows, those that
    belong to no split are learned from; rows of PrivateTest never are, nor are they watched
    (RAF-DB's test rows). Without PublicTest rows, some are held out, always the same: of the rows
    that say whom they show whole subjects, such that every class is left something to learn from;
    of the others a share of every class.

    Args:
        path: a file or folder in one of the layouts of `mien.datasets.layouts`.
        size_px: side that a network wants, as of `load_crops`.
        classes: the classes to keep.
        holdout: share of the rows to hold out, between 0 and 1; of subjects, the nearest of a half,
            a third, a quarter, ….
        note: called with a line on rows that are not used, if there are any.

    Raises:
        ConfigError: another holdout, where the set has no split of its own.
        DatasetError: no such set, or nothing to learn from: at all, or of a class that is held out.
    """
    known = list(read_rows(path))
    if unused := of_no_split(path, known, classes):
        note(unused)
    splits = {row.split for row in known}
    own = learned_split(splits)
    rows = load_crops(path, own, size_px=size_px, classes=classes, rows=known)
    if "PublicTest" in splits:
        return rows, load_crops(path, "PublicTest", size_px=size_px, classes=classes, rows=known)
    if not 0 < holdout < 1:
        raise ConfigError(
            f"data.holdout: expected a share between 0 and 1, found {holdout}: {path} has no rows "
            "of its own to watch"
        )
    held = _held_out(rows, holdout)
    if held.all() or not held.any():
        raise DatasetError(f"{path}: {len(rows)} pictures are too few to learn from and to watch")
    learned, watched = rows.select(~held), replace(rows.select(held), split=HELD_OUT)
    _require_lessons(path, learned, watched)
    return learned, watched


def _held_out(rows: FaceCrops, holdout: float) -> npt.NDArray[np.bool_]:
    """Which rows `(N,)` to watch, as of `load_training`."""
    groups, people = np.array(rows.groups), {*rows.groups} - {""}
    known = (groups != "") & (len({*rows.groups}) > 1)  # all of one subject: as of nobody
    held = np.zeros(len(rows), bool)
    order = np.random.default_rng(0).permutation(len(rows))
    for label in range(len(rows.classes)):
        mine = order[(rows.labels == label)[order] & ~known[order]]
        held[mine] = (np.arange(len(mine)) + 0.5) / max(len(mine), 1) < holdout
    if len(people) > 1:
        folds = min(len(people), max(2, round(1 / holdout)))
        fold_of = np.full(len(rows), -1)
        fold_of[known] = subject_folds(groups[known].tolist(), folds)
        there = set(rows.labels)
        whole = (f for f in range(folds) if set(rows.labels[~held & (fold_of != f)]) == there)
        held |= fold_of == next(whole, 0)
    return held


def _require_lessons(path: str | Path, learned: FaceCrops, watched: FaceCrops) -> None:
    """Refuse to watch a class of which nothing is learned."""
    for label in sorted(set(watched.labels) - set(learned.labels)):
        mine = np.nonzero(watched.labels == label)[0]
        whom = sorted({watched.groups[i] for i in mine} - {""})
        why = f" All show {', '.join(whom[:3])}, by their file names." if whom else ""
        raise DatasetError(
            f"{path}: of {learned.classes[label]}, {len(mine):,} to watch and none to learn from."
            f"{why} Folders train and val above the classes say which is which"
        )


def subject_folds(groups: Sequence[str], folds: int, *, seed: int = 0) -> npt.NDArray[np.int64]:
    """A fold number per row `(N,)` such that no group is cut, and folds are about equally large.

    Groups are dealt in a shuffled order, the largest first, each to the smallest fold so far.

    Raises:
        DatasetError: fewer groups than folds, or rows whose group is unknown.
    """
    names, counts = np.unique(np.asarray(groups), return_counts=True)
    if "" in names:
        raise DatasetError("folds by subject: some rows do not say whom they show")
    if len(names) < folds:
        raise DatasetError(f"folds by subject: {len(names)} subjects are too few for {folds} folds")
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-counts[order], kind="stable")]
    sizes = np.zeros(folds, np.int64)
    fold_of: dict[str, int] = {}
    for i in order:
        smallest = int(sizes.argmin())
        fold_of[str(names[i])] = smallest
        sizes[smallest] += counts[i]
    return np.array([fold_of[group] for group in groups], np.int64)


def crop_frame(image: UInt8Array) -> Frame:
    """A grey crop `(S, S)` as an RGB `Frame`, to show it to the detector."""
    return Frame(np.repeat(image[:, :, None], 3, axis=2))
