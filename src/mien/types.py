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
class FaceShape:
    """How a face is turned, and how far its parts are open. Left and right are the picture's.

    Lengths are in units of the distance between the eyes' centres, measured in space, so that they
    depend neither on the size of a face nor much on how it is turned.

    Attributes:
        presence: how sure the mesh is that there is a face at all, 0..1.
        yaw_deg: positive where the face looks to the picture's right.
        pitch_deg: positive where it looks up.
        roll_deg: positive where it leans clockwise.
        eye_opening: between the lids, left and right eye.
        brow_height: of the brows above the eyes' centres, left and right.
        mouth_opening: between the lips.
        mouth_width: between the corners.
        mesh: `float32 (468, 3)`, x and y in pixels of the picture, z (away from the camera) in the
            same unit; in the order of MediaPipe's face mesh. None where read from a file.
    """

    presence: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    eye_opening: tuple[float, float]
    brow_height: tuple[float, float]
    mouth_opening: float
    mouth_width: float
    mesh: Float32Array | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without the mesh."""
        return {
            "presence": self.presence,
            "yaw_deg": self.yaw_deg,
            "pitch_deg": self.pitch_deg,
            "roll_deg": self.roll_deg,
            "eye_opening": list(self.eye_opening),
            "brow_height": list(self.brow_height),
            "mouth_opening": self.mouth_opening,
            "mouth_width": self.mouth_width,
        }

    def to_row(self) -> dict[str, float]:
        """The same flat, with the keys of `SHAPE_COLUMNS`."""
        left_eye, right_eye = self.eye_opening
        left_brow, right_brow = self.brow_height
        values = (
            self.presence, self.yaw_deg, self.pitch_deg, self.roll_deg, left_eye, right_eye,
            left_brow, right_brow, self.mouth_opening, self.mouth_width,
        )  # fmt: skip
        return dict(zip(SHAPE_COLUMNS, values, strict=True))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FaceShape:
        """Read back what `to_dict` gave."""
        pairs = {key: tuple(values[key]) for key in ("eye_opening", "brow_height")}
        return cls(**{**values, **pairs})

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> FaceShape:
        """Read back what `to_row` gave, numbers or their text."""
        presence, yaw, pitch, roll, left_eye, right_eye, left_brow, right_brow, opening, width = (
            float(row[column]) for column in SHAPE_COLUMNS
        )
        eyes, brows = (left_eye, right_eye), (left_brow, right_brow)
        return cls(presence, yaw, pitch, roll, eyes, brows, opening, width)


#: The columns of a face's shape in tables, where it was asked for.
SHAPE_COLUMNS: Final = (
    "shape_presence",
    "yaw_deg",
    "pitch_deg",
    "roll_deg",
    "eye_opening_left",
    "eye_opening_right",
    "brow_height_left",
    "brow_height_right",
    "mouth_opening",
    "mouth_width",
)


@dataclass(frozen=True)
class FaceIdentity:
    """Who a face belongs to, as far as is known by then.

    Attributes:
        person: a name out of the gallery, or `person-1`, `person-2`, ... for strangers; None while
            too little was seen of a face in a video.
        similarity: with the nearest of that person's other pictures, 0..1: 1 less the distance of
            the descriptors. None for a stranger who is met for the first time.
        descriptor: `float32 (128,)`, what faces are compared by. Biometric data: never written to
            files; None where read from one.
    """

    person: str | None
    similarity: float | None
    descriptor: Float32Array | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without the descriptor."""
        return {"person": self.person, "similarity": self.similarity}


#: The columns of a face's identity in tables, where it was asked for.
IDENTITY_COLUMNS: Final = ("person", "person_similarity")


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
        shape: how it is turned and how far its parts are open, where that was asked for.
        identity: who it belongs to, where that was asked for.
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
    shape: FaceShape | None = None
    identity: FaceIdentity | None = None
    heat: HeatMap | None = field(default=None, compare=False)

    @property
    def person(self) -> str | None:
        """Whose face it is, where that was asked for and is known."""
        return None if self.identity is None else self.identity.person

    def to_dict(self) -> dict[str, Any]:
        """The face as plain JSON types, in the documented order of keys."""
        values: dict[str, Any] = {
            "track_id": self.track_id,
            "box": list(self.box),
            "score": self.score,
            "landmarks": [list(point) for point in self.landmarks],
            "expression": self.expression,
            "confidence": self.confidence,
            "uncertain": self.uncertain,
            "probs": dict(self.probs),
        }
        if self.shape is not None:
            values["shape"] = self.shape.to_dict()
        if self.identity is not None:
            values["identity"] = self.identity.to_dict()
        return values


def result_columns(
    labels: Sequence[str] = EXPRESSIONS, *, shape: bool = False, identity: bool = False
) -> tuple[str, ...]:
    """Columns of every tabular sink: one row per face, and one for a frame without a face.

    `labels` are the classes of the model that answers; each gets a column `prob_<label>`. With
    `shape`, those of the faces' shape follow, and with `identity`, whose faces they are.
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
        *(SHAPE_COLUMNS if shape else ()),
        *(IDENTITY_COLUMNS if identity else ()),
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

    def to_rows(
        self, labels: Sequence[str] = EXPRESSIONS, *, shape: bool = False, identity: bool = False
    ) -> list[dict[str, Any]]:
        """One flat row per face with the keys of `result_columns`; one row if there is no face.

        `labels` are the classes of the model that answered; `shape` and `identity` say whether the
        faces' shape and whose they are is wanted.
        """
        columns = result_columns(labels, shape=shape, identity=identity)
        head: dict[str, Any] = dict.fromkeys(columns)
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
            if shape and face.shape is not None:
                row |= face.shape.to_row()
            if identity and face.identity is not None:
                values = (face.identity.person, face.identity.similarity)
                row |= dict(zip(IDENTITY_COLUMNS, values, strict=True))
            rows.append(row)
        return rows

    def to_pandas(self) -> pandas.DataFrame:
        """The rows of `to_rows` as a data frame (needs pandas: `pip install pandas`)."""
        import pandas as pd

        labels = tuple(self.faces[0].probs) if self.faces else EXPRESSIONS
        shape = any(face.shape is not None for face in self.faces)
        identity = any(face.identity is not None for face in self.faces)
        columns = list(result_columns(labels, shape=shape, identity=identity))
        rows = self.to_rows(labels, shape=shape, identity=identity)
        return pd.DataFrame(rows, columns=columns)
