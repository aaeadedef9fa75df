"""What JPEG does to grey pictures, a whole batch at once and on any device. Imports torch and its
sibling sending.

Only what is lost matters here, so nothing is packed: blocks of 8x8 pixels go to frequencies, are
rounded as JPEG rounds them, and come back (ITU-T T.81, 1992).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from mien.training.sending import sent

_SIDE: Final = 8
#: Steps that frequencies of brightness are rounded to at quality 50 (T.81, table K.1).
_STEPS: Final = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def compress(pictures: Tensor, quality: Tensor) -> Tensor:
    """Pictures `float32 (B, 1, S, S)`, 0..255, as they come back from JPEG, in whole numbers.

    Args:
        pictures: of any side; rounded first.
        quality: `(B,)` on the CPU, 1 to 100, as libjpeg and Pillow count it.
    """
    size = pictures.shape[-1]
    beyond = -size % _SIDE
    padded = F.pad(pictures.round(), (0, beyond, 0, beyond), mode="replicate") - 128
    waves, steps = _waves(pictures.device), sent(_steps(quality), pictures.device)
    n, across = len(padded), padded.shape[-1] // _SIDE
    blocks = padded.reshape(n, 1, across, _SIDE, across, _SIDE).transpose(3, 4)
    steps = steps[:, None, None, None]
    rounded = (waves @ blocks @ waves.T / steps).round() * steps
    back: Tensor = (waves.T @ rounded @ waves + 128).clamp(0, 255).round()
    return back.transpose(3, 4).reshape(padded.shape)[:, :, :size, :size]


@cache
def _waves(device: torch.device) -> Tensor:
    """The cosine transform of 8 values `(8, 8)`, orthonormal: a row for each frequency."""
    place = (torch.arange(_SIDE) + 0.5) * (math.pi / _SIDE)
    waves = (torch.arange(_SIDE)[:, None] * place).cos() * math.sqrt(2 / _SIDE)
    waves[0] = math.sqrt(1 / _SIDE)
    return waves.to(device)


def _steps(quality: Tensor) -> Tensor:
    """The steps for each quality, `(B, 8, 8)`, as libjpeg scales them."""
    quality = quality.float()
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    return ((torch.tensor(_STEPS) * percent.view(-1, 1, 1) + 50) / 100).floor().clamp(1, 255)
