"""How well a model reads faces that are hard to see. May import whatever evaluate may, and it.

`degrade.py` makes a picture worse in nine ways, `examine.py` shows it to models, `light.py` has
faces under a moving light, `sets.py` takes any set, and `result.py` holds and prints what came of
it.
"""

from mien.slices.degrade import SLICES, STANDARD_FACE, FacePlace, Slice
from mien.slices.examine import CropReader, PictureReader, Reader, slice_crops, slice_pictures
from mien.slices.light import slice_lights
from mien.slices.result import (
    AS_IT_IS,
    LevelFigures,
    Sliced,
    SliceFigures,
    describe,
    draw_sliced,
    format_sliced,
    read_sliced,
    require_comparable,
)
from mien.slices.sets import slice_set

__all__ = [
    "AS_IT_IS",
    "SLICES",
    "STANDARD_FACE",
    "CropReader",
    "FacePlace",
    "LevelFigures",
    "PictureReader",
    "Reader",
    "Slice",
    "SliceFigures",
    "Sliced",
    "describe",
    "draw_sliced",
    "format_sliced",
    "read_sliced",
    "require_comparable",
    "slice_crops",
    "slice_lights",
    "slice_pictures",
    "slice_set",
]
