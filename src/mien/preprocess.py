"""From an aligned face crop to the network's input, for training and inference.

On accelerators, `mien.training.data.standardized` repeats the usual way; a test compares the two.
Imports numpy, Pillow and types. Whatever is decided here travels in the `ModelSpec`, so a model
always meets the pixels that it was trained on.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.Image import Resampling

from mien.types import Float32Array, UInt8Array, require_one_of

NORMALIZATIONS: Final = ("standardize", "fixed")
ILLUMINATIONS: Final = ("none", "equalize", "clahe", "gamma", "local")
BACKGROUNDS: Final = ("keep", "oval")

#: Contrast (standard deviation, grey levels of 255) below which a crop counts as flat. Without
#: this floor an empty crop's noise would be blown up to full contrast.
FLAT_CONTRAST: Final = 8.0
#: How far a picture may be shrunk in one bilinear step.
_MAX_SHRINK: Final = 2.0
_FAST_GAP: Final = 1.1  # what a fast shrinking leaves to the weights that fade out
_SURROUNDINGS: Final = 0.15  # of `local`: deviation of the blur, in sides of the crop
_TILES: Final = 4  # of `clahe`: along each side of the crop
_CONTRAST_LIMIT: Final = 2.0  # of `clahe`: a grey level's count, in those of an even histogram


def to_gray(image: UInt8Array) -> UInt8Array:
    """RGB `(H, W, 3)` or grey `(H, W)` to grey `(H, W)`, `uint8`, ITU-R BT.601 luma.

    Raises:
        ValueError: another shape, other numbers, or no pixels.
    """
    if image.dtype != np.uint8:
        raise ValueError(
            f"expected an image of uint8, 0 to 255, got {image.dtype}: scale and round it, such as "
            "(255 * image).round().astype(np.uint8) from 0..1"
        )
    if image.size == 0:
        raise ValueError(f"expected an image with pixels, got {image.shape}")
    if image.ndim == 2:
        return image
    if image.ndim == 3 and image.shape[2] == 3:
        return np.asarray(Image.fromarray(image).convert("L"), np.uint8)
    raise ValueError(f"expected an image of shape (H, W) or (H, W, 3), got {image.shape}")


def resize(image: UInt8Array, width: int, height: int, *, fast: bool = False) -> UInt8Array:
    """A grey or RGB picture at another size, `uint8 (height, width[, 3])`.

    Shrinking averages over areas, so that every pixel counts (with weights that fade out: equal
    ones would make steps where the sizes do not divide); enlarging interpolates. `fast` shrinks by
    a whole number with equal weights first: a little softer, in less than half the time.
    """
    shrinks = min(width / image.shape[1], height / image.shape[0]) < 1
    method = Resampling.HAMMING if shrinks else Resampling.BILINEAR
    gap = _FAST_GAP if fast and shrinks else None
    resized = Image.fromarray(image).resize((width, height), method, reducing_gap=gap)
    return np.asarray(resized, np.uint8)


def resize_crop(crop: UInt8Array, size_px: int) -> UInt8Array:
    """A square copy `uint8 (size_px, size_px)` of a grey crop `(H, W)`; the same if it fits."""
    if crop.shape == (size_px, size_px):
        return crop
    step = np.array(crop.shape[::-1]) / size_px
    return sample(crop, np.column_stack([np.diag(step), (step - 1) / 2]), size_px)


def averaged(crops: UInt8Array, size_px: int) -> Float32Array:
    """Square crops `(N, S, S)` at another size, every pixel the mean of what it covers.

    A tenth of Pillow's time for a few small crops; to a larger size, it repeats pixels.

    Returns:
        `float32 (N, size_px, size_px)`, 0..255, not rounded.
    """
    pixels = crops.astype(np.float32)
    if crops.shape[1] == size_px:
        return pixels
    means = _area_means(crops.shape[1], size_px)
    return np.asarray(means @ pixels @ means.T, np.float32)


@cache
def _area_means(before_px: int, after_px: int) -> Float32Array:
    """The matrix `(after, before)` that resizes a column of pixels."""
    edges = np.arange(after_px + 1) * (before_px / after_px)
    place = np.arange(before_px)
    low, high = np.maximum(edges[:-1, None], place), np.minimum(edges[1:, None], place + 1)
    return np.asarray((high - low).clip(0) * (after_px / before_px), np.float32)


def sample(image: UInt8Array, transform: npt.NDArray[np.float64], size_px: int) -> UInt8Array:
    """A square `uint8 (size_px, size_px)` of a grey picture `(H, W)`, bilinear, its edge repeated.

    Where pixels would be skipped (aliasing), the picture is shrunk by averages first.

    Args:
        image: the picture.
        transform: `(2, 3)`, from the square's pixels to the picture's. Centres of pixels lie at
            whole coordinates.
        size_px: side of the square.
    """
    steps = np.hypot(transform[:, 0], transform[:, 1])  # in x and y: crops need not be square
    if steps.max() > _MAX_SHRINK:
        old = np.array(image.shape[::-1], np.float64)
        shrunk = np.where(steps > _MAX_SHRINK, old / (steps / 1.25), old)
        new = np.maximum(np.round(shrunk), 1).astype(int)
        image = resize(image, int(new[0]), int(new[1]))
        ratio = new / old
        transform = transform * ratio[:, None]
        transform[:, 2] += 0.5 * ratio - 0.5  # pixel centres move when the grid gets coarser
    values = interpolate(image, _grid(size_px) @ transform[:, :2].T + transform[:, 2])
    return np.asarray(values.round().reshape(size_px, size_px), np.uint8)


def surroundings(
    image: UInt8Array, transform: npt.NDArray[np.float64], size_px: int
) -> tuple[UInt8Array, npt.NDArray[np.float64]]:
    """The part of a picture `(H, W[, 3])` that `sample` will need, and the transform into it."""
    reach = _grid(2) * size_px @ transform[:, :2].T + transform[:, 2]
    height, width = image.shape[:2]
    margin = float(np.hypot(*transform[:, 0])) + 1
    low = np.clip(np.floor(reach.min(0) - margin), 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil(reach.max(0) + margin), low + 1, [width, height]).astype(int)
    moved = transform.copy()
    moved[:, 2] -= low
    return np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]]), moved


def cut_rgb(image: UInt8Array, transform: npt.NDArray[np.float64], size_px: int) -> Float32Array:
    """A square `float32 (3, size_px, size_px)`, 0..255, of an RGB picture: see `sample`."""
    patch, moved = surroundings(image, transform, size_px)
    channels = [sample(patch[:, :, c], moved, size_px) for c in range(3)]
    return np.stack(channels).astype(np.float32)


def interpolate(
    grid: npt.NDArray[np.number], points: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Values `(N,)` of a grid `(H, W)` at points (x, y) `(N, 2)`, bilinear, its edge repeated."""
    height, width = grid.shape
    x_at, y_at = points[:, 0].clip(0, width - 1), points[:, 1].clip(0, height - 1)
    x, y = x_at.astype(np.intp), y_at.astype(np.intp)
    share_x, share_y = x_at - x, y_at - y
    # One index instead of two: in half the time.
    values, here = grid.ravel(), y * width + x
    right, down = (x < width - 1).astype(np.intp), (y < height - 1) * width
    near, below = values.take(here), values.take(here + down)
    upper = near + share_x * (values.take(here + right).astype(float) - near)
    lower = below + share_x * (values.take(here + down + right).astype(float) - below)
    return np.asarray(upper + share_y * (lower - upper), np.float64)


