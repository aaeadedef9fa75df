"""How well a face can be read, and what is wrong with it: measures and their thresholds.

May import numpy, and from mien: alignment, inference, preprocess, types, weights. The thresholds
were chosen on FER2013's PublicTest (benchmarks/quality.py); docs/quality.md says what each of them
means.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.alignment import nose_offset
from mien.inference import Network
from mien.preprocess import averaged, gaussian_blur, network_input
from mien.types import (
    DOUBTFUL,
    QUALITY_REASONS,
    Detections,
    FaceQuality,
    Float32Array,
    UInt8Array,
)
from mien.weights import PACKAGE, read_weights

#: Side of the crop that the network of `covered` takes.
COVER_PX: Final = 32

#: Of each measure: where a face's score for it is 1, 0.5 and 0. The middle is the threshold of the
#: reason; the first is what half of PublicTest's faces reach.
ANCHORS: Final = {
    "small": (41.0, 14.0, 0.0),
    "blurred": (0.62, 0.22, 0.12),
    "turned": (0.07, 0.3, 0.8),
    "too bright": (0.0, 0.45, 1.0),
    "too flat": (42.0, 2.1, 0.0),
    "covered": (0.05, 0.8, 1.0),
    "unsure-detection": (0.84, 0.6, 0.3),
}

_LIGHT: Final = ("too bright", "too flat")  # one reason, `badly-lit`
_WEIGHTS: Final = "cover.onnx"  # made by scripts/train_cover.py
_SIDE_PX: Final = 44  # at which sharpness is measured, whatever the model's crop is
_FINE_PX, _COARSE_PX = 1.0, 3.0  # deviations of the two blurs
_CLIPPED: Final = 250  # grey from which on a pixel counts as burnt out
_DECIMALS: Final = 3
_BATCH: Final = 512  # crops at once: those of whole sets would fill the memory


class QualityGate:
    """Rates faces.

    Args:
        device: as of `mien.inference.Network`.

    Raises:
        ModelError: the network that sees covers is missing or altered.
        ConfigError: the device cannot be used.
    """

    def __init__(self, *, device: str = "cpu") -> None:
        self._network = Network(read_weights(_WEIGHTS, PACKAGE), _WEIGHTS, device=device)

    def rate(self, faces: Detections, crops: UInt8Array) -> list[FaceQuality]:
        """How well each of N faces can be read.

        Args:
            faces: where they are in their picture.
            crops: the same, aligned and grey, `uint8 (N, S, S)`, by the classifier's crop rule.
        """
        if not len(faces):
            return []
        measures = {
            "small": faces.sides,
            "turned": np.abs(nose_offset(faces.landmarks)),
            "unsure-detection": faces.scores,
            "covered": self.covers(crops),
            **crop_measures(crops),
        }
        scores = {name: scored(name, values) for name, values in measures.items()}
        return [
            _quality({name: float(values[i]) for name, values in scores.items()})
            for i in range(len(faces))
        ]

    def doubtful(self, crops: UInt8Array) -> npt.NDArray[np.bool_]:
        """Which of N faces cannot be read: `(N,)`, as `FaceQuality.doubtful` says of each.

        Crops `(N, S, S)` alone tell, so also those of sets that have nothing else.
        """
        found = np.zeros(len(crops), bool)
        for start in range(0, len(crops), _BATCH):
            some = crops[start : start + _BATCH]
            for name, values in {**crop_measures(some), "covered": self.covers(some)}.items():
                if _reason(name) in DOUBTFUL:
                    found[start : start + len(some)] |= scored(name, values) < 0.5
        return found

    def covers(self, crops: UInt8Array) -> Float32Array:
        """How likely something hides a part of each face `(N, S, S)`: `(N,)`, 0..1."""
        pixels = network_input(averaged(crops, COVER_PX).round().astype(np.uint8))
        return np.asarray(self._network.run(pixels)[0], np.float32)


def crop_measures(crops: UInt8Array) -> dict[str, Float32Array]:
    """Of N aligned grey crops `(N, S, S)` what can be measured without a network, `(N,)` each.

    `blurred` is sharpness: the deviation of what a small blur takes away over that of what a larger
    one takes away of the rest, so that neither light nor contrast matters. `too bright` is the
    share of pixels that are burnt out, 0..1, and `too flat` the deviation of the grey levels.
    All of them look at an oval where the face is.
    """
    pixels = averaged(crops, _SIDE_PX)
    inside = _oval(_SIDE_PX)
    fine = gaussian_blur(pixels, _FINE_PX)
    coarse = gaussian_blur(fine, _COARSE_PX)
    lost, kept = _deviation(pixels - fine, inside), _deviation(fine - coarse, inside)
    mean = (pixels * inside).sum((1, 2), keepdims=True)
    burnt = ((pixels >= _CLIPPED) * inside).sum((1, 2))
    return {
        "blurred": lost / np.maximum(kept, np.float32(1e-3)),
        "too bright": burnt,
        "too flat": _deviation(pixels - mean, inside),
    }


def scored(name: str, values: Float32Array) -> Float32Array:
    """Measures `(N,)` as scores: 1 at best, 0.5 at the threshold, linear between the anchors."""
    best, threshold, worst = ANCHORS[name]
    along = (1.0, 0.5, 0.0)
    if best > worst:
        return np.asarray(np.interp(values, (worst, threshold, best), along[::-1]), np.float32)
    return np.asarray(np.interp(values, (best, threshold, worst), along), np.float32)


def _reason(measure: str) -> str:
    return "badly-lit" if measure in _LIGHT else measure


def _quality(scores: dict[str, float]) -> FaceQuality:
    wrong = {_reason(name) for name, s in scores.items() if s < 0.5}
    if "small" in wrong:
        wrong.discard("blurred")  # so few pixels cannot be sharp: their number is the reason
    reasons = tuple(reason for reason in QUALITY_REASONS if reason in wrong)
    return FaceQuality(round(min(scores.values()), _DECIMALS), reasons)


def _deviation(pixels: Float32Array, weights: Float32Array) -> Float32Array:
    return np.asarray(np.sqrt((pixels * pixels * weights).sum((1, 2))), np.float32)


@cache
def _oval(size_px: int) -> Float32Array:
    """Weights `(S, S)` that sum to 1, equal where a face fills its crop and 0 outside."""
    square = ((np.arange(size_px) + 0.5) / size_px - 0.5) ** 2
    inside = square[None, :] / 0.4**2 + square[:, None] / 0.45**2 < 1
    return np.asarray(inside / inside.sum(), np.float32)
