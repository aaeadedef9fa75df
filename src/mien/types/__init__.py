"""The data that flows through mien: frames in, faces and results out. Imports numpy only.

Inside the pipeline a set of faces is one struct of arrays (`Detections`); at the edge
it becomes small objects (`FaceResult`, `FrameResult`) that print and serialise well.
Shapes are checked when an object is made, so a mistake shows where it happens.
"""

from mien.types.faces import (
    DOUBTFUL,
    EMPTY_CELLS,
    IDENTITY_COLUMNS,
    QUALITY_COLUMNS,
    QUALITY_REASONS,
    SHAPE_COLUMNS,
    FaceIdentity,
    FaceQuality,
    FaceShape,
    HeatMap,
)
from mien.types.frames import (
    EXPRESSIONS,
    FERPLUS_EXPRESSIONS,
    LANDMARK_NAMES,
    PICTURE_SUFFIXES,
    SCHEMA_VERSION,
    VIDEO_SUFFIXES,
    WRITTEN_PICTURES,
    Detections,
    Float32Array,
    Frame,
    Pose,
    UInt8Array,
    Views,
    require_one_of,
)
from mien.types.results import (
    RESULT_COLUMNS,
    TEXT_COLUMNS,
    FaceResult,
    FrameResult,
    result_columns,
    to_pandas,
)

__all__ = [
    "DOUBTFUL",
    "EMPTY_CELLS",
    "EXPRESSIONS",
    "FERPLUS_EXPRESSIONS",
    "IDENTITY_COLUMNS",
    "LANDMARK_NAMES",
    "PICTURE_SUFFIXES",
    "QUALITY_COLUMNS",
    "QUALITY_REASONS",
    "RESULT_COLUMNS",
    "SCHEMA_VERSION",
    "SHAPE_COLUMNS",
    "TEXT_COLUMNS",
    "VIDEO_SUFFIXES",
    "WRITTEN_PICTURES",
    "Detections",
    "FaceIdentity",
    "FaceQuality",
    "FaceResult",
    "FaceShape",
    "Float32Array",
    "Frame",
    "FrameResult",
    "HeatMap",
    "Pose",
    "UInt8Array",
    "Views",
    "require_one_of",
    "result_columns",
    "to_pandas",
]
