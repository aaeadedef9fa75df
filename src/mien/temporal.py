"""Expressions over time: `Smoother` makes of a face's answers, frame by frame, one that lasts.

May import numpy, and from mien: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

#: A face that was out of sight for longer starts anew.
_FORGET_S: Final = 0.5
_LEAST: Final = 1e-6


class Smoother:
    """Averages the logarithms of each track's probabilities over the recent past.

    The weight of a frame fades with its age in seconds, not in frames, so that 5 and 60 frames a
    second give the same answer.

    Args:
        time_constant_s: age at which a frame counts a third (1 / e). An expression that sets in at
            once is seen about so much later; 0 leaves the answers as they are.
    """

    def __init__(self, time_constant_s: float) -> None:
        if not time_constant_s >= 0:
            raise ValueError(f"time_constant_s: expected at least 0, got {time_constant_s}")
        self.time_constant_s = time_constant_s
        self._known: dict[int, tuple[float, npt.NDArray[np.float64]]] = {}

    def update(
        self, numbers: Sequence[int], probs: npt.NDArray[np.float64], time_s: float
    ) -> npt.NDArray[np.float64]:
        """Smoothed probabilities `(N, K)`; each row sums to 1.

        Args:
            numbers: the track of each face.
            probs: `(N, K)`, this frame's.
            time_s: when. Not before the last frame's.
        """
        if not self.time_constant_s:
            return probs
        self._known = {n: k for n, k in self._known.items() if time_s - k[0] <= _FORGET_S}
        smoothed = np.empty_like(probs)
        for row, (number, p) in enumerate(zip(numbers, probs, strict=True)):
            logs = np.log(np.maximum(p, _LEAST))
            if number in self._known:
                then_s, before = self._known[number]
                gain = 1 - np.exp(-(time_s - then_s) / self.time_constant_s)
                logs = before + gain * (logs - before)
            self._known[number] = (time_s, logs)
            weights = np.exp(logs - logs.max())
            smoothed[row] = weights / weights.sum()
        return smoothed
