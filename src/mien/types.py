"""The data that flows through mien: frames in, faces and results out. Imports numpy only.

Inside the pipeline a set of faces is one struct of arrays (`Detections`); at the edge
it becomes small objects (`FaceResult`, `FrameResult`) that print and serialise well.
Shapes are checked when an object is made, so a mistake shows where it happens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # pandas is an optional convenience, never imported by the runtime
    import pandas

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

SCHEMA_VERSION: Final = "mien/1"

#: Suffixes of the still pictures that mien reads and writes.
PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

#: Suffixes that are taken for videos; FFmpeg reads more, if such a file is named itself.
VIDEO_SUFFIXES: Final = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".flv", ".wmv", ".mpg", ".mpeg", ".ts", ".gif"
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

LANDMARK_NAMES: Final[tuple[str, ...]] = (
    "left_eye",  # on the left of the picture: the subject's right eye
    "right_eye",
    "nose",
    "left_mouth",
    "right_mouth",
)


def _require_shape(name: str, array: npt.NDArray[Any], shape: tuple[int | None, ...]) -> None:
    matches = array.ndim == len(shape) and all(
        want is None or got == want for got, want in zip(array.shape, shape, strict=True)
    )
    if not matches:
        expected = "(" + ", ".join("N" if n is None else str(n) for n in shape) + ")"
        raise ValueError(f"{name}: expected shape {expected}, got {array.shape}")


@dataclass(frozen=True)
class Frame:
    """One picture on its way through the pipeline.

    Attributes:
        image: RGB `uint8 (H, W, 3)`.
        source: the path or name it came from, as the user gave it.
        index: position in its source, counted from 0.
        time_s: presentation time in seconds from the container; 0.0 for a still picture.
    """

    image: UInt8Array
    source: str = ""
    index: int = 0
    time_s: float = 0.0

    def __post_init__(self) -> None:
        _require_shape("Frame.image", self.image, (None, None, 3))
        if self.image.dtype != np.uint8:
            raise ValueError(f"Frame.image: expected dtype uint8, got {self.image.dtype}")

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.image.shape[0])


@dataclass(frozen=True)
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
        _require_shape("Detections.scores", self.scores, (None,))
        _require_shape("Detections.boxes", self.boxes, (n, 4))
        _require_shape("Detections.landmarks", self.landmarks, (n, 5, 2))

    def __len__(self) -> int:
        return len(self.scores)

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


@dataclass(frozen=True)
class HeatMap:
    """Which places of a face matter, on a grid over its crop.

    Attributes:
        values: `float32 (h, w)`. Attention: 0..1, where the network looked. Evidence: how much
            probability the answer loses when that place is covered; negative where it gains.
        to_frame: `(2, 3)`, from the grid (centres of its cells at whole coordinates) to pixels of
            the picture.
    """

    values: Float32Array
    to_frame: npt.NDArray[np.float64]


@dataclass(frozen=True)
class FaceResult:
    """One face in one frame and what it shows.

    Attributes:
        box: x, y, width, height in pixels of the original picture.
        score: detector confidence, 0..1.
        landmarks: five (x, y) points in the order of `LANDMARK_NAMES`.
        expression: the most probable class.
        confidence: its calibrated probability, 0..1.
        uncertain: True when the evidence is too thin to act on (see the model card).
        probs: calibrated probability per class, in `EXPRESSIONS` order; sums to 1.
        track_id: the same number for the same face over time; None for still pictures.
        heat: which places of the face matter, where that was asked for. Not written to files.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: tuple[tuple[float, float], ...]
    expression: str
    confidence: float
    uncertain: bool
    probs: Mapping[str, float]
    track_id: int | None = None
    heat: HeatMap | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The face as plain JSON types, in the documented order of keys."""
        return {
            "track_id": self.track_id,
            "box": list(self.box),
            "score": self.score,
            "landmarks": [list(point) for point in self.landmarks],
            "expression": self.expression,
            "confidence": self.confidence,
            "uncertain": self.uncertain,
            "probs": dict(self.probs),
        }


def result_columns(labels: Sequence[str] = EXPRESSIONS) -> tuple[str, ...]:
    """Columns of every tabular sink: one row per face, and one for a frame without a face.

    `labels` are the classes of the model that answers; each gets a column `prob_<label>`.
    """
    return (
        "schema",
        "source",
        "frame",
        "time_s",
        "width",
        "height",
        "face",  # index within its frame; empty on the row of a frame without a face
        "track_id",
        "box_x",
        "box_y",
        "box_w",
        "box_h",
        "score",
        *(f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy"),
        "expression",
        "confidence",
        "uncertain",
        *(f"prob_{name}" for name in labels),
    )


#: The columns with the seven expressions of FER2013.
RESULT_COLUMNS: Final[tuple[str, ...]] = result_columns()


@dataclass(frozen=True)
class FrameResult:
    """Everything found in one frame. `faces` is empty when nobody is in the picture."""

    source: str
    frame: int
    time_s: float
    width: int
    height: int
    faces: Sequence[FaceResult] = field(default_factory=tuple)

    def to_dict(self) -> dict[str, Any]:
        """The object that is written to JSON, `schema` first."""
        return {
            "schema": SCHEMA_VERSION,
            "source": self.source,
            "frame": self.frame,
            "time_s": self.time_s,
            "width": self.width,
            "height": self.height,
            "faces": [face.to_dict() for face in self.faces],
        }

    def to_rows(self, labels: Sequence[str] = EXPRESSIONS) -> list[dict[str, Any]]:
        """One flat row per face with the keys of `result_columns`; one row if there is no face.

        `labels` are the classes of the model that answered.
        """
        head: dict[str, Any] = dict.fromkeys(result_columns(labels))
        head |= {key: value for key, value in self.to_dict().items() if key != "faces"}
        if not self.faces:
            return [head]
        rows = []
        for index, face in enumerate(self.faces):
            row = head | {"face": index, "track_id": face.track_id, "score": face.score}
            row |= dict(zip(("box_x", "box_y", "box_w", "box_h"), face.box, strict=True))
            for name, (x, y) in zip(LANDMARK_NAMES, face.landmarks, strict=True):
                row |= {f"{name}_x": x, f"{name}_y": y}
            row |= {
                "expression": face.expression,
                "confidence": face.confidence,
                "uncertain": face.uncertain,
            }
            row |= {f"prob_{name}": face.probs[name] for name in labels}
            rows.append(row)
        return rows

    def to_pandas(self) -> pandas.DataFrame:
        """The rows of `to_rows` as a data frame (needs pandas: `pip install pandas`)."""
        import pandas as pd

        labels = tuple(self.faces[0].probs) if self.faces else EXPRESSIONS
        return pd.DataFrame(self.to_rows(labels), columns=list(result_columns(labels)))
