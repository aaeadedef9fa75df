"""Examine an exported model file on labelled pictures. May import whatever the pipeline may.

Two ways in. Face crops (FER2013 and the like) go straight into the classifier, through the
preprocessing that inference uses. Full pictures go through the whole pipeline: detection,
alignment, classification; a picture whose face is not found counts as wrong. `examine.py` shows
faces to models, `learned.py` knows which rows a model has learned from, and `result.py` holds and
prints what came of it.
"""

from mien.evaluate.examine import (
    Answers,
    LabelledFaces,
    answer_crops,
    answer_faces,
    answer_pictures,
    cut_faces,
    of_pose,
    summarize,
    turn_of,
)
from mien.evaluate.learned import held_out, learned_too, rows_of_run, untold, watched_too
from mien.evaluate.result import Evaluation, figure, format_evaluation

__all__ = [
    "Answers",
    "Evaluation",
    "LabelledFaces",
    "answer_crops",
    "answer_faces",
    "answer_pictures",
    "cut_faces",
    "figure",
    "format_evaluation",
    "held_out",
    "learned_too",
    "of_pose",
    "rows_of_run",
    "summarize",
    "turn_of",
    "untold",
    "watched_too",
]
