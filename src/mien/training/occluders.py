"""Things that cover faces, drawn on a whole batch: glasses, masks, hands. Imports torch and its
sibling sending.

Positions are those of an upright face that fills its crop (the crop rule): eyes at 0.4 of the
height, mouth at 0.75, each with some play. Shapes are soft-edged and of any grey.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from mien.training.sending import sent

#: Columns of the dice: kind (0 none, 1 glasses, 2 mask, 3 hand), grey, then shape numbers 0..1.
_KIND, _GREY, _FIRST = 0, 1, 2
_SHAPE_NUMBERS = 6
_KINDS = 3
_EDGE = 0.015  # softness of an edge, in sides of the crop


def draw_occluders(n: int, chance: float, generator: Generator) -> Tensor:
    """Throw the dice `(n, 8)`: a crop is covered with the given chance (0..1)."""
    dice = torch.rand(n, _FIRST + _SHAPE_NUMBERS, generator=generator)
    covered = torch.rand(n, generator=generator) < chance
    dice[:, _KIND] = (torch.floor(dice[:, _KIND] * _KINDS) + 1) * covered
    dice[:, _GREY] *= 255
    return dice


def occlude(crops: Tensor, dice: Tensor) -> Tensor:
    """Cover crops `float32 (B, 1, S, S)` in 0..255, on any device, by what their dice say."""
    chosen = dice[:, _KIND].nonzero()[:, 0]
    if not len(chosen):
        return crops
    device = crops.device
    rows, chosen = sent(dice[chosen], device), sent(chosen, device)
    size_px = crops.shape[-1]
    position = (torch.arange(size_px, device=device) + 0.5) / size_px
    x, y = position.view(1, 1, -1), position.view(1, -1, 1)
    shapes = torch.stack([draw(x, y, rows[:, _FIRST:]) for draw in (_glasses, _mask, _hand)])
    kind = rows[:, _KIND].long() - 1
    cover = shapes[kind, torch.arange(len(rows), device=device)][:, None]
    grey = rows[:, _GREY].view(-1, 1, 1, 1)
    covered = crops.clone()
    covered[chosen] = crops[chosen] * (1 - cover) + grey * cover
    return covered


def _number(numbers: Tensor, index: int, low: float, high: float) -> Tensor:
    return (low + (high - low) * numbers[:, index]).view(-1, 1, 1)


def _soft(distance: Tensor) -> Tensor:
    """1 inside (negative distance, in sides of the crop), 0 outside, soft at the edge."""
    return torch.sigmoid(-distance / _EDGE * 2)


def _ellipse(x: Tensor, y: Tensor, cx: Tensor, cy: Tensor, rx: Tensor, ry: Tensor) -> Tensor:
    radius = (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2).sqrt()
    return (radius - 1) * torch.minimum(rx, ry)


def _glasses(x: Tensor, y: Tensor, numbers: Tensor) -> Tensor:
    """Two lenses with a rim and a bridge; dark ones cover the eyes, clear ones only rim them."""
    level = _number(numbers, 0, 0.34, 0.46)
    apart = _number(numbers, 1, 0.17, 0.23)
    rx, ry = _number(numbers, 2, 0.11, 0.17), _number(numbers, 3, 0.08, 0.14)
    dark = (numbers[:, 4] < 0.5).float().view(-1, 1, 1)
    middle = _number(numbers, 5, 0.46, 0.54)
    lenses = torch.minimum(
        _ellipse(x, y, middle - apart, level, rx, ry), _ellipse(x, y, middle + apart, level, rx, ry)
    )
    rim = _soft(lenses.abs() - 0.018)
    inside = _soft(lenses) * dark
    bridge = _soft((y - level).abs() - 0.015) * _soft((x - middle).abs() - apart)
    return torch.maximum(torch.maximum(rim, inside), bridge * (1 - _soft(lenses)))


def _mask(x: Tensor, y: Tensor, numbers: Tensor) -> Tensor:
    """All below a curved line across the nose, as wide as the jaw."""
    top = _number(numbers, 0, 0.52, 0.66)
    curve = _number(numbers, 1, 0.0, 0.35)
    middle = _number(numbers, 2, 0.46, 0.54)
    half = _number(numbers, 3, 0.3, 0.46)
    line = top + curve * (x - middle) ** 2
    return _soft(line - y) * _soft((x - middle).abs() - half)


def _hand(x: Tensor, y: Tensor, numbers: Tensor) -> Tensor:
    """A palm that comes in from a side or from below, with four fingers that point inwards."""
    side = torch.floor(numbers[:, 0] * 3).view(-1, 1, 1)  # from the left, the right, below
    left, right = side == 0, side == 1
    along = torch.where(left, x, torch.where(right, 1 - x, 1 - y))
    across = torch.where(left | right, y.expand_as(along), x.expand_as(along))
    centre = _number(numbers, 1, 0.35, 0.85)
    reach = _number(numbers, 2, 0.12, 0.32)
    palm = _ellipse(along, across, torch.zeros_like(reach), centre, reach, reach * 0.8)
    hand = palm
    width = _number(numbers, 3, 0.022, 0.045)
    length = _number(numbers, 4, 0.12, 0.3)
    gap = _number(numbers, 5, 2.0, 2.8)
    for finger in (-1.5, -0.5, 0.5, 1.5):
        beside = (across - (centre + finger * gap * width)).abs() - width
        beyond = along - (reach + length * (1 - 0.12 * abs(finger)))
        hand = torch.minimum(hand, torch.maximum(beside, beyond))
    return _soft(hand)
