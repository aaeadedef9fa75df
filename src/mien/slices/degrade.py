"""Pictures made worse, by known amounts. Imports numpy, Pillow, and from mien: alignment, types,
preprocess.

Amounts are in units of the face, not of the picture, so that they mean the same in a crop and in a
photograph. A picture keeps its size, and its face its place.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from mien.alignment import roll_rad
from mien.preprocess import resize, to_gray
from mien.types import Float32Array, UInt8Array


@dataclass(frozen=True)
class FacePlace:
    """Where the face of a picture is.

    Attributes:
        box: `float32 (4,)`, xyxy in pixels, as the detector gives it.
        points: `float32 (5, 2)`: left eye, right eye (the picture's), nose, corners of the mouth.
    """

    box: Float32Array
    points: Float32Array

    @property
    def side(self) -> float:
        """The box's longer side, pixels."""
        return max(float((self.box[2:] - self.box[:2]).max()), 1.0)

    @property
    def centre(self) -> npt.NDArray[np.float64]:
        """Of the box, (x, y)."""
        return np.asarray((self.box[:2] + self.box[2:]) / 2, np.float64)

    def scaled(self, factor: float) -> FacePlace:
        """The same place in a picture `factor` times as large."""
        scale = np.float32(factor)
        return FacePlace(self.box * scale, self.points * scale)


#: Where the face is in FER2013's framing, in sides of the crop: the medians of what the detector
#: finds in PublicTest's first 400 rows (351 faces), made symmetric. A crop of 48 pixels is too
#: little to place a bar by the detector's points in each.
STANDARD_FACE: Final = FacePlace(
    np.array([0.135, 0.08, 0.865, 0.94], np.float32),
    np.array([[0.33, 0.41], [0.67, 0.41], [0.5, 0.59], [0.36, 0.725], [0.64, 0.725]], np.float32),
)

#: image `(H, W[, 3])`, its face, the amount, and +1 or -1: to which side -> image of the same size.
Degradation = Callable[[UInt8Array, FacePlace, float, int], UInt8Array]


@dataclass(frozen=True)
class Slice:
    """One way of making pictures worse.

    Attributes:
        name, unit: what it is called, and what its amounts are.
        amounts: from the least to the most, the amount that changes nothing (`plain`) left out.
        apply: makes a picture worse by an amount.
        before: how many of the amounts stand before the plain one in a table.
    """

    name: str
    unit: str
    amounts: tuple[float, ...]
    apply: Degradation
    before: int = 0


def blur(image: UInt8Array, face: FacePlace, amount: float, side: int) -> UInt8Array:
    """Out of focus: a Gaussian whose deviation is `amount` per cent of the face's side."""
    sigma = amount / 100 * face.side
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)), np.uint8)


def compress(image: UInt8Array, face: FacePlace, amount: float, side: int) -> UInt8Array:
    """Compressed as JPEG with a quality of `amount`, 1 to 95."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", quality=round(amount))
    with Image.open(data) as picture:
        return np.asarray(picture, np.uint8)


def shrink(image: UInt8Array, face: FacePlace, amount: float, side: int) -> UInt8Array:
    """Far away: shrunk until the face's side has `amount` pixels, and enlarged again."""
    height, width = image.shape[:2]
    scale = amount / face.side
    if scale >= 1:
        return image
    small = resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
    return resize(small, width, height)


def brighten(image: UInt8Array, face: FacePlace, amount: float, side: int) -> UInt8Array:
    """Every value `amount` times as high; what exceeds the range is cut off."""
    return _toned(image, np.arange(256) * amount)


def flatten(image: UInt8Array, face: FacePlace, amount: float, side: int) -> UInt8Array:
    """Differences from the picture's mean grey `amount` times as large."""
    mean = float(to_gray(image).mean())
    return _toned(image, mean + amount * (np.arange(256) - mean))


def rotate(image: UInt8Array, face: FacePlace, amount: float, side: int) -> UInt8Array:
    """Turned about the middle of the face by `amount` degrees; its edge is repeated."""
    height, width = image.shape[:2]
    angle = np.deg2rad(amount * side)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]])
    sources = (corners - face.centre) @ turn.T + face.centre
    # As far as the turned picture reaches out of the old one, and a pixel to interpolate with.
    reach = int(np.ceil(max(-sources.min(), (sources - [width, height]).max(), 0.0))) + 1
    edges = [(reach, reach), (reach, reach)] + [(0, 0)] * (image.ndim - 2)
    shift = face.centre + reach - turn @ face.centre
    into = (*turn[0], shift[0], *turn[1], shift[1])
    turned = Image.fromarray(np.pad(image, edges, mode="edge")).transform(
        (width, height), Image.Transform.AFFINE, into, Image.Resampling.BILINEAR
    )
    return np.asarray(turned, np.uint8)


