"""From a detected face to an upright square crop. May import numpy, and from mien: types,
preprocess.

The crop rule has two numbers that travel in the `ModelSpec`: the side of the square in units of
the detector's box, and whether the face is turned upright first. docs/crop-rule.md compares the
choices on real photographs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mien.preprocess import sample, surroundings, to_gray
from mien.types import Detections, Float32Array, UInt8Array

#: Largest offset of the nose, in eye distances, of a face seen from the front. On KDEF, whose
#: pictures are frontal or turned by 45 degrees, the two kinds leave a gap from 0.15 to 0.2.
FRONT_NOSE_OFFSET = 0.15


def roll_rad(landmarks: Float32Array) -> float:
    """In-plane rotation of a face from its landmarks `(5, 2)`, radians, clockwise positive.

    Eye line and eye-to-mouth line each vote; together they are steadier than the eyes alone,
    whose distance shrinks when the head turns sideways.
    """
    across = (landmarks[1] - landmarks[0]) + (landmarks[4] - landmarks[3])
    down = landmarks[3:5].sum(0) - landmarks[0:2].sum(0)
    # The downward line turned by a quarter gives the same direction as the line across.
    direction = across + np.array([down[1], -down[0]])
    return float(np.arctan2(direction[1], direction[0]))


def nose_offset(landmarks: Float32Array) -> Float32Array:
    """How far each nose lies beside the middle of its face, in eye distances: `(N,)`, signed.

    Near 0 for a face seen from the front, about +-0.4 for a half-profile. Measured along the line
    of the eyes, so that tilting the head does not change it.
    """
    across = landmarks[:, 1] - landmarks[:, 0]
    middle = landmarks[:, [0, 1, 3, 4]].mean(1)
    along = ((landmarks[:, 2] - middle) * across).sum(1)
    return np.asarray(along / np.maximum((across**2).sum(1), 1e-6), np.float32)


def crop_transforms(
    detections: Detections, *, scale: float, upright: bool, size_px: int
) -> npt.NDArray[np.float64]:
    """For each face the `(2, 3)` transform from crop pixels to frame pixels: `(N, 2, 3)`.

    Args:
        detections: N faces.
        scale: side of the square crop in units of the longer side of the detector's box.
        upright: turn the face so that its eyes lie level.
        size_px: side of the crop in pixels. Pixel centres lie at whole coordinates.
    """
    transforms = np.zeros((len(detections), 2, 3))
    for i, (box, points) in enumerate(zip(detections.boxes, detections.landmarks, strict=True)):
        side = scale * max(float((box[2:] - box[:2]).max()), 1.0)
        angle = roll_rad(points) if upright else 0.0
        step = side / size_px
        linear = step * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = (box[:2] + box[2:]) / 2 - 0.5  # box edges to pixel-centre coordinates
        transforms[i, :, :2] = linear
        transforms[i, :, 2] = centre - linear @ np.full(2, (size_px - 1) / 2)
    return transforms


def align_faces(
    image: UInt8Array,
    detections: Detections,
    *,
    scale: float,
    upright: bool,
    size_px: int,
) -> UInt8Array:
    """Cut every face out of an RGB `(H, W, 3)` or grey `(H, W)` image: grey `uint8 (N, S, S)`.

    What lies outside the picture repeats its edge.
    """
    crops = np.empty((len(detections), size_px, size_px), np.uint8)
    transforms = crop_transforms(detections, scale=scale, upright=upright, size_px=size_px)
    for i, transform in enumerate(transforms):
        crops[i] = _cut(image, transform, size_px)
    return crops


def _cut(image: UInt8Array, transform: npt.NDArray[np.float64], size_px: int) -> UInt8Array:
    # Only the surroundings of the face are converted and shrunk: the frame may be large.
    patch, moved = surroundings(image, transform, size_px)
    return sample(to_gray(patch), moved, size_px)