@cache
def _grid(size_px: int) -> npt.NDArray[np.float64]:
    """The pixel centres (x, y) of a square picture, row by row: `(S * S, 2)`."""
    rows, columns = np.indices((size_px, size_px))
    return np.stack([columns.ravel(), rows.ravel()], 1).astype(np.float64)


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
    require_one_of("normalization", normalization, NORMALIZATIONS)
    require_one_of("background", background, BACKGROUNDS)
    pixels: npt.NDArray[np.float32] = even_light(crops, illumination).astype(np.float32)
    if background == "oval":
        inside = _oval(pixels.shape[1])
        middle = (pixels * inside).sum(axis=(1, 2), keepdims=True) / inside.sum()
        pixels = middle + (pixels - middle) * inside
    if normalization == "fixed":
        pixels = (pixels / np.float32(255) - np.float32(mean)) / np.float32(std)
    else:
        centre = pixels.mean(axis=(1, 2), keepdims=True)
        spread = pixels.std(axis=(1, 2), keepdims=True)
        pixels = (pixels - centre) / np.maximum(spread, np.float32(FLAT_CONTRAST))
    return pixels[:, None]


def even_light(crops: UInt8Array, method: str) -> UInt8Array:
    """Crops `uint8 (N, S, S)` with the light evened out, same shape.

    Args:
        crops: grey pictures.
        method: `none` leaves them as they are; `equalize`, histogram equalisation; `clahe`, the
            same in tiles with limited contrast (Zuiderveld, Graphics Gems IV, 1994); `gamma`, the
            tone curve that brings the mean to middle grey; `local`, every pixel against the mean
            and deviation of its surroundings.

    Raises:
        ValueError: an unknown method.
    """
    require_one_of("illumination", method, ILLUMINATIONS)
    if method == "none":
        return crops
    if method == "equalize":
        return _equalize(crops)
    if method == "clahe":
        return _equalize_tiles(crops)
    unit = crops.astype(np.float32) / np.float32(255)
    if method == "gamma":
        mean = unit.mean(axis=(1, 2), keepdims=True).clip(0.02, 0.98)
        return np.asarray((255 * unit ** (np.log(0.5) / np.log(mean))).round(), np.uint8)
    sigma = crops.shape[1] * _SURROUNDINGS
    around = unit - gaussian_blur(unit, sigma)
    spread = np.sqrt(gaussian_blur(around * around, sigma))
    # Two deviations either way fill the range of a byte.
    evened = 128 + 64 * around / np.maximum(spread, 0.02)
    return np.asarray(evened.clip(0, 255).round(), np.uint8)


