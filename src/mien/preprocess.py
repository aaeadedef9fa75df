"""From an aligned face crop to the network's input: the one copy, for training and inference.

Imports numpy and cv2 only. Whatever is decided here travels in the `ModelSpec`, so a model
always meets the pixels that it was trained on.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from mien.types import Float32Array, UInt8Array

NORMALIZATIONS: Final = ("standardize", "fixed")

#: Contrast (standard deviation, grey levels of 255) below which a crop counts as flat. Without
#: this floor an empty crop's noise would be blown up to full contrast.
_FLAT_CONTRAST: Final = 8.0


def to_gray(image: UInt8Array) -> UInt8Array:
    """RGB `(H, W, 3)` or grey `(H, W)` to grey `(H, W)`, `uint8`, ITU-R BT.601 luma."""
    if image.ndim == 2:
        return image
    if image.ndim == 3 and image.shape[2] == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    raise ValueError(f"expected an image of shape (H, W) or (H, W, 3), got {image.shape}")


def resize_crop(crop: UInt8Array, size_px: int) -> UInt8Array:
    """A square grey `uint8 (size_px, size_px)` copy of a crop `(H, W)`; the same if it fits."""
    if crop.shape == (size_px, size_px):
        return crop
    shrinks = min(crop.shape) > size_px
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(crop, (size_px, size_px), interpolation=interpolation), np.uint8)


def network_input(
    crops: UInt8Array,
    *,
    normalization: str = "standardize",
    mean: float = 0.5,
    std: float = 0.25,
) -> Float32Array:
    """Grey crops `uint8 (N, S, S)` to the network's input `float32 (N, 1, S, S)`.

    Args:
        crops: aligned faces at the network's own size.
        normalization: `standardize` gives every crop mean 0 and deviation 1, so that exposure
            and contrast of the camera do not matter; `fixed` applies `mean` and `std`.
        mean, std: in units of full brightness (0..1); used by `fixed` only.

    Raises:
        ValueError: wrong shape, dtype or normalization.
    """
    if crops.ndim != 3 or crops.shape[1] != crops.shape[2] or crops.dtype != np.uint8:
        raise ValueError(f"expected uint8 crops (N, S, S), got {crops.dtype} {crops.shape}")
    pixels: npt.NDArray[np.float32] = crops.astype(np.float32)
    if normalization == "standardize":
        centre = pixels.mean(axis=(1, 2), keepdims=True)
        spread = pixels.std(axis=(1, 2), keepdims=True)
        pixels = (pixels - centre) / np.maximum(spread, np.float32(_FLAT_CONTRAST))
    elif normalization == "fixed":
        pixels = (pixels / np.float32(255) - np.float32(mean)) / np.float32(std)
    else:
        raise ValueError(f"normalization: expected one of {NORMALIZATIONS}, got {normalization!r}")
    return pixels[:, None]
