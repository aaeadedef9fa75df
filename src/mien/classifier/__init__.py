"""What a face shows: `ExpressionClassifier` turns crops into calibrated probabilities.

`model.py` has the classifier, `looks.py` the ways in which it looks at a crop, and `predictions.py`
what it says.
"""

from mien.classifier.model import ExpressionClassifier
from mien.classifier.predictions import Predictions, are_uncertain, mean_vote

__all__ = ["ExpressionClassifier", "Predictions", "are_uncertain", "mean_vote"]
