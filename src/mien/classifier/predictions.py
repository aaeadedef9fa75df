"""What a classifier says, and which of it is uncertain. Imports numpy and types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.types import Float32Array


def are_uncertain(
    probs: npt.NDArray[np.float64],
    below: float,
    doubtful: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.bool_]:
    """Which of N answers are `uncertain`: `(N,)`. The one place where that is decided.

    Args:
        probs: `(N, K)`.
        below: the confidence from which on they are not, 0..1.
        doubtful: `(N,)`, which of the faces cannot be read (`FaceQuality.doubtful`); None where
            nobody has looked.
    """
    unsure = np.asarray(probs.max(1, initial=0) < below)
    return unsure if doubtful is None else unsure | doubtful


@dataclass(frozen=True, eq=False)
class Predictions:
    """The answers for N crops in K classes, as arrays.

    Attributes:
        probs: calibrated probabilities `float64 (N, K)`; each row sums to 1.
        logits: the network's raw answers `float32 (N, K)`.
        embeddings: `float32 (N, D)`, the features behind the answer.
        uncertain: `bool (N,)`, True where the confidence is below the model's threshold; the
            quality of the faces has no say in it here (`are_uncertain`).
        labels: the classes, in the order of the columns.
        attention: `float32 (N, h, w)` in 0..1, where the network looked, from the top left to the
            bottom right of the crop; None for networks that look everywhere.
    """

    probs: npt.NDArray[np.float64]
    logits: Float32Array
    embeddings: Float32Array
    uncertain: npt.NDArray[np.bool_]
    labels: tuple[str, ...]
    attention: Float32Array | None = None

    def __len__(self) -> int:
        return len(self.probs)

    @property
    def expressions(self) -> list[str]:
        """The most probable class of each crop."""
        return [self.labels[i] for i in self.probs.argmax(1)]


def mean_vote(probs: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """What several say together of the same crops: the mean of their log-probabilities `(N, K)`."""
    return np.asarray(np.mean(np.log(probs), axis=0))
