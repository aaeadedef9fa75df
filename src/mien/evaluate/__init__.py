"""Examine an exported model file on labelled pictures. May import whatever the pipeline may.

Two ways in. Face crops (FER2013 and the like) go straight into the classifier, through the
preprocessing that inference uses. Full pictures go through the whole pipeline: detection,
alignment, classification; a picture whose face is not found counts as wrong. `examine.py` shows
faces to models, and `result.py` holds and prints what came of it.
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
    "of_pose",
    "summarize",
    "turn_of",
]
