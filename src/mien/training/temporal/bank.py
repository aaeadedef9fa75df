"""What a classifier says about faces on their way from rest to an expression. Imports numpy,
Pillow, datasets, picture, detection, alignment, classifier.

There are few labelled videos and many labelled pictures. Where a person has been photographed at
rest and with an expression, the two are cross-faded by degrees; the lower halves alone make a mouth
that speaks. What a classifier says about all those crops, cut a little differently each time, is
kept in a `FaceBank`, from which `sequences.py` composes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from mien.alignment import FRONT_NOSE_OFFSET, align_faces, nose_offset
from mien.classifier import ExpressionClassifier
from mien.datasets import FaceCrops, LabelledPicture
from mien.detection import FaceDetector
from mien.errors import DatasetError, SourceError
from mien.picture import read_picture
from mien.types import Detections, Float32Array, Frame, UInt8Array

#: How far from rest to the full expression the cross-fades lie.
DEGREES: Final = (1 / 3, 2 / 3, 1.0)
#: Ways to cut each crop: a detector's boxes tremble by some per cent.
CUTS: Final = 3
_TREMBLE: Final = 0.025  # standard deviation of place and size, in sides of the box
#: How the light and the camera may be: each take is drawn anew for the same pictures.
_TAKES: Final = 2
_SMALL_PX: Final = (16, 64)  # sides to which a take may be shrunk
_QUALITY: Final = (25, 95)  # of its JPEG
#: How far a speaking mouth goes towards those of the expressions.
_SPOKEN: Final = (0.5, 1.0)


@dataclass(frozen=True)
class Take:
    """Where the crops of one person in one pose and one light stand in the bank.

    Attributes:
        group: the person, or one of a person's sessions.
        rest: rows `(cuts,)` at rest; empty if there is no picture of that.
        shown: for each expression's label, rows `(degrees, cuts)`; without a picture at rest there
            is one degree.
        spoken: rows `(mouths, cuts)` of a face at rest that speaks.
        wild: that the pictures come from anywhere and their labels are not to be trusted.
    """

    group: str
    rest: npt.NDArray[np.intp]
    shown: dict[int, npt.NDArray[np.intp]]
    spoken: npt.NDArray[np.intp]
    wild: bool = False


@dataclass
class FaceBank:
    """What a classifier says about many crops.

    Attributes:
        takes: which rows belong together.
        log_probs: `float32 (M, K)`.
        embeddings: `float32 (M, D)`.
    """

    takes: list[Take]
    log_probs: Float32Array
    embeddings: Float32Array

    def split(self, groups: set[str]) -> tuple[FaceBank, FaceBank]:
        """The takes of these groups, and the others."""
        parts: tuple[list[Take], list[Take]] = ([], [])
        for take in self.takes:
            parts[take.group not in groups].append(take)
        mine, others = (FaceBank(part, self.log_probs, self.embeddings) for part in parts)
        return mine, others


class BankBuilder:
    """Collects crops, and asks the classifier about all of them.

    Args:
        classifier: whose answers the bank holds.
        seed: of how crops are cut and taken.
    """

    def __init__(self, classifier: ExpressionClassifier, seed: int = 0) -> None:
        self._classifier = classifier
        self._random = np.random.default_rng(seed)
        self._takes: list[Take] = []
        self._crops: list[UInt8Array] = []
        self._logs: list[Float32Array] = []
        self._embeddings: list[Float32Array] = []
        self._count = 0

    def add_pictures(
        self,
        pictures: Sequence[LabelledPicture],
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Add full pictures: those of one group in one pose become its takes.

        A second picture of one expression is another sitting's, and so has takes of its own.

        Raises:
            DatasetError: a picture does not say whom it shows.
        """
        require_groups(pictures)
        detector = FaceDetector()
        people: dict[tuple[str, int], list[dict[int, _Face]]] = {}
        for number, picture in enumerate(pictures):
            face = _find(detector, picture)
            if face is not None:
                turned = int(np.sign(face.turn)) * int(abs(face.turn) > FRONT_NOSE_OFFSET)
                sittings = people.setdefault((picture.group, turned), [])
                free = next((s for s in sittings if picture.label not in s), None)
                if free is None:
                    sittings.append(free := {})
                free[picture.label] = face
            progress(number + 1, len(pictures))
        for (group, _), sittings in people.items():
            for faces in sittings:
                for _ in range(_TAKES):
                    self._add_take(group, faces)

    def add_crops(self, crops: FaceCrops, most: int) -> None:
        """Add at most so many of these face crops from anywhere, one take each."""
        chosen = self._random.permutation(len(crops))[:most]
        side = crops.images.shape[1]
        whole = Detections(
            np.array([[0, 0, side, side]], np.float32),
            np.ones(1, np.float32),
            np.zeros((1, 5, 2), np.float32),
        )
        for image, label in zip(crops.images[chosen], crops.labels[chosen], strict=True):
            face = _Face(np.repeat(image[:, :, None], 3, axis=2), whole, 0.0)
            rows = self._keep([self._cut(face, t, as_is=True) for t in self._trembles()])
            nothing = np.zeros(0, np.intp)
            self._takes.append(
                Take("", nothing, {int(label): rows[None]}, nothing[None], wild=True)
            )

    def build(self) -> FaceBank:
        """The bank of everything that was added.

        Raises:
            DatasetError: nothing was.
        """
        if not self._takes:
            raise DatasetError(
                "no face to learn from: none was found in the pictures, or all people are left "
                "out. Give full pictures of people who are not held out"
            )
        self._ask()
        return FaceBank(self._takes, np.concatenate(self._logs), np.concatenate(self._embeddings))

    def _add_take(self, group: str, faces: dict[int, _Face]) -> None:
        labels = self._classifier.spec.labels
        neutral = labels.index("neutral")
        camera = _Camera.draw(self._random)
        trembles = self._trembles()
        crops = {
            label: [camera.picture(self._cut(face, tremble)) for tremble in trembles]
            for label, face in faces.items()
        }
        rest = crops.pop(neutral, [])
        shown, spoken = {}, []
        for label, full in crops.items():
            degrees = [
                self._keep([_mixed(a, b, degree) for a, b in zip(rest, full, strict=True)])
                for degree in (DEGREES if rest else ())
            ]
            shown[label] = np.stack(degrees or [self._keep(full)])
            for degree in _SPOKEN if rest else ():
                mouths = [_speaking(a, b, degree) for a, b in zip(rest, full, strict=True)]
                spoken.append(self._keep(mouths))
        nothing = np.zeros((0, len(trembles)), np.intp)
        rows = self._keep(rest) if rest else np.zeros(0, np.intp)
        self._takes.append(Take(group, rows, shown, np.stack(spoken) if spoken else nothing))

    def _trembles(self) -> npt.NDArray[np.float64]:
        """How each cut lies beside the detector's box: shift x, y and growth, in its sides."""
        return self._random.normal(0, _TREMBLE, (CUTS, 3))

    def _cut(
        self, face: _Face, tremble: npt.NDArray[np.float64], *, as_is: bool = False
    ) -> UInt8Array:
        spec = self._classifier.spec
        (x0, y0, x1, y1) = face.found.boxes[0].astype(np.float64)
        side = max(x1 - x0, y1 - y0)
        middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + side * tremble[:2]
        half = np.array([x1 - x0, y1 - y0]) / 2 * np.exp(tremble[2])
        box = np.concatenate([middle - half, middle + half])[None].astype(np.float32)
        moved = Detections(box, face.found.scores, face.found.landmarks)
        (crop,) = align_faces(
            face.image,
            moved,
            scale=1.0 if as_is else spec.crop_scale,
            upright=spec.crop_upright and not as_is,
            size_px=spec.input_px,
        )
        return np.asarray(crop)

    def _keep(self, crops: Sequence[UInt8Array]) -> npt.NDArray[np.intp]:
        """Rows that these crops will have."""
        self._crops += crops
        self._count += len(crops)
        if len(self._crops) >= 2048:
            self._ask()
        return np.arange(self._count - len(crops), self._count)

    def _ask(self) -> None:
        if not self._crops:
            return
        said = self._classifier.predict(self._crops)
        self._logs.append(np.log(np.maximum(said.probs, 1e-6)).astype(np.float32))
        self._embeddings.append(said.embeddings)
        self._crops = []


