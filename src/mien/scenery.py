"""Whether a video has changed where nobody is known to be. May import numpy, and from mien: types.

A face can only come in where something changes. While nothing does, there is no need to search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.types import Float32Array, UInt8Array

_CELLS: Final = 80  # along the longer side; in 720p a cell has 16 pixels
_SAMPLES: Final = 4  # of a cell, along each side: their mean is steadier than a camera's pixel
_MEAN: Final = np.full(_SAMPLES, 1 / _SAMPLES**2, np.float32)  # of their sums
_CHANGE: Final = 8.0  # of 255: a difference of a cell's brightness that noise hardly reaches
_AROUND: Final = 1.6  # what moves with a face: hair and chin, in longer sides of its box


@dataclass(frozen=True)
class Scenery:
    """The brightness of one frame, coarsely.

    Attributes:
        levels: the mean brightness of each cell, `float32 (h, w)`, 0..255.
        free: cells in which nobody is known to be, `bool (h, w)`.
    """

    levels: Float32Array
    free: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, image: UInt8Array, boxes: Float32Array) -> Scenery:
        """Of a picture `(H, W, 3)` with known faces `(N, 4)`, xyxy."""
        step = max(1, max(image.shape[:2]) // (_CELLS * _SAMPLES))
        green = image[::step, ::step, 1]  # as good as brightness, and a third of the work
        height, width = (max(1, length // _SAMPLES) for length in green.shape)
        samples = green[: height * _SAMPLES, : width * _SAMPLES]
        fitted = np.pad(
            samples,
            [(0, -length % _SAMPLES) for length in samples.shape],
            mode="edge",
        )
        # Rows first: a sum over both axes at once takes five times as long.
        sums = fitted.reshape(height, _SAMPLES, -1).sum(1, dtype=np.uint16)
        levels = sums.reshape(height, width, _SAMPLES) @ _MEAN
        free = np.ones((height, width), np.bool_)
        for left, top, right, bottom in boxes / (step * _SAMPLES):
            reach = _AROUND / 2 * max(right - left, bottom - top)
            x, y = (left + right) / 2, (top + bottom) / 2
            rows = slice(max(0, int(y - reach)), max(0, int(np.ceil(y + reach))))
            columns = slice(max(0, int(x - reach)), max(0, int(np.ceil(x + reach))))
            free[rows, columns] = False
        return cls(levels, free)

    def differs(self, earlier: Scenery) -> bool:
        """Whether a cell that is free in both has become brighter or darker."""
        if self.levels.shape != earlier.levels.shape:
            return True
        changes = np.abs(self.levels - earlier.levels)[self.free & earlier.free]
        return bool((changes > _CHANGE).any())
