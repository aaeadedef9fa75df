"""What a data set holds and what is wrong with it. May import whatever the pipeline may.

Reads every picture once. A picture that cannot be read is a finding, not an error.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.classifier import ExpressionClassifier
from mien.datasets import NOT_A_FACE, SPLITS, Row, read_rows
from mien.datasets.crops import pixel_hash
from mien.errors import DatasetError
from mien.preprocess import resize_crop
from mien.types import FERPLUS_EXPRESSIONS, UInt8Array

#: What `check` may find, and what it means.
KINDS: Final[Mapping[str, str]] = {
    "unreadable": "cannot be read or decoded",
    "flat": "shows hardly any contrast: blank, or a drawing's background",
    "not-a-face": "most FER+ voters say that it shows no face",
    "leak": "stands, pixel for pixel, in another split too",
    "copy": "stands mirrored, compressed anew or in another size in another split too",
    "conflict": "stands, pixel for pixel, under another label too",
    "duplicate": "stands, pixel for pixel, in the same split and class again",
    "mislabelled": "FER+ voters or the model agree on another label",
}

_FLAT: Final = 4.0  # standard deviation, grey levels of 255
_SMALL_PX: Final = 16  # side at which copies are looked for
#: Correlation of two such pictures that are of one. Of FER2013's PublicTest, 143 pictures have one
#: of at least this in Training, beside those that are identical; below 0.96, strangers are met.
_SAME: Final = 0.97
_VOTES: Final = 10  # FER+ asked ten people
_SURE_VOTES: Final = 8  # of them agree on another label
_SURE: Final = 0.9  # confidence of the model in another label
_UNLIKELY: Final = 0.02  # probability that it leaves for the given one

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Description:
    """What a data set holds.

    Attributes:
        counts: for each class its number of pictures by split, largest class first.
        sizes: number of pictures by (width, height), most common first.
        unreadable: pictures that cannot be decoded; they are counted all the same.
        duplicate_groups: sets of pixel-identical pictures.
        conflicting_groups: those among them that carry different labels.
        leaking_groups: those among them that stand in more than one split.
    """

    counts: dict[str, dict[str, int]]
    sizes: dict[tuple[int, int], int]
    unreadable: int
    duplicate_groups: int
    conflicting_groups: int
    leaking_groups: int

    @property
    def splits(self) -> list[str]:
        """The splits that occur, FER2013's first and in its order."""
        found = {split for by_split in self.counts.values() for split in by_split}
        return [s for s in SPLITS if s in found] + sorted(found - set(SPLITS))

    @property
    def total(self) -> int:
        """Number of pictures."""
        return sum(sum(by_split.values()) for by_split in self.counts.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        sizes = {f"{width}x{height}": n for (width, height), n in self.sizes.items()}
        return {"total": self.total, **asdict(self), "sizes": sizes}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one picture. `kind` is a key of `KINDS`."""

    kind: str
    name: str
    expression: str
    split: str
    detail: str


def describe(path: str | Path, progress: Progress = lambda done: None) -> Description:
    """Count a data set's pictures by class, split and size, and its duplicates.

    Args:
        path: a set in one of the layouts of `mien.datasets.layouts`.
        progress: called with the number of pictures read.

    Raises:
        DatasetError: no such set, or no layout that we know.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    sizes: Counter[tuple[int, int]] = Counter()
    twins = _Twins()
    unreadable = 0
    for number, row in enumerate(read_rows(path, broken=True), 1):
        counts[row.expression][row.split] += 1
        try:
            image = row.gray()
        except DatasetError:
            unreadable += 1
        else:
            sizes[image.shape[1], image.shape[0]] += 1
            twins.add(row, image)
        progress(number)
    groups = list(twins.groups())
    return Description(
        {
            name: dict(by_split)
            for name, by_split in sorted(counts.items(), key=lambda item: -item[1].total())
        },
        dict(sizes.most_common()),
        unreadable,
        len(groups),
        sum(len({row.expression for row in group}) > 1 for group in groups),
        sum(len({row.split for row in group}) > 1 for group in groups),
    )


def check(
    path: str | Path,
    classifier: ExpressionClassifier | None,
    progress: Progress = lambda done: None,
) -> list[Finding]:
    """Everything suspicious in a data set, in the order of `KINDS`.

    Args:
        path: a set in one of the layouts of `mien.datasets.layouts`.
        classifier: looks for labels that it cannot believe; None to skip that.
        progress: called with the number of pictures read.

    Raises:
        DatasetError: no such set, or no layout that we know.
    """
    findings: list[Finding] = []
    twins, copies = _Twins(), _Copies()
    doubtful: list[Row] = []
    crops: list[UInt8Array] = []
    for number, row in enumerate(read_rows(path, broken=True), 1):
        progress(number)
        try:
            image = row.gray()
        except DatasetError as error:
            findings.append(_finding("unreadable", row, str(error).removeprefix(f"{row.name}: ")))
            continue
        twins.add(row, image)
        contrast = float(image.std())
        if contrast < _FLAT:
            findings.append(_finding("flat", row, f"standard deviation {contrast:.1f} of 255"))
            continue
        copies.add(row, image)
        if row.votes is not None and 2 * (against := row.votes[NOT_A_FACE]) > _VOTES:
            findings.append(_finding("not-a-face", row, f"{against} of {_VOTES} votes"))
        else:
            suspicion = _voters_disagree(row)
            if suspicion:
                findings.append(_finding("mislabelled", row, suspicion))
            elif classifier is not None and row.expression in classifier.spec.labels:
                doubtful.append(row)
                crops.append(resize_crop(image, classifier.spec.input_px))
    findings += _twin_findings(twins)
    leaks = {finding.name for finding in findings if finding.kind == "leak"}
    findings += [finding for finding in copies.findings() if finding.name not in leaks]
    if classifier is not None and crops:
        findings += _disbelieved(doubtful, crops, classifier)
    order = list(KINDS)
    return sorted(findings, key=lambda finding: order.index(finding.kind))


def _finding(kind: str, row: Row, detail: str) -> Finding:
    return Finding(kind, row.name, row.expression, row.split, detail)


def _voters_disagree(row: Row) -> str:
    if row.votes is None:
        return ""
    best = int(np.argmax(row.votes[: len(FERPLUS_EXPRESSIONS)]))
    name = FERPLUS_EXPRESSIONS[best]
    if name == row.expression or row.votes[best] < _SURE_VOTES:
        return ""
    return f"{row.votes[best]} of {_VOTES} FER+ votes say {name}"


def _disbelieved(
    rows: Sequence[Row], crops: Sequence[UInt8Array], classifier: ExpressionClassifier
) -> Iterable[Finding]:
    probs = classifier.predict(crops, views="flip").probs
    labels = classifier.spec.labels
    for row, p in zip(rows, probs, strict=True):
        best = int(p.argmax())
        given = labels.index(row.expression)
        if p[best] >= _SURE and p[given] <= _UNLIKELY:
            yield _finding(
                "mislabelled",
                row,
                f"{classifier.spec.name} says {labels[best]} at {p[best]:.0%}, leaves "
                f"{p[given]:.1%} for {row.expression}",
            )


class _Twins:
    """Rows by the pixels that they show."""

    def __init__(self) -> None:
        self._rows: dict[tuple[tuple[int, ...], bytes], list[Row]] = defaultdict(list)

    def add(self, row: Row, image: UInt8Array) -> None:
        # The picture itself is not kept: a large set would not fit into memory.
        slim = Row(row.name, row.expression, b"", row.split, row.group)
        self._rows[image.shape, pixel_hash(image)].append(slim)

    def groups(self) -> Iterable[list[Row]]:
        return (rows for rows in self._rows.values() if len(rows) > 1)


class _Copies:
    """Rows by what they show, at a size at which mirror images and other files of it are alike."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._small: list[npt.NDArray[np.float32]] = []

    def add(self, row: Row, image: UInt8Array) -> None:
        small = resize_crop(image, _SMALL_PX).astype(np.float32)
        small -= small.mean()
        self._small.append(small / max(float(np.linalg.norm(small)), 1e-6))
        self._rows.append(Row(row.name, row.expression, b"", row.split, row.group))

    def findings(self) -> Iterator[Finding]:
        splits = np.array([row.split for row in self._rows])
        if len(set(splits)) < 2:
            return
        small = np.stack(self._small)
        every, mirrored = (view.reshape(len(small), -1) for view in (small, small[:, :, ::-1]))
        for start in range(0, len(small), 256):
            part = slice(start, start + 256)
            alike = np.maximum(every[part] @ every.T, mirrored[part] @ every.T)
            alike[splits[part, None] == splits] = 0
            for row, likeness in zip(self._rows[part], alike, strict=True):
                other = self._rows[int(likeness.argmax())]
                if likeness.max() >= _SAME:
                    yield _finding(
                        "copy", row, f"of {other.name} ({other.split}, {other.expression})"
                    )


def _twin_findings(twins: _Twins) -> Iterable[Finding]:
    """One finding a row, of the worst kind that holds."""
    for group in twins.groups():
        for row in group:
            others = [other for other in group if other is not row]
            leaks = [other for other in others if other.split != row.split]
            conflicts = [other for other in others if other.expression != row.expression]
            kind = "leak" if leaks else "conflict" if conflicts else "duplicate"
            twin = (leaks or conflicts or others)[0]
            yield _finding(kind, row, f"as {twin.name} ({twin.split}, {twin.expression})")