def gaussian_blur(crops: Float32Array, sigma_px: float) -> Float32Array:
    """Square crops `float32 (..., S, S)` blurred by a Gaussian that mirrors them at the edges."""
    smooth = _smoothing(crops.shape[-1], sigma_px)
    return np.asarray(smooth @ crops @ smooth.T, np.float32)


@lru_cache(maxsize=64)
def _smoothing(size_px: int, sigma_px: float) -> Float32Array:
    """The matrix `(S, S)` that blurs a column of pixels."""
    reach = max(1, int(np.ceil(4 * sigma_px)))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    mirrored = np.pad(np.eye(size_px), ((reach, reach), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(mirrored, len(weights), axis=0)
    return np.asarray(windows @ (weights / weights.sum()), np.float32)


def _equalize(crops: UInt8Array) -> UInt8Array:
    """Each crop's grey levels spread so that equally many pixels lie in equal ranges."""
    below = _histograms(crops).cumsum(1)
    darkest = np.take_along_axis(below, (below > 0).argmax(1)[:, None], 1)
    total = below[:, -1:]
    tones = 255 * (below - darkest) / np.maximum(total - darkest, 1)
    tones = np.where(total > darkest, tones, np.arange(256))  # one single grey stays what it is
    return np.asarray(tones[_each(crops), crops].clip(0).round(), np.uint8)


def _equalize_tiles(crops: UInt8Array) -> UInt8Array:
    """Equalised tile by tile, with limited contrast; between tiles, tone curves are blended."""
    n, size_px = crops.shape[:2]
    side = -(-size_px // _TILES)
    rest = side * _TILES - size_px
    padded = np.pad(crops, ((0, 0), (0, rest), (0, rest)), mode="reflect")
    tiles = padded.reshape(n, _TILES, side, _TILES, side).swapaxes(2, 3)
    counts = _histograms(tiles.reshape(-1, side, side)).astype(np.float32)
    clipped = np.minimum(counts, max(1.0, _CONTRAST_LIMIT * side * side / 256))
    # What was cut off is given to all grey levels alike.
    counts = clipped + (side * side - clipped.sum(1, keepdims=True)) / 256
    tones = (counts.cumsum(1) * 255 / (side * side)).reshape(n, _TILES, _TILES, 256)
    position = (np.arange(size_px) + 0.5) / side - 0.5
    before = np.floor(position).astype(int)
    share = position - before
    evened = np.zeros(crops.shape, np.float32)
    for down in (0, 1):
        for right in (0, 1):
            row = (before + down).clip(0, _TILES - 1)[:, None]
            column = (before + right).clip(0, _TILES - 1)[None, :]
            weight = np.outer(share if down else 1 - share, share if right else 1 - share)
            evened += weight * tones[_each(crops), row, column, crops]
    return np.asarray(evened.clip(0, 255).round(), np.uint8)


def _histograms(crops: UInt8Array) -> npt.NDArray[np.int64]:
    """How many pixels of each crop `(N, S, S)` have each grey level: `(N, 256)`."""
    bins = crops + 256 * _each(crops)
    return np.bincount(bins.ravel(), minlength=256 * len(crops)).reshape(-1, 256)


def _each(crops: UInt8Array) -> npt.NDArray[np.int64]:
    """The number of each crop, to index beside its pixels: `(N, 1, 1)`."""
    return np.arange(len(crops))[:, None, None]


@cache
def _oval(size_px: int) -> Float32Array:
    """1 inside an oval as an upright face fills its crop, 0 outside, soft at the edge: `(S, S)`."""
    position = (np.arange(size_px) + 0.5) / size_px
    x, y = position[None, :], position[:, None]
    radius = np.sqrt(((x - 0.5) / 0.42) ** 2 + ((y - 0.52) / 0.5) ** 2)
    return np.asarray(1 / (1 + np.exp((radius - 1) * 30)), np.float32)
