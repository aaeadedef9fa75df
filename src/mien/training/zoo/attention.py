"""Compact VGGs that weigh their channels and places. Imports torch, the recipe, and vgg."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien.training.recipe import NetworkRecipe
from mien.training.zoo.network import ExpressionNetwork, convolution_layers
from mien.training.zoo.vgg import mien_vgg

_SQUEEZE = 8  # channels are squeezed by this factor between the two layers of their gate
_GATE_KERNEL = 7
_SCORES = 64  # features of which a place's score is made


class ChannelGate(nn.Module):
    """Squeeze and excitation (Hu et al., CVPR 2018): each channel times a weight in 0..2.

    The last layer starts at zero, so that a fresh network passes everything on unchanged.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, max(4, channels // _SQUEEZE))
        self.excite = nn.Linear(max(4, channels // _SQUEEZE), channels)
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """`(N, C, h, w)` to the same shape."""
        summary = self.squeeze(torch.mean(maps, dim=(2, 3))).relu()
        weights: Tensor = 2 * self.excite(summary).sigmoid()
        return maps * weights[:, :, None, None]


class SpatialGate(nn.Module):
    """Spatial attention (Woo et al., "CBAM", ECCV 2018): each place times a weight in 0..2.

    The weight is read from the mean and the maximum over channels in a 7x7 neighbourhood.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(2, 1, _GATE_KERNEL, padding=_GATE_KERNEL // 2)
        for parameter in self.weigh.parameters():
            nn.init.zeros_(parameter)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """`(N, C, h, w)` to the same shape, and the attention `(N, h, w)` in 0..1."""
        summary = torch.stack([torch.mean(maps, dim=1), torch.amax(maps, dim=1)], 1)
        attention = self.weigh(summary).sigmoid()
        return maps * (2 * attention), attention[:, 0]


class AttentiveFeatures(nn.Module):
    """Stages of 3x3 convolutions, each with a channel gate; a spatial gate before the last."""

    def __init__(self, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        inputs = 1
        for width, depth in zip(recipe.widths, recipe.depths, strict=True):
            layers: list[nn.Module] = []
            for _ in range(depth):
                layers += convolution_layers(inputs, width)
                inputs = width
            self.stages.append(nn.Sequential(*layers, ChannelGate(width)))
        self.gate = SpatialGate()
        self.halve = nn.MaxPool2d(2)
        self.width = inputs

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """`(N, 1, S, S)` to features `(N, D, h, w)` and the attention `(N, 2h, 2w)`."""
        maps = pixels
        *early, last = self.stages
        for number, stage in enumerate(early):
            maps = stage(self.halve(maps) if number else maps)
        maps, attention = self.gate(maps)
        return last(self.halve(maps)), attention


def mien_attention(recipe: NetworkRecipe, classes: int) -> ExpressionNetwork:
    """`mien_vgg` of the same recipe, with gates for channels and for places."""
    features = AttentiveFeatures(recipe)
    return ExpressionNetwork(features, features.width, recipe.dropout, classes)


class AttentionPooling(nn.Module):
    """Places weighed against each other before they are averaged (Ilse et al., ICML 2018).

    A gate may leave all places open; these weights sum to 1, so that one place counts more only if
    others count less. The last layer starts at zero: a fresh network takes the plain mean.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels, _SCORES, 1)
        self.weigh = nn.Conv2d(_SCORES, 1, 1, bias=False)
        nn.init.zeros_(self.weigh.weight)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """`(N, C, h, w)` to the same shape, whose mean over places is the weighted one; and the
        attention `(N, h, w)`, 1 at the place that counts most.
        """
        scores = self.weigh(self.look(maps).tanh())
        weights = scores.flatten(1).softmax(1).view_as(scores)
        attention = weights / torch.amax(weights, dim=(2, 3), keepdim=True)
        return maps * (weights / torch.mean(weights, dim=(2, 3), keepdim=True)), attention[:, 0]


def mien_pooling(recipe: NetworkRecipe, classes: int) -> ExpressionNetwork:
    """`mien_vgg` of the same recipe, whose last map is averaged with learned weights."""
    network = mien_vgg(recipe, classes)
    pooling = AttentionPooling(network.expression.in_features)
    network.features = nn.Sequential(network.features, pooling)
    return network