def require_groups(pictures: Sequence[LabelledPicture]) -> None:
    """Refuse pictures that do not say whom they show.

    Raises:
        DatasetError: there is one.
    """
    unknown = next((picture.path for picture in pictures if not picture.group), None)
    if unknown:
        raise DatasetError(
            f"{unknown}: does not say whom it shows, so nobody can be held out. Name files "
            "<person>_<number>, both digits, or give a set that names people: docs/training.md"
        )


@dataclass(frozen=True)
class _Face:
    """One face in one picture; `turn` is its nose's offset."""

    image: UInt8Array
    found: Detections
    turn: float


def _find(detector: FaceDetector, picture: LabelledPicture) -> _Face | None:
    try:
        image = read_picture(picture.path, str(picture.path))
    except SourceError:
        return None
    faces = detector.find(Frame(image))
    if not len(faces):
        return None
    best = faces.select([faces.largest()])
    return _Face(image, best, float(nose_offset(best.landmarks)[0]))


@dataclass(frozen=True)
class _Camera:
    """One take's resolution, compression, exposure, and whether it is a mirror image."""

    small_px: int
    quality: int
    gamma: float
    mirrored: bool

    @classmethod
    def draw(cls, random: np.random.Generator) -> _Camera:
        return cls(
            int(np.exp(random.uniform(*np.log(_SMALL_PX)))),
            int(random.integers(*_QUALITY)),
            float(np.exp(random.normal(0, 0.25))),
            bool(random.random() < 0.5),
        )

    def picture(self, crop: UInt8Array) -> UInt8Array:
        """The crop as this camera would have it."""
        if self.mirrored:
            crop = np.ascontiguousarray(crop[:, ::-1])
        size = crop.shape[0]
        image = Image.fromarray(crop)
        if self.small_px < size:
            small = image.resize((self.small_px, self.small_px), Image.Resampling.BOX)
            image = small.resize((size, size), Image.Resampling.BILINEAR)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=self.quality)
        pixels = np.asarray(Image.open(file), np.float64) / 255
        return np.asarray(np.rint(255 * pixels**self.gamma), np.uint8)


def _mixed(a: UInt8Array, b: UInt8Array, degree: float) -> UInt8Array:
    return np.asarray(np.rint(a + degree * (b.astype(np.float64) - a)), np.uint8)


def _speaking(rest: UInt8Array, full: UInt8Array, degree: float) -> UInt8Array:
    """A face at rest with the mouth of an expression, by a degree."""
    rows = np.linspace(0, 1, len(rest))[:, None]
    share = np.clip((rows - 0.55) / 0.15, 0, 1) * degree
    return np.asarray(np.rint(rest + share * (full.astype(np.float64) - rest)), np.uint8)
