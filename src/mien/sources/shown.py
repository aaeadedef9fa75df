"""Decoded pictures as viewers show them. Imports numpy, av, types and picture."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from mien.picture import require_pixels
from mien.types import UInt8Array


class Shown:
    """Decoded pictures of one stream as viewers show them: turned, mirrored, with square pixels.

    Args:
        stream: which.
        name: what messages call it.
        max_pixels: refuse pictures that are larger, which the header may not have announced.
        raised_by: the option by which users raise that limit.
    """

    def __init__(
        self, stream: av.VideoStream, name: str, max_pixels: int, raised_by: str = "--max-pixels"
    ) -> None:
        self.name, self._limit = name, (max_pixels, raised_by)
        self._aspect = stream.sample_aspect_ratio
        self._reformatter = VideoReformatter()  # one for all: its tables take a while to set up

    def rgb(self, picture: av.VideoFrame) -> UInt8Array:
        """One of them: RGB `uint8 (H, W, 3)`. Raises `SourceError` where it is too large."""
        width, height = shown_size(picture.width, picture.height, self._aspect)
        require_pixels(self.name, width, height, *self._limit)
        reformatted = self._reformatter.reformat(picture, width, height, format="rgb24")
        (plane,) = reformatted.planes
        # The array keeps the plane's memory; a copy would cost a quarter of the decoding.
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        image = rows[:, : plane.width * 3].reshape(plane.height, plane.width, 3)
        side_data: Any = picture.side_data  # a mapping, which PyAV's stubs do not know
        matrix = side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return np.ascontiguousarray(image)
        return _displayed(image, np.frombuffer(matrix, np.int32))


def shown_size(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """The size of a picture with square pixels, if its own are `aspect` times as wide as high."""
    if not aspect or aspect == 1:
        return width, height
    if aspect > 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def _displayed(image: UInt8Array, matrix: npt.NDArray[np.int32]) -> UInt8Array:
    """A picture turned by quarters and mirrored as FFmpeg's display matrix `(9,)` says."""
    a, b, _, c, d, *_ = matrix.tolist()  # x' = a x + c y; y' = b x + d y
    if abs(a) + abs(d) < abs(b) + abs(c):
        image, a, d = image.swapaxes(0, 1), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
