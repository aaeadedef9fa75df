"""Whether a video has changed where nobody is known to be, or has been cut. May import numpy, and
from mien: types.

A face can only come in where something changes. While nothing does, there is no need to search.
After a cut, whoever is seen in a face's place is likely to be somebody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.types import Float32Array, UInt8Array

_CELLS: Final = 80  # along the longer side; in 720p a cell has 16 pixels
_COARSE_CELLS: Final = 40  # what a cut is seen by: it is looked for in every frame
_SAMPLES: Final = 4  # of a cell, along each side: their mean is steadier than a camera's pixel
_MEAN: Final = np.full(_SAMPLES, 1 / _SAMPLES**2, np.float32)  # of their sums
_CHANGE: Final = 8.0  # of 255: a difference of a cell's brightness that noise hardly reaches
#: Least correlation of two frames of one scene, a moment apart. Clips in which nothing is cut stay
#: above 0.88 from frame to frame, and of two portraits of one layout hardly any pair reaches it.
_SAME_SCENE: Final = 0.8
_STRUCTURE: Final = 2.0  # of 255: the least spread of brightness that is more than noise
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
        levels, cell_px = _levels(image, _CELLS)
        free = np.ones(levels.shape, np.bool_)
        for left, top, right, bottom in boxes / cell_px:
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


def coarse_levels(image: UInt8Array) -> Float32Array:
    """What a cut is seen by: the brightness of a picture `(H, W, 3)`, `float32 (h, w)`, 0..255."""
    return _levels(image, _COARSE_CELLS)[0]


def is_other_scene(levels: Float32Array, before: Float32Array) -> bool:
    """Whether a video was cut between two frames a moment apart, by their `coarse_levels`.

    Other light or noise makes no other scene. One without structure is another than any with it.
    """
    if levels.shape != before.shape:
        return True
    spread, earlier = float(levels.std()), float(before.std())
    if min(spread, earlier) < _STRUCTURE:
        return max(spread, earlier) >= _STRUCTURE
    shared = float(((levels - levels.mean()) * (before - before.mean())).mean())
    return shared < _SAME_SCENE * spread * earlier


def _levels(image: UInt8Array, cells: int) -> tuple[Float32Array, int]:
    """The mean brightness of each cell, so many along the longer side, and a cell's side."""
    step = max(1, max(image.shape[:2]) // (cells * _SAMPLES))
    green = image[::step, ::step, 1]  # as good as brightness, and a third of the work
    height, width = (max(1, length // _SAMPLES) for length in green.shape)
    samples = green[: height * _SAMPLES, : width * _SAMPLES]
    fitted = np.pad(samples, [(0, -length % _SAMPLES) for length in samples.shape], mode="edge")
    # Rows first: a sum over both axes at once takes five times as long.
    sums = fitted.reshape(height, _SAMPLES, -1).sum(1, dtype=np.uint16)
    return sums.reshape(height, width, _SAMPLES) @ _MEAN, step * _SAMPLES
