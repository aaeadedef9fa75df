"""Labelled faces from the layouts people have them in. May import numpy, Pillow, pyarrow, and
from mien: adapters, errors, folders, types, preprocess, picture, wording.

`rows.py` says what a row is, `files.py` which files count, `layouts.py` reads every layout into
rows, `crops.py` turns rows into arrays for training, and `pictures.py` into files for the whole
pipeline. `remarks.py` says what to know of a set, and `lights.py` reads faces that nobody labelled,
under a light that moves.
"""

from mien.datasets.crops import (
    FaceCrops,
    crop_frame,
    load_crops,
    load_training,
    subject_folds,
)
from mien.datasets.layouts import read_rows
from mien.datasets.lights import LitFaces, load_lights, shows_lights
from mien.datasets.pictures import (
    LabelledClip,
    LabelledPicture,
    load_clips,
    load_pictures,
)
from mien.datasets.rows import (
    CLASS_ALIASES,
    EVERY_SPLIT,
    FERPLUS_COLUMNS,
    HEAD_VIEWS,
    HELD_OUT,
    NO_SPLIT,
    NOT_A_FACE,
    SPLITS,
    Row,
    learned_split,
    split_name,
)

__all__ = [
    "CLASS_ALIASES",
    "EVERY_SPLIT",
    "FERPLUS_COLUMNS",
    "HEAD_VIEWS",
    "HELD_OUT",
    "NOT_A_FACE",
    "NO_SPLIT",
    "SPLITS",
    "FaceCrops",
    "LabelledClip",
    "LabelledPicture",
    "LitFaces",
    "Row",
    "crop_frame",
    "learned_split",
    "load_clips",
    "load_crops",
    "load_lights",
    "load_pictures",
    "load_training",
    "read_rows",
    "shows_lights",
    "split_name",
    "subject_folds",
]
