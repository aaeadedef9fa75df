"""What comes out: a frame's faces and what they show. Imports the siblings frames and faces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mien.types.faces import (
    IDENTITY_COLUMNS,
    QUALITY_COLUMNS,
    SHAPE_COLUMNS,
    FaceIdentity,
    FaceQuality,
    FaceShape,
    HeatMap,
)
from mien.types.frames import EXPRESSIONS, LANDMARK_NAMES, SCHEMA_VERSION

if TYPE_CHECKING:  # pandas is an optional convenience, never imported by the runtime
    import pandas


@dataclass(frozen=True)
class FaceResult:
    """One face in one frame and what it shows.

    Attributes:
        box: x, y, width, height in pixels of the original picture.
        score: detector confidence, 0..1.
        landmarks: five (x, y) points in the order of `LANDMARK_NAMES`.
        expression: the most probable class.
        confidence: its probability, 0..1; calibrated for pictures, not over time.
        uncertain: True when the evidence is too thin to act on (see the model card).
        probs: probability per class, likewise, in the order of the model's classes; sums to 1.
        track_id: the same number for the same face over time; None for still pictures.
        quality: how well it can be read, and why not better; None where nobody has rated it.
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
    quality: FaceQuality | None = None
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
        if self.quality is not None:
            values["quality"] = self.quality.to_dict()
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
    `shape`, those of the faces' shape follow, and with `identity`, whose faces they are. How well a
    face can be read and which model answered stand last.
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
        *QUALITY_COLUMNS,
        "model",
    )


#: Columns of text; `uncertain` holds truths, and all others hold numbers.
TEXT_COLUMNS: Final = ("schema", "source", "expression", "person", "quality_reasons", "model")

#: The columns with the seven expressions of FER2013.
RESULT_COLUMNS: Final[tuple[str, ...]] = result_columns()


@dataclass(frozen=True)
class FrameResult:
    """Everything found in one frame.

    Attributes:
        source, frame, time_s: which frame, counted from 0, and when, in seconds.
        width, height: of it, in pixels.
        faces: empty when nobody is in the picture.
        model: who answered: `name@` and the first digits of its file's SHA-256, with ` + ` between
            an expression model and the temporal model that went on from it; None where nobody says.
    """

    source: str
    frame: int
    time_s: float
    width: int
    height: int
    faces: Sequence[FaceResult] = field(default_factory=tuple)
    model: str | None = None

    def follows(self, before: FrameResult | None) -> bool:
        """Whether it goes on from a frame of its recording; a source that is given twice is two."""
        if before is None or self.source != before.source:
            return False
        return self.time_s > before.time_s or self.frame > 0

    def to_dict(self) -> dict[str, Any]:
        """The object that is written to JSON, `schema` first."""
        return {
            "schema": SCHEMA_VERSION,
            "source": self.source,
            "frame": self.frame,
            "time_s": self.time_s,
            "width": self.width,
            "height": self.height,
            **({} if self.model is None else {"model": self.model}),
            "faces": [face.to_dict() for face in self.faces],
        }

    def to_rows(
        self, labels: Sequence[str] = EXPRESSIONS, *, shape: bool = False, identity: bool = False
    ) -> list[dict[str, Any]]:
        """One flat row per face with the keys of `result_columns`; one row if there is no face.

        `labels` are the classes of the model that answered; `shape` and `identity` say whether the
        faces' shape and whose they are is wanted.

        Raises:
            ValueError: `labels` are not the classes of these answers.
        """
        columns = result_columns(labels, shape=shape, identity=identity)
        head: dict[str, Any] = dict.fromkeys(columns)
        head |= {key: value for key, value in self.to_dict().items() if key != "faces"}
        if not self.faces:
            return [head]
        rows = []
        for index, face in enumerate(self.faces):
            if set(labels) != set(face.probs):
                raise ValueError(
                    f"labels: expected the classes that were answered, {', '.join(face.probs)} "
                    f"(analyzer.classifier.spec.labels), got {', '.join(labels)}"
                )
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
                row |= face.identity.to_row()
            if face.quality is not None:
                row |= face.quality.to_row()
            rows.append(row)
        return rows

    def to_pandas(self) -> pandas.DataFrame:
        """The rows of `to_rows` as a data frame (needs pandas: `pip install pandas`)."""
        return to_pandas([self])


def to_pandas(results: Iterable[FrameResult]) -> pandas.DataFrame:
    """Many results as one data frame: the rows and columns of a table that a sink writes.

    Columns of the faces' shape and of whose they are stand in it where a face has such a thing.
    `face` and `track_id` are of pandas' type `Int64` and `uncertain` of `boolean`, which may be
    missing: `table[~table["uncertain"]]` are the sure answers, without frames that have no face.
    Needs pandas (`pip install pandas`), and holds all rows in memory.

    Args:
        results: frames of one or many sources, read by one model.

    Raises:
        ValueError: they have different classes.
    """
    import pandas as pd

    results = list(results)
    faces = [face for result in results for face in result.faces]
    labels = tuple(faces[0].probs) if faces else EXPRESSIONS
    other = next((tuple(face.probs) for face in faces if face.probs.keys() != set(labels)), None)
    if other:
        raise ValueError(
            f"results with the classes {', '.join(labels)}, and with {', '.join(other)}. Expected "
            "one model's: make a data frame of each"
        )
    shape = any(face.shape is not None for face in faces)
    identity = any(face.identity is not None for face in faces)
    columns = list(result_columns(labels, shape=shape, identity=identity))
    rows = [
        row for result in results for row in result.to_rows(labels, shape=shape, identity=identity)
    ]
    # Empty on the row of a frame without a face: pandas' own numbers and truths have no such value.
    kinds = {"face": "Int64", "track_id": "Int64", "uncertain": "boolean"}
    return pd.DataFrame(rows, columns=columns).astype(kinds)
