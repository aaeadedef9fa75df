"""Vary a whole batch at once on its way into the network. Imports torch and its siblings jpeg,
occluders, recipe and sending.

In two steps. `draw_variations` throws all dice for a batch; `vary` applies them. Several processes
that share a batch throw the same dice and each apply only their rows, so that how many there are
does not change what is learned. Geometry (framing, turned heads, flip, rotation, scale, shift) is
one resampling. Dice always lie on the CPU: so all devices throw the same, and what is to be done is
known without waiting for an accelerator. The pictures may lie anywhere, and are varied there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from mien.training.jpeg import compress
from mien.training.occluders import draw_occluders, occlude
from mien.training.recipe import AugmentRecipe
from mien.training.sending import sent

#: Half the width of a head, in halves of the crop's side: see `_turn_heads`.
_HEAD_RADIUS = 0.9
_LOW_RESOLUTION_PX = (14, 33)  # smallest side, and the largest plus one
_BLUR_SIGMA = (0.4, 1.6)  # of the crop at 48 pixels
_JPEG_QUALITY = (15, 70)
_VIEW_ROWS = 512  # of `varied_views` at a time: bounds its memory


@dataclass(frozen=True)
class Variations:
    """The dice of one batch: a row of every tensor for each crop.

    Attributes:
        geometry: `(B, 2, 3)`, from the varied crop to the framed one, in -1..1.
        turn: `(B,)`, angle in radians by which the head is turned to its left or right.
        sharpness: `(B,)`, blends towards a blurred (negative) or sharpened copy.
        blur_sigma: `(B,)` in pixels, 0 for none.
        small_px: `(B,)`, side to shrink to before enlarging again, 0 for none.
        jpeg_quality: `(B,)`, 0 for no JPEG.
        tone: `(B, 3)`: gamma, gain, shift in grey levels.
        erased: `(B, 4)`: centre x, y and half width, height of a rectangle in shares of the side;
            half width 0 for none.
        noise: `(B, 1, S, S)` in 0..255, what the rectangle is filled with.
        occluders: `(B, K)`, see `mien.training.occluders`.
        mix: `(B,)`, weight of the neighbour that is mixed in; 0 for none.
    """

    geometry: Tensor
    turn: Tensor
    sharpness: Tensor
    blur_sigma: Tensor
    small_px: Tensor
    jpeg_quality: Tensor
    tone: Tensor
    erased: Tensor
    noise: Tensor
    occluders: Tensor
    mix: Tensor

    def rows(self, which: slice) -> Variations:
        """The dice of some of the crops."""
        return replace(self, **{f.name: getattr(self, f.name)[which] for f in fields(self)})


def draw_variations(
    n: int, size_px: int, recipe: AugmentRecipe, generator: Generator
) -> Variations:
    """Throw the dice for `n` crops of side `size_px`."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(n, *shape).uniform_(low, high, generator=generator)

    def chance(p: float) -> Tensor:
        return torch.rand(n, generator=generator) < p

    turn = math.radians(recipe.turn_deg)

    return Variations(
        geometry=_draw_geometry(n, recipe, generator),
        sharpness=uniform(-recipe.sharpness, recipe.sharpness),
        blur_sigma=chance(recipe.blur) * uniform(*_BLUR_SIGMA) * (size_px / 48),
        small_px=chance(recipe.low_resolution)
        * torch.randint(*_LOW_RESOLUTION_PX, (n,), generator=generator),
        jpeg_quality=chance(recipe.jpeg) * torch.randint(*_JPEG_QUALITY, (n,), generator=generator),
        tone=torch.stack(
            [
                uniform(-recipe.gamma, recipe.gamma).exp(),
                uniform(-recipe.contrast, recipe.contrast).exp(),
                255 * uniform(-recipe.brightness, recipe.brightness),
            ],
            1,
        ),
        erased=_draw_rectangles(n, recipe, generator),
        noise=uniform(0, 255, 1, size_px, size_px) if recipe.erase else torch.zeros(n, 1, 1, 1),
        occluders=draw_occluders(n, recipe.occlude, generator),
        mix=_draw_mix(n, recipe, generator),
        turn=uniform(-turn, turn) if turn else torch.zeros(n),
    )


