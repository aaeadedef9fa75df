"""What goes in: pictures, and the faces found in them. Imports numpy only."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

#: How often a model looks at a face: once; also at its mirror image; at both in nine places.
Views = Literal["single", "flip", "shifts"]

#: Which faces of full pictures count: every one, those seen from the front, or the others.
Pose = Literal["all", "front", "turned"]

SCHEMA_VERSION: Final = "mien/1"

#: Suffixes of the still pictures that mien writes.
WRITTEN_PICTURES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

#: Suffixes of those that it reads.
PICTURE_SUFFIXES: Final = (
    *WRITTEN_PICTURES, ".jfif", ".jpe", ".avif", ".heic", ".heif", ".pgm", ".ppm"
)  # fmt: skip

#: Suffixes that are taken for videos; FFmpeg reads more, if such a file is named itself.
VIDEO_SUFFIXES: Final = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".flv", ".wmv", ".mpg", ".mpeg", ".ts", ".mts",
    ".m2ts", ".3gp", ".ogv", ".mjpeg", ".mjpg", ".gif",
)  # fmt: skip

#: FER2013's classes in FER2013's order. Index i of every probability vector is EXPRESSIONS[i].
EXPRESSIONS: Final[tuple[str, ...]] = (
    "angry",
    "disgust",
    "fear",
    "happy",
    "sad",
    "surprise",
    "neutral",
)

#: FER+'s classes in FER+'s order, by our names (Barsoum et al., ICMI 2016).
FERPLUS_EXPRESSIONS: Final[tuple[str, ...]] = (
    "neutral",
    "happy",
    "surprise",
    "sad",
    "angry",
    "disgust",
    "fear",
    "contempt",
)

LANDMARK_NAMES: Final[tuple[str, ...]] = (
    "left_eye",  # on the left of the picture: the subject's right eye
    "right_eye",
    "nose",
    "left_mouth",
    "right_mouth",
)


def require_shape(name: str, array: npt.NDArray[Any], shape: tuple[int | None, ...]) -> None:
    """Raise `ValueError` unless the array has this shape; None stands for any length."""
    matches = array.ndim == len(shape) and all(
        want is None or got == want for got, want in zip(array.shape, shape, strict=True)
    )
    if not matches:
        expected = "(" + ", ".join("N" if n is None else str(n) for n in shape) + ")"
        raise ValueError(f"{name}: expected shape {expected}, got {array.shape}")


def require_one_of(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise `ValueError` unless the value is one of these."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture on its way through the pipeline.

    Attributes:
        image: RGB `uint8 (H, W, 3)`.
        source: the path or name it came from, as the user gave it.
        index: position in its source, counted from 0; with `Span.start_s`, from there.
        time_s: presentation time in seconds from the container; 0.0 for a still picture.
    """

    image: UInt8Array
    source: str = ""
    index: int = 0
    time_s: float = 0.0

    def __post_init__(self) -> None:
        require_shape("Frame.image", self.image, (None, None, 3))
        if self.image.dtype != np.uint8:
            raise ValueError(f"Frame.image: expected dtype uint8, got {self.image.dtype}")
        if not self.image.size:
            raise ValueError(f"Frame.image: expected at least one pixel, got {self.image.shape}")
        # NumPy's numbers, of which people count frames, are none that JSON knows.
        object.__setattr__(self, "index", operator.index(self.index))
        object.__setattr__(self, "time_s", float(self.time_s))

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.image.shape[0])


@dataclass(frozen=True, eq=False)
class Detections:
    """The faces found in one frame, as a struct of arrays of equal length N.

    Attributes:
        boxes: `float32 (N, 4)`, corners x0, y0, x1, y1 in pixels of the frame.
        scores: `float32 (N,)`, detector confidence in 0..1.
        landmarks: `float32 (N, 5, 2)`, pixels, in the order of `LANDMARK_NAMES`.
    """

    boxes: Float32Array
    scores: Float32Array
    landmarks: Float32Array

    def __post_init__(self) -> None:
        n = len(self.scores)
        require_shape("Detections.scores", self.scores, (None,))
        require_shape("Detections.boxes", self.boxes, (n, 4))
        require_shape("Detections.landmarks", self.landmarks, (n, 5, 2))

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def sides(self) -> Float32Array:
        """The longer side of each box in pixels of the frame, `(N,)`."""
        return np.asarray((self.boxes[:, 2:] - self.boxes[:, :2]).max(1), np.float32)

    def largest(self) -> int:
        """Index of the face whose box is largest. Raises `ValueError` where there is no face."""
        return int((self.boxes[:, 2:] - self.boxes[:, :2]).prod(1).argmax())

    def select(self, which: Sequence[int] | npt.NDArray[Any]) -> Detections:
        """The faces at these indices, or where a mask `(N,)` is true."""
        index = np.asarray(which) if len(which) else np.zeros(0, np.intp)
        return Detections(self.boxes[index], self.scores[index], self.landmarks[index])

    def inside(self, width: int, height: int) -> Detections:
        """The same with boxes that end at the edges of a picture."""
        edges = np.array([width, height, width, height], np.float32)
        return Detections(self.boxes.clip(0, edges), self.scores, self.landmarks)

    @classmethod
    def concatenate(cls, parts: Sequence[Detections]) -> Detections:
        """All faces of all parts, in order."""
        return cls(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.landmarks for part in parts]),
        )

    @classmethod
    def empty(cls) -> Detections:
        """No face at all."""
        return cls(
            np.zeros((0, 4), np.float32),
            np.zeros((0,), np.float32),
            np.zeros((0, 5, 2), np.float32),
        )
