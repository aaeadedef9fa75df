"""Where the detector would cut each training picture. Imports torch, detection, alignment.

FER2013's pictures are loose crops by another detector. Cut again by the rule that inference
uses, they show the network what it will meet in real photographs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from mien.alignment import crop_transforms
from mien.datasets import FaceCrops, crop_frame
from mien.detection import FaceDetector
from mien.training.recipe import DataRecipe
from mien.types import Detections, UInt8Array
from mien.whole import whole

#: The detector wants faces larger than FER2013's, with something around them.
_ENLARGED_PX = 96
_MARGIN_PX = 16


def whole_picture(n: int) -> npt.NDArray[np.float32]:
    """The framing that takes every picture as it is: `(N, 2, 3)` identities."""
    return np.tile(np.array([[1, 0, 0], [0, 1, 0]], np.float32), (n, 1, 1))


def detected_framings(
    data: FaceCrops,
    recipe: DataRecipe,
    cache: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Run the face detector over every picture and apply the crop rule.

    Args:
        data: N square pictures.
        recipe: holds the crop rule.
        cache: folder for the detections, which are kept by the data's fingerprint.
        progress: called with the number of pictures done and their total.

    Returns:
        Framings `(N, 2, 3)` in normalised coordinates (-1..1 over the picture) and a mask `(N,)`
        of the pictures in which a face was found; the others are framed whole.
    """
    faces = _detect_all(data, cache, progress)
    size = data.images.shape[1]
    found = faces.scores > 0
    transforms = crop_transforms(
        faces, scale=recipe.crop_scale, upright=recipe.crop_upright, size_px=size
    )
    framings = whole_picture(len(data))
    framings[found] = _normalized(transforms[found], size)
    return framings, found


def _normalized(transforms: npt.NDArray[np.float64], size_px: int) -> npt.NDArray[np.float32]:
    """Transforms `(N, 2, 3)` between pixel centres of two squares of side `size_px`, in -1..1."""
    linear, offset = transforms[:, :, :2], transforms[:, :, 2:]
    shifted = (linear.sum(2, keepdims=True) * (size_px - 1) + 2 * offset + 1) / size_px - 1
    return np.concatenate([linear, shifted], 2).astype(np.float32)


def _detect_all(data: FaceCrops, cache: Path, progress: Callable[[int, int], None]) -> Detections:
    """The best face of each picture, in its own pixels; score 0 where there is none."""
    file = cache / f"faces-{data.fingerprint()[:16]}.npz"
    if file.is_file():
        with np.load(file, allow_pickle=False) as saved:
            return Detections(saved["boxes"], saved["scores"], saved["landmarks"])
    n = len(data)
    boxes = np.zeros((n, 4), np.float32)
    scores = np.zeros((n,), np.float32)
    landmarks = np.zeros((n, 5, 2), np.float32)
    detector = FaceDetector(long_side_px=_ENLARGED_PX + 2 * _MARGIN_PX, min_score=0.3)
    ratio = data.images.shape[1] / _ENLARGED_PX
    for i, image in enumerate(data.images):
        faces = detector.detect(crop_frame(_enlarge(image)))
        if len(faces):
            # FER2013 shows one face to a picture: the largest, not a bystander's.
            best = faces.largest()
            boxes[i] = (faces.boxes[best] - _MARGIN_PX) * ratio
            landmarks[i] = (faces.landmarks[best] - _MARGIN_PX) * ratio
            scores[i] = faces.scores[best]
        if i % 500 == 0:
            progress(i, n)
    cache.mkdir(parents=True, exist_ok=True)
    with whole(file) as partial:
        np.savez_compressed(partial, boxes=boxes, scores=scores, landmarks=landmarks)
    return Detections(boxes, scores, landmarks)


def _enlarge(image: UInt8Array) -> UInt8Array:
    side = (_ENLARGED_PX, _ENLARGED_PX)
    large = Image.fromarray(image).resize(side, Image.Resampling.BICUBIC)
    return np.pad(np.asarray(large, np.uint8), _MARGIN_PX, mode="edge")