def vary(images: Tensor, framings: Tensor, size_px: int, variations: Variations) -> Tensor:
    """Grey `uint8 (B, H, W)` to varied `float32 (B, 1, size_px, size_px)` in 0..255.

    Args:
        images: pictures as they lie in the data set, on any device.
        framings: `(B, 2, 3)`, where each crop lies in its picture, in normalised coordinates
            (-1..1 from edge to edge, as in `torch.nn.functional.affine_grid`); on the same device.
        size_px: side of the crops to be made.
        variations: the dice. Mixing is not applied here: it concerns the labels too.
    """
    crops = _resample(images, framings, size_px, variations)
    crops = occlude(crops, variations.occluders)
    crops = _relight(crops, variations.tone)
    crops = _degrade(crops, variations)
    return _erase(crops, variations)


def mix_neighbours(values: Tensor, weights: Tensor) -> Tensor:
    """Blend each row with its neighbour (0 with 1, 2 with 3, …) by the neighbour's weight.

    Mixup (Zhang et al., ICLR 2018) with the neighbour as the partner: the order of rows is random
    anyway, and neighbours stay together when a batch is shared between processes. A last lone row
    stays as it is.
    """
    even = len(values) - len(values) % 2
    partner = values.clone()
    partner[0:even:2], partner[1:even:2] = values[1:even:2], values[0:even:2]
    weight = sent(weights, values.device).view(-1, *[1] * (values.ndim - 1)).to(values.dtype)
    return values * (1 - weight) + partner * weight


def varied_views(images: Tensor, views: int, recipe: AugmentRecipe, seed: int) -> Iterator[Tensor]:
    """All pictures `uint8 (N, S, S)`, varied anew, `views` times over; their size stays."""
    generator, size = Generator().manual_seed(seed), images.shape[1]
    for _ in range(views):
        shown = []
        for part in torch.split(images, _VIEW_ROWS):
            dice = draw_variations(len(part), size, recipe, generator)
            whole = torch.eye(2, 3).expand(len(part), 2, 3)
            shown.append(vary(part, whole, size, dice)[:, 0].round().to(torch.uint8))
        yield torch.cat(shown)


# --- throwing the dice -----------------------------------------------------------------------


def _draw_geometry(n: int, recipe: AugmentRecipe, generator: Generator) -> Tensor:
    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(n).uniform_(low, high, generator=generator)

    angle = uniform(-recipe.rotate_deg, recipe.rotate_deg) * (math.pi / 180)
    # Drawn on a logarithmic axis; a face shown larger comes from a smaller part of the picture.
    extent = torch.exp(-uniform(math.log(recipe.scale_min), math.log(recipe.scale_max)))
    mirror = torch.ones(n)
    if recipe.flip:
        mirror = 1 - 2 * torch.randint(0, 2, (n,), generator=generator).float()
    cos, sin = angle.cos() * extent, angle.sin() * extent
    shift_x, shift_y = (uniform(-2 * recipe.shift, 2 * recipe.shift) for _ in range(2))
    return torch.stack(
        [
            torch.stack([cos * mirror, -sin, shift_x], 1),
            torch.stack([sin * mirror, cos, shift_y], 1),
        ],
        1,
    )


def _draw_rectangles(n: int, recipe: AugmentRecipe, generator: Generator) -> Tensor:
    """Random erasing (Zhong et al., AAAI 2020): a rectangle of 2-25% of the area."""
    area = torch.empty(n).uniform_(0.02, 0.25, generator=generator)
    aspect = torch.exp(torch.empty(n).uniform_(-1.0, 1.0, generator=generator))
    half = torch.stack([(area / aspect).sqrt(), (area * aspect).sqrt()], 1) / 2
    centre = torch.rand(n, 2, generator=generator)
    chosen = torch.rand(n, 1, generator=generator) < recipe.erase
    return torch.cat([centre, half * chosen], 1)


def _draw_mix(n: int, recipe: AugmentRecipe, generator: Generator) -> Tensor:
    """Both of a pair get the same weight, at most one half: the label's own picture dominates."""
    weight = torch.rand(n, generator=generator) * 0.5
    chosen = torch.rand(n, generator=generator) < recipe.mixup
    even = n - n % 2
    weight[1:even:2], chosen[1:even:2] = weight[0:even:2], chosen[0:even:2]
    return weight * chosen


# --- applying them ---------------------------------------------------------------------------


