"""Vary a whole batch at once on its way into the network. Imports torch and the recipe.

All randomness comes from the generator that is passed in, so an epoch is the same when it is
run again. Geometry (framing, flip, rotation, scale, shift, resolution) is one resampling.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from mien.training.recipe import AugmentRecipe, Recipe
from mien.types import UInt8Array


def augment(
    images: Tensor,
    framings: Tensor,
    size_px: int,
    recipe: AugmentRecipe,
    generator: Generator,
) -> Tensor:
    """Grey `uint8 (B, H, W)` to varied `float32 (B, 1, size_px, size_px)` in 0..255.

    Args:
        images: pictures as they lie in the data set.
        framings: `(B, 2, 3)`, where each crop lies in its picture, in normalised coordinates
            (-1..1 from edge to edge, as in `torch.nn.functional.affine_grid`).
        size_px: side of the crops to be made.
        recipe: how strongly to vary.
        generator: the source of all randomness.
    """
    crops = _resample(images, framings, size_px, recipe, generator)
    crops = _degrade(crops, recipe, generator)
    crops = _relight(crops, recipe, generator)
    return _erase(crops, recipe, generator)


def augmented_samples(images: UInt8Array, recipe: Recipe, *, seed: int) -> UInt8Array:
    """Pictures `uint8 (N, H, W)` as one epoch would show them, at the recipe's input size.

    Framed whole: what the face detector would cut out is not shown.
    """
    n = len(images)
    whole = torch.eye(2, 3).expand(n, 2, 3)
    generator = Generator().manual_seed(seed)
    size = recipe.data.input_px
    varied = augment(torch.from_numpy(images), whole, size, recipe.augment, generator)
    return np.asarray(varied[:, 0].round().to(torch.uint8).numpy())


def _uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    return torch.empty(n).uniform_(low, high, generator=generator)


def _resample(
    images: Tensor,
    framings: Tensor,
    size_px: int,
    recipe: AugmentRecipe,
    generator: Generator,
) -> Tensor:
    n = len(images)
    angle = _uniform(n, -recipe.rotate_deg, recipe.rotate_deg, generator) * (math.pi / 180)
    # Drawn on a logarithmic axis; a face shown larger comes from a smaller part of the picture.
    low, high = math.log(recipe.scale_min), math.log(recipe.scale_max)
    extent = torch.exp(-_uniform(n, low, high, generator))
    mirror = torch.ones(n)
    if recipe.flip:
        mirror = 1 - 2 * torch.randint(0, 2, (n,), generator=generator).float()
    cos, sin = angle.cos() * extent, angle.sin() * extent
    shift = torch.empty(n, 2).uniform_(-2 * recipe.shift, 2 * recipe.shift, generator=generator)
    vary = torch.stack(
        [
            torch.stack([cos * mirror, -sin, shift[:, 0]], 1),
            torch.stack([sin * mirror, cos, shift[:, 1]], 1),
        ],
        1,
    )
    linear = framings[:, :, :2] @ vary[:, :, :2]
    offset = framings[:, :, :2] @ vary[:, :, 2:] + framings[:, :, 2:]
    grid = F.affine_grid(
        torch.cat([linear, offset], 2), [n, 1, size_px, size_px], align_corners=False
    )
    pixels = images[:, None].float()
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _degrade(crops: Tensor, recipe: AugmentRecipe, generator: Generator) -> Tensor:
    """Blur, sharpen and lose resolution, as cameras and FER2013's own history do."""
    n, _, size_px, _ = crops.shape
    if recipe.sharpness:
        amount = _uniform(n, -recipe.sharpness, recipe.sharpness, generator).view(-1, 1, 1, 1)
        blurred = F.avg_pool2d(F.pad(crops, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        crops = crops + amount * (crops - blurred)
    if recipe.low_resolution:
        chosen = torch.rand(n, generator=generator) < recipe.low_resolution
        small = int(torch.randint(14, 33, (), generator=generator))
        if small < size_px and chosen.any():
            shrunk = F.interpolate(crops[chosen], size=(small, small), mode="area")
            crops = crops.clone()
            crops[chosen] = F.interpolate(
                shrunk, size=(size_px, size_px), mode="bilinear", align_corners=False
            )
    return crops


def _relight(crops: Tensor, recipe: AugmentRecipe, generator: Generator) -> Tensor:
    n = len(crops)
    gamma = torch.exp(_uniform(n, -recipe.gamma, recipe.gamma, generator)).view(-1, 1, 1, 1)
    gain = torch.exp(_uniform(n, -recipe.contrast, recipe.contrast, generator)).view(-1, 1, 1, 1)
    shift = 255 * _uniform(n, -recipe.brightness, recipe.brightness, generator).view(-1, 1, 1, 1)
    if recipe.gamma:
        crops = 255 * (crops.clamp(0, 255) / 255 + 1e-4).pow(gamma)
    middle = crops.mean(dim=(2, 3), keepdim=True)
    return ((crops - middle) * gain + middle + shift).clamp(0, 255)


def _erase(crops: Tensor, recipe: AugmentRecipe, generator: Generator) -> Tensor:
    """Random erasing (Zhong et al., AAAI 2020): a rectangle of 2-25% of the area becomes noise."""
    if not recipe.erase:
        return crops
    n, _, size_px, _ = crops.shape
    area = _uniform(n, 0.02, 0.25, generator)
    aspect = torch.exp(_uniform(n, -1.0, 1.0, generator))
    half = torch.stack([(area / aspect).sqrt(), (area * aspect).sqrt()], 1) / 2
    centre = torch.rand(n, 2, generator=generator)
    position = (torch.arange(size_px) + 0.5) / size_px
    inside = (position[None, :, None] - centre[:, None]).abs() < half[:, None]  # (n, size, xy)
    chosen = (torch.rand(n, generator=generator) < recipe.erase).view(-1, 1, 1)
    mask = (inside[:, :, 1, None] & inside[:, None, :, 0] & chosen)[:, None]
    noise = 255 * torch.rand(crops.shape, generator=generator)
    return torch.where(mask, noise, crops)
