"""What can be said of one face beside its expression: shape, identity, how well it can be read,
which places matter.

Imports numpy and the sibling frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.types.frames import Float32Array

#: What a cell of a table holds where there is nothing: in text, in Parquet, as R writes it.
EMPTY_CELLS: Final = ("", None, "NA")


@dataclass(frozen=True)
class FaceQuality:
    """How well a face can be read, and what is wrong with it. docs/quality.md has the measures.

    Attributes:
        score: 0..1: 1 where every measure is at least as good as in half of ordinary pictures, 0.5
            where one of them is at the threshold of its reason, less beyond it.
        reasons: words of `QUALITY_REASONS` in their order; empty for a face that is good enough.
    """

    score: float
    reasons: tuple[str, ...] = ()

    @property
    def doubtful(self) -> bool:
        """Whether the answer for such a face is `uncertain` whatever its confidence."""
        return not DOUBTFUL.isdisjoint(self.reasons)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"score": self.score, "reasons": list(self.reasons)}

    def to_row(self) -> dict[str, float | str]:
        """The same flat, with the keys of `QUALITY_COLUMNS`."""
        values = (self.score, " ".join(self.reasons))
        return dict(zip(QUALITY_COLUMNS, values, strict=True))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FaceQuality:
        """Read back what `to_dict` gave."""
        return cls(float(values["score"]), tuple(values["reasons"]))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> FaceQuality:
        """Read back what `to_row` gave, numbers or their text."""
        score, reasons = (row[column] for column in QUALITY_COLUMNS)
        return cls(float(score), () if reasons in EMPTY_CELLS else tuple(reasons.split()))


#: What can be wrong with a face, in the order in which it is said.
QUALITY_REASONS: Final = ("small", "blurred", "turned", "badly-lit", "covered", "unsure-detection")

#: Where an answer is not to be trusted even above the model's own threshold: measured.
DOUBTFUL: Final = frozenset({"badly-lit", "covered"})

#: The columns of a face's quality in tables. Reasons lie between spaces.
QUALITY_COLUMNS: Final = ("quality", "quality_reasons")


@dataclass(frozen=True, eq=False)
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
        """Read back what `to_dict` gave; keys that somebody has added are passed over."""
        left_eye, right_eye = map(float, values["eye_opening"])
        left_brow, right_brow = map(float, values["brow_height"])
        return cls(
            presence=float(values["presence"]),
            yaw_deg=float(values["yaw_deg"]),
            pitch_deg=float(values["pitch_deg"]),
            roll_deg=float(values["roll_deg"]),
            eye_opening=(left_eye, right_eye),
            brow_height=(left_brow, right_brow),
            mouth_opening=float(values["mouth_opening"]),
            mouth_width=float(values["mouth_width"]),
        )

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

    def to_row(self) -> dict[str, str | float | None]:
        """The same flat, with the keys of `IDENTITY_COLUMNS`."""
        return dict(zip(IDENTITY_COLUMNS, (self.person, self.similarity), strict=True))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FaceIdentity:
        """Read back what `to_dict` gave; keys that somebody has added are passed over.

        Raises:
            ValueError: the person's name is no text.
        """
        person, similarity = values["person"], values["similarity"]
        if not isinstance(person, str | None):
            raise ValueError(f"expected a person's name, found {person}")
        return cls(person, None if similarity is None else float(similarity))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> FaceIdentity:
        """Read back what `to_row` gave, or its text."""
        person, similarity = (row[column] for column in IDENTITY_COLUMNS)
        if similarity in EMPTY_CELLS:
            return cls(None if person in EMPTY_CELLS else person, None)
        return cls(person or None, float(similarity))  # who may be called NA


#: The columns of a face's identity in tables, where it was asked for.
IDENTITY_COLUMNS: Final = ("person", "person_similarity")