def _resample(images: Tensor, framings: Tensor, size_px: int, variations: Variations) -> Tensor:
    size, device = [len(images), 1, size_px, size_px], images.device
    grid = F.affine_grid(sent(variations.geometry, device), size, align_corners=False)
    if variations.turn.any():
        grid = _turn_heads(grid, sent(variations.turn, device))
    places = grid.flatten(1, 2) @ framings[:, :, :2].mT + framings[:, None, :, 2]
    grid = places.view(grid.shape)
    pixels = images[:, None].float()
    if (times := images.shape[-1] // size_px) > 1:  # else pixels would be skipped
        pixels = F.interpolate(pixels, size=images.shape[-1] // times, mode="area")
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _turn_heads(grid: Tensor, turn: Tensor) -> Tensor:
    """Places `(B, S, S, 2)` in framed crops, looked up where they were before heads were turned.

    A head is taken for an upright cylinder in the middle of the crop: what lies at the angle a from
    its front was at a - turn before. What comes into view at its edge was hidden, and repeats the
    edge; beside the head nothing moves but to stay attached.
    """
    across, down = grid.unbind(-1)
    seen = (across / _HEAD_RADIUS).clamp(-1, 1)
    beside = across - _HEAD_RADIUS * seen
    before = (seen.asin() - turn.view(-1, 1, 1)).clamp(-math.pi / 2, math.pi / 2)
    return torch.stack([_HEAD_RADIUS * before.sin() + beside, down], -1)


def _relight(crops: Tensor, tone: Tensor) -> Tensor:
    gamma, gain, shift = sent(tone, crops.device)[:, :, None, None, None].unbind(1)
    crops = 255 * (crops.clamp(0, 255) / 255).pow(gamma)
    middle = crops.mean(dim=(2, 3), keepdim=True)
    return ((crops - middle) * gain + middle + shift).clamp(0, 255)


def _degrade(crops: Tensor, variations: Variations) -> Tensor:
    """Blur, sharpen, lose resolution, compress: what cameras and FER2013's own history do."""
    size_px = crops.shape[-1]
    amount = sent(variations.sharpness, crops.device).view(-1, 1, 1, 1)
    blurred = F.avg_pool2d(F.pad(crops, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    crops = (crops + amount * (crops - blurred)).clamp(0, 255)
    sigma, small, quality = variations.blur_sigma, variations.small_px, variations.jpeg_quality
    if len(blurred_rows := sigma.nonzero()[:, 0]):
        _soften(crops, blurred_rows, _blurring(sigma[blurred_rows], size_px))
    if len(small_rows := ((small > 0) & (small < size_px)).nonzero()[:, 0]):
        along = [_coarsening(int(px), size_px) for px in small[small_rows]]
        _soften(crops, small_rows, torch.stack(along))
    if len(packed_rows := quality.nonzero()[:, 0]):
        rows = sent(packed_rows, crops.device)
        crops[rows] = compress(crops[rows], quality[packed_rows])
    return crops


def _soften(crops: Tensor, chosen: Tensor, matrices: Tensor) -> None:
    """Change some crops in place, each along both axes by its own matrix: `(B', S, S)`."""
    rows, along = sent(chosen, crops.device), sent(matrices, crops.device)[:, None]
    crops[rows] = along @ crops[rows] @ along.mT


def _blurring(sigma_px: Tensor, size_px: int) -> Tensor:
    """Matrices `(B, S, S)` that blur a column of pixels by Gaussians, mirrored at its ends."""
    place, last = torch.arange(size_px), size_px - 1
    sigma = sigma_px.view(-1, 1, 1)
    weights = torch.zeros(len(sigma), size_px, size_px)
    for mirrored, counts in (
        (place, place >= 0),
        (-place, place > 0),
        (2 * last - place, place < last),
    ):
        weights += (-0.5 * ((place[:, None] - mirrored) / sigma) ** 2).exp() * counts
    return weights / weights.sum(2, keepdim=True)


@lru_cache(maxsize=256)
def _coarsening(small_px: int, size_px: int) -> Tensor:
    """The matrix `(S, S)` that shrinks a column of pixels by averages and enlarges it again."""
    each = F.interpolate(torch.eye(size_px)[None], size=small_px, mode="area")
    return F.interpolate(each, size=size_px, mode="linear", align_corners=False)[0].T


def _erase(crops: Tensor, variations: Variations) -> Tensor:
    size_px = crops.shape[-1]
    erased = sent(variations.erased, crops.device)
    centre, half = erased[:, :2], erased[:, 2:]
    position = (torch.arange(size_px, device=crops.device) + 0.5) / size_px
    # (B, S, xy): whether a column or row lies inside.
    inside = (position[None, :, None] - centre[:, None]).abs() < half[:, None]
    mask = (inside[:, :, 1, None] & inside[:, None, :, 0])[:, None]
    return torch.where(mask, sent(variations.noise, crops.device), crops)
