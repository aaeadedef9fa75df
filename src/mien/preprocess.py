"""From an aligned face crop to the network's input: the one copy, for training and inference.

Imports numpy and cv2 only. Whatever is decided here travels in the `ModelSpec`, so a model
always meets the pixels that it was trained on.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from mien.types import Float32Array, UInt8Array

NORMALIZATIONS: Final = ("standardize", "fixed")
ILLUMINATIONS: Final = ("none", "equalize", "clahe", "gamma", "local")
BACKGROUNDS: Final = ("keep", "oval")

#: Contrast (standard deviation, grey levels of 255) below which a crop counts as flat. Without
#: this floor an empty crop's noise would be blown up to full contrast.
_FLAT_CONTRAST: Final = 8.0
_SURROUNDINGS: Final = 0.15  # of `local`: deviation of the blur, in sides of the crop


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
    illumination: str = "none",
    background: str = "keep",
) -> Float32Array:
    """Grey crops `uint8 (N, S, S)` to the network's input `float32 (N, 1, S, S)`.

    Args:
        crops: aligned faces at the network's own size.
        normalization: `standardize` gives every crop mean 0 and deviation 1, so that exposure
            and contrast of the camera do not matter; `fixed` applies `mean` and `std`.
        mean, std: in units of full brightness (0..1); used by `fixed` only.
        illumination: first, even out the light: see `even_light`.
        background: then, `oval` replaces what lies outside a face-shaped oval by the mean of what
            lies inside; `keep` leaves it.

    Raises:
        ValueError: wrong shape, dtype, or an unknown name.
    """
    if crops.ndim != 3 or crops.shape[1] != crops.shape[2] or crops.dtype != np.uint8:
        raise ValueError(f"expected uint8 crops (N, S, S), got {crops.dtype} {crops.shape}")
    for name, value, known in (
        ("normalization", normalization, NORMALIZATIONS),
        ("illumination", illumination, ILLUMINATIONS),
        ("background", background, BACKGROUNDS),
    ):
        if value not in known:
            raise ValueError(f"{name}: expected one of {known}, got {value!r}")
    lit = crops if illumination == "none" else even_light(crops, illumination)
    pixels: npt.NDArray[np.float32] = lit.astype(np.float32)
    if background == "oval":
        inside = _oval(pixels.shape[1])
        middle = (pixels * inside).sum(axis=(1, 2), keepdims=True) / inside.sum()
        pixels = middle + (pixels - middle) * inside
    if normalization == "fixed":
        pixels = (pixels / np.float32(255) - np.float32(mean)) / np.float32(std)
    else:
        centre = pixels.mean(axis=(1, 2), keepdims=True)
        spread = pixels.std(axis=(1, 2), keepdims=True)
        pixels = (pixels - centre) / np.maximum(spread, np.float32(_FLAT_CONTRAST))
    return pixels[:, None]


def even_light(crops: UInt8Array, method: str) -> UInt8Array:
    """Crops `uint8 (N, S, S)` with the light evened out, same shape.

    Args:
        crops: grey pictures.
        method: `equalize`, histogram equalisation; `clahe`, the same in tiles with limited
            contrast (Zuiderveld, Graphics Gems IV, 1994); `gamma`, the tone curve that brings the
            mean to middle grey; `local`, every pixel against the mean and deviation of its
            surroundings.
    """
    if method == "equalize":
        return np.stack([np.asarray(cv2.equalizeHist(crop), np.uint8) for crop in crops])
    if method == "clahe":
        clahe = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(4, 4))
        return np.stack([np.asarray(clahe.apply(crop), np.uint8) for crop in crops])
    unit = crops.astype(np.float32) / np.float32(255)
    if method == "gamma":
        mean = unit.mean(axis=(1, 2), keepdims=True).clip(0.02, 0.98)
        return np.asarray((255 * unit ** (np.log(0.5) / np.log(mean))).round(), np.uint8)
    if method != "local":
        raise ValueError(f"illumination: expected one of {ILLUMINATIONS}, got {method!r}")
    sigma = crops.shape[1] * _SURROUNDINGS
    evened = np.empty_like(crops)
    for i, crop in enumerate(unit):
        around = crop - cv2.GaussianBlur(crop, (0, 0), sigma)
        spread = np.sqrt(cv2.GaussianBlur(around * around, (0, 0), sigma))
        # Two deviations either way fill the range of a byte.
        evened[i] = (127.5 + 64 * around / np.maximum(spread, 0.02)).clip(0, 255).round()
    return evened


@cache
def _oval(size_px: int) -> Float32Array:
    """1 inside an oval as an upright face fills its crop, 0 outside, soft at the edge: `(S, S)`."""
    position = (np.arange(size_px) + 0.5) / size_px
    x, y = position[None, :], position[:, None]
    radius = np.sqrt(((x - 0.5) / 0.42) ** 2 + ((y - 0.52) / 0.5) ** 2)
    return np.asarray(1 / (1 + np.exp((radius - 1) * 30)), np.float32)
