"""Degraded pictures shown to models. A full picture is degraded before its face is looked for, so
that faces which are lost count; a crop is degraded as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mien.alignment import FRONT_NOSE_OFFSET, align_faces
from mien.classifier import ExpressionClassifier, are_uncertain
from mien.datasets import EVERY_SPLIT, HEAD_VIEWS, FaceCrops, LabelledPicture
from mien.detection import FaceDetector
from mien.errors import DatasetError, ModelError, SourceError
from mien.evaluate import turn_of
from mien.quality import QualityGate
from mien.slices.degrade import SLICES, STANDARD_FACE, FacePlace, Slice, directions
from mien.slices.result import AS_IT_IS, LevelFigures, Sliced, SliceFigures
from mien.sources import first_frame
from mien.types import EXPRESSIONS, Detections, Frame, Pose, UInt8Array, Views

Progress = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    """No progress."""


#: What is said of N faces: `(N, 7)`, and which of it is `uncertain`, `(N,)`.
Said = tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]


class Reader(Protocol):
    """Something that reads faces: it looks at them one by one and answers about all at once."""

    name: str
    version: str
    uncertain_below: float
    gated: bool
    views: Views

    def look(self, image: UInt8Array, face: Detections | None) -> None:
        """See a picture `(H, W, 3)` with its one face, or a crop `(S, S)` and None."""

    def answers(self) -> Said:
        """Of all faces since the last answers, in their order."""


class _Classifier:
    """A model of ours as a reader.

    Raises:
        ModelError: its classes are not the seven expressions.
    """

    gated = True

    def __init__(self, classifier: ExpressionClassifier, *, views: Views = "single") -> None:
        spec = classifier.spec
        if spec.labels != EXPRESSIONS:
            raise ModelError(
                f"{spec.name}: slices compare models of the classes {', '.join(EXPRESSIONS)}; its "
                f"own are {', '.join(spec.labels)}. Choose another model"
            )
        self.name, self.version = spec.name, spec.version
        self.uncertain_below = spec.uncertain_below
        self.views: Views = views
        self._classifier, self._gate = classifier, QualityGate()
        self._crops: list[UInt8Array] = []

    def answers(self) -> Said:
        crops, self._crops = np.stack(self._crops), []
        probs = self._classifier.predict(crops, views=self.views).probs
        return probs, are_uncertain(probs, self.uncertain_below, self._gate.doubtful(crops))


class CropReader(_Classifier):
    """A model of ours that is shown crops."""

    def look(self, image: UInt8Array, face: Detections | None) -> None:
        """Keep the crop."""
        self._crops.append(image)


class PictureReader(_Classifier):
    """A model of ours that is shown pictures, out of which it cuts faces by its own rule."""

    def look(self, image: UInt8Array, face: Detections | None) -> None:
        """Cut the face out."""
        spec = self._classifier.spec
        assert face is not None
        (crop,) = align_faces(
            image, face, scale=spec.crop_scale, upright=spec.crop_upright, size_px=spec.input_px
        )
        self._crops.append(crop)


@dataclass(frozen=True)
class _Read:
    """What a reader said at one level: `right (N,)`, `found (N,)`, `answered (N,)`."""

    right: npt.NDArray[np.bool_]
    found: npt.NDArray[np.bool_]
    answered: npt.NDArray[np.bool_]

    def figures(self, level: str, of: npt.NDArray[np.bool_] | None = None) -> LevelFigures:
        """Counted, over all rows or those where `of (N,)` is true."""
        kept = np.ones(len(self.right), bool) if of is None else of
        right, answered = self.right & kept, self.answered & kept
        return LevelFigures(
            level,
            int(kept.sum()),
            int(right.sum()),
            int((~self.found & kept).sum()),
            int(answered.sum()),
            int((answered & right).sum()),
        )


def read_level(
    readers: Sequence[Reader],
    shown: Iterable[tuple[UInt8Array, Detections | None] | None],
    labels: npt.NDArray[np.int64],
) -> tuple[list[_Read], list[npt.NDArray[np.float64]]]:
    """Show pictures to every reader.

    Args:
        readers: who reads.
        shown: N pictures with their face; None where no face was found.
        labels: `(N,)`, the truth.

    Returns:
        For each reader what became of it, and its probabilities `(N, 7)`, zero without a face.
    """
    found = np.zeros(len(labels), bool)
    for i, item in enumerate(shown):
        if item is not None:
            found[i] = True
            for reader in readers:
                reader.look(*item)
    reads, said = [], []
    for reader in readers:
        probs, answered = np.zeros((len(labels), len(EXPRESSIONS))), np.zeros(len(labels), bool)
        if found.any():
            probs[found], uncertain = reader.answers()
            answered[found] = ~uncertain
        right = found & (probs.argmax(1) == labels)
        reads.append(_Read(right, found, answered))
        said.append(probs)
    return reads, said


def drawn(total: int, n: int | None, seed: int) -> npt.NDArray[np.intp]:
    """Which rows of `total` make a random sample of n, in order; None for all.

    Raises:
        ValueError: n is not positive.
    """
    if n is not None and n < 1:
        raise ValueError(f"sample: expected at least 1, got {n}")
    return np.sort(np.random.default_rng(seed).permutation(total)[:n])


def slice_crops(
    readers: Sequence[Reader],
    data: FaceCrops,
    *,
    name: str,
    split: str = EVERY_SPLIT,
    sample: int | None = None,
    seed: int = 0,
    progress: Progress = _silent,
) -> list[Sliced]:
    """Examine readers on face crops, degraded in every way.

    Args:
        readers: who reads.
        data: the crops, in FER2013's framing: see `STANDARD_FACE`.
        name, split: what to call them.
        sample: how many to draw at random; None for all.
        seed: which ones, and from which side they are covered and turned.
        progress: called with the number of crops shown and their total.
    """
    chosen = drawn(len(data), sample, seed)
    images, labels = data.images[chosen], data.labels[chosen]
    face = STANDARD_FACE.scaled(images.shape[1])
    to_side = directions(len(images), seed)
    total = len(images) * _levels(SLICES)

    def show(part: Slice | None, amount: float, done: int) -> Iterator[tuple[UInt8Array, None]]:
        for i, image in enumerate(images):
            progress(done + i, total)
            yield (image if part is None else part.apply(image, face, amount, to_side[i])), None

    figures, _ = _all_slices(readers, labels, show, len(images))
    return [
        sliced(reader, own, name=name, split=split, sample=sample, seed=seed)
        for reader, own in zip(readers, figures, strict=True)
    ]


def slice_pictures(
    readers: Sequence[Reader],
    pictures: Sequence[LabelledPicture],
    *,
    name: str,
    split: str = EVERY_SPLIT,
    pose: Pose = "all",
    sample: int | None = None,
    seed: int = 0,
    progress: Progress = _silent,
    problem: Callable[[str], None] = lambda words: None,
) -> list[Sliced]:
    """Examine readers on full pictures of one face each, through detection and alignment.

    A picture in which no face is found as it is counts as missed at every level: nobody knows how
    large its face is. Further arguments and errors as of `slice_crops`.

    Args:
        readers: who reads.
        pictures: the files and their labels.
        pose: `all`, or which faces count by how they are turned in the pictures as they are:
            `front`, `turned` (`turn_of`). With `all`, the poses become a slice where there are
            several: the views that the set names, or the two.
        problem: called with what is wrong with a picture that cannot be read. It has no face.

    Raises:
        DatasetError: no picture has a face of that pose.
    """
    labels = np.array([picture.label for picture in pictures], np.int64)
    chosen = drawn(len(labels), sample, seed)
    pictures, labels = [pictures[i] for i in chosen], labels[chosen]
    detector = FaceDetector(threads=1)
    looked = len(pictures)  # at first, to find the faces
    total = looked * (1 + _levels(SLICES))
    faces: list[Detections | None] = []
    for i, picture in enumerate(pictures):
        progress(i, total)
        image = _pixels(picture, problem)
        faces.append(None if image is None else largest_face(detector, image))
    turns = [turn_of(picture, face) for picture, face in zip(pictures, faces, strict=True)]
    front = np.array(turns) <= FRONT_NOSE_OFFSET
    lost = np.array([face is None for face in faces])
    if pose != "all":
        kept = np.nonzero(front if pose == "front" else ~front)[0]
        if lost[kept].all():
            raise DatasetError(f"{name}: no picture has a face of the pose {pose!r}")
        pictures, labels = [pictures[i] for i in kept], labels[kept]
        faces = [faces[i] for i in kept]
        total = looked + len(pictures) * _levels(SLICES)
    to_side = directions(len(pictures), seed)

    def show(
        part: Slice | None, amount: float, done: int
    ) -> Iterator[tuple[UInt8Array, Detections] | None]:
        for i, (picture, face) in enumerate(zip(pictures, faces, strict=True)):
            progress(looked + done + i, total)
            image = None if face is None else _pixels(picture)
            if image is None or face is None:
                yield None
            elif part is None:
                yield image, face
            else:
                place = FacePlace(face.boxes[0], face.landmarks[0])
                worse = part.apply(image, place, amount, to_side[i])
                again = largest_face(detector, worse)
                yield None if again is None else (worse, again)

    figures, plain = _all_slices(readers, labels, show, len(pictures))
    poses = _poses(pictures, front) if pose == "all" else {}
    if sum(bool((mine & ~lost).any()) for mine in poses.values()) > 1:
        for own, read in zip(figures, plain, strict=True):
            levels = tuple(read.figures(name, mine) for name, mine in poses.items())
            own.append(SliceFigures("pose", "of the head", levels))
    return [
        sliced(
            reader, own, name=name, split=split, pipeline=True, pose=pose, sample=sample, seed=seed
        )
        for reader, own in zip(readers, figures, strict=True)
    ]


def _poses(
    pictures: Sequence[LabelledPicture], front: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[np.bool_]]:
    """By its name, which pictures are of a pose: of the views that the set names, or of two."""
    if not all(picture.view for picture in pictures):
        return {"front": front, "turned": ~front}
    shown = {view: np.array([p.view == view for p in pictures]) for view in HEAD_VIEWS}
    return {view: mine for view, mine in shown.items() if mine.any()}


def largest_face(detector: FaceDetector, image: UInt8Array) -> Detections | None:
    """The largest face alone, or None."""
    found = detector.find(Frame(image))
    if not len(found):
        return None
    return found.select([found.largest()])


def _pixels(
    picture: LabelledPicture, problem: Callable[[str], None] = lambda words: None
) -> UInt8Array | None:
    """RGB, or None for a file that cannot be read: it counts as missed, as in `evaluate`."""
    try:
        return first_frame(picture.path).image
    except SourceError as error:
        problem(str(error))
        return None


def _levels(slices: Sequence[Slice]) -> int:
    """How often the set is shown: once as it is, and once with every amount."""
    return 1 + sum(len(part.amounts) for part in slices)


Show = Callable[[Slice | None, float, int], Iterable["tuple[UInt8Array, Detections | None] | None"]]


def _all_slices(
    readers: Sequence[Reader], labels: npt.NDArray[np.int64], show: Show, n: int
) -> tuple[list[list[SliceFigures]], list[_Read]]:
    """For each reader the figures of all slices, and what it made of the pictures as they are."""
    plain, _ = read_level(readers, show(None, 0.0, 0), labels)
    figures: list[list[SliceFigures]] = [[] for _ in readers]
    done = n
    for part in SLICES:
        levels: list[list[LevelFigures]] = [[] for _ in readers]
        for amount in part.amounts:
            reads, _ = read_level(readers, show(part, amount, done), labels)
            done += n
            for own, read in zip(levels, reads, strict=True):
                own.append(read.figures(f"{amount:g}"))
        for own, mine, read in zip(levels, figures, plain, strict=True):
            own.insert(part.before, read.figures(AS_IT_IS))
            mine.append(SliceFigures(part.name, part.unit, tuple(own)))
    return figures, plain


def sliced(
    reader: Reader,
    figures: Sequence[SliceFigures],
    *,
    name: str,
    split: str = EVERY_SPLIT,
    pipeline: bool = False,
    pose: Pose = "all",
    sample: int | None = None,
    seed: int = 0,
) -> Sliced:
    """A reader's figures with what they are figures of."""
    return Sliced(
        reader.name, reader.version, name, split, reader.views, pipeline, pose, sample, seed,
        reader.uncertain_below, tuple(figures), gated=reader.gated,
    )  # fmt: skip