def cover_eyes(image: UInt8Array, face: FacePlace, amount: float, side: int) -> UInt8Array:
    """A bar across the eyes, as wide as the face and `amount` per cent of its side high."""
    return _bar(image, face, face.points[:2].mean(0), amount)


def cover_mouth(image: UInt8Array, face: FacePlace, amount: float, side: int) -> UInt8Array:
    """The same across the mouth."""
    return _bar(image, face, face.points[3:].mean(0), amount)


def cover_side(image: UInt8Array, face: FacePlace, amount: float, side: int) -> UInt8Array:
    """`amount` per cent of the face's width covered, from its left or right edge on."""
    width, height = (float(v) for v in face.box[2:] - face.box[:2])
    # The box turned with the face; a little higher and wider, so that no rim is left.
    near, far = -0.55 * width, (amount / 100 - 0.5) * width
    left, right = (near, far) if side < 0 else (-far, -near)
    return _covered(image, face, face.centre, (left, right), (-0.55 * height, 0.55 * height))


#: Every way, in the order of the tables.
SLICES: Final = (
    Slice("blur", "deviation, % of the face's side", (2, 4, 8), blur),
    Slice("JPEG", "quality", (30, 10, 5), compress),
    Slice("resolution", "side of the face, pixels", (24, 16, 12), shrink),
    Slice("brightness", "factor", (0.1, 0.3, 2, 3), brighten, before=2),
    Slice("contrast", "factor", (0.5, 0.25, 0.1), flatten),
    Slice("rotation", "degrees", (15, 30, 45), rotate),
    Slice("eyes covered", "height of the bar, % of the face's side", (10, 20, 30), cover_eyes),
    Slice("mouth covered", "height of the bar, % of the face's side", (15, 25, 35), cover_mouth),
    Slice("side covered", "% of the face's width", (20, 35, 50), cover_side),
)


def directions(n: int, seed: int) -> list[int]:
    """For each of n pictures the side that things come from: +1 right, -1 left."""
    return [int(side) for side in np.random.default_rng(seed).integers(0, 2, n) * 2 - 1]


def _toned(image: UInt8Array, tones: npt.NDArray[np.floating]) -> UInt8Array:
    """Every value by a curve `(256,)`."""
    return np.asarray(tones.clip(0, 255).round().astype(np.uint8)[image], np.uint8)


def _bar(
    image: UInt8Array, face: FacePlace, middle: npt.NDArray[np.floating], amount: float
) -> UInt8Array:
    half = amount / 200 * face.side
    width = 0.55 * float(face.box[2] - face.box[0])
    return _covered(image, face, middle, (-width, width), (-half, half))


def _covered(
    image: UInt8Array,
    face: FacePlace,
    middle: npt.NDArray[np.floating],
    across: tuple[float, float],
    down: tuple[float, float],
) -> UInt8Array:
    """A rectangle that is turned as the face is, in the mean colour of the face.

    So the picture's mean hardly changes: what is examined is what a face says without these
    parts, not how a network takes a black bar. Pixels that its edge touches are covered whole.
    """
    angle = roll_rad(face.points)
    right = np.array([np.cos(angle), np.sin(angle)])
    below = np.array([-right[1], right[0]])
    corners = [
        tuple(float(v) for v in middle + x * right + y * below - 0.5)
        for x, y in ((across[0], down[0]), (across[1], down[0]), (across[1], down[1]),
                     (across[0], down[1]))
    ]  # fmt: skip
    x0, y0, x1, y1 = (max(0, round(float(v))) for v in face.box)
    inside = image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    mean = inside.reshape(-1, *image.shape[2:]).mean(0).round().astype(int)
    picture = Image.fromarray(image)
    fill = int(mean) if image.ndim == 2 else tuple(int(v) for v in mean)
    ImageDraw.Draw(picture).polygon(corners, fill=fill)
    return np.asarray(picture, np.uint8)
