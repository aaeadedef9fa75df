"""The networks, by name. Imports torch and the recipe.

Every network takes `float32 (N, 1, S, S)` and returns logits `(N, 7)` and an embedding
`(N, D)`; during training it also returns the logits of the auxiliary FER+ head `(N, 8)`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.training.recipe import NetworkRecipe
from mien.types import EXPRESSIONS

FERPLUS_CLASSES = 8  # neutral ... contempt, without "unknown" and "not a face"


class ExpressionNetwork(nn.Module):
    """A feature extractor with a head for the expression and one for FER+ votes."""

    def __init__(self, features: nn.Module, width: int, dropout: float) -> None:
        super().__init__()
        self.features = features
        self.dropout = nn.Dropout(dropout)
        self.expression = nn.Linear(width, len(EXPRESSIONS))
        self.ferplus = nn.Linear(width, FERPLUS_CLASSES)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(N, 1, S, S)` to expression logits `(N, 7)`, embedding `(N, D)`, FER+ logits."""
        embedding = self.features(pixels).mean(dim=(2, 3))
        kept = self.dropout(embedding)
        return self.expression(kept), embedding, self.ferplus(kept)


def mien_vgg(recipe: NetworkRecipe) -> ExpressionNetwork:
    """A compact VGG (Simonyan & Zisserman, ICLR 2015): stages of 3x3 convolutions, each followed
    by batch normalisation, with the map halved between stages and averaged at the end.

    Few channels in the first stage keep its full resolution affordable. A strided first layer
    would be cheaper still, but learns worse (docs/experiments.md).
    """
    layers: list[nn.Module] = []
    inputs = 1
    for stage, (width, depth) in enumerate(zip(recipe.widths, recipe.depths, strict=True)):
        if stage:
            layers.append(nn.MaxPool2d(2))
        for _ in range(depth):
            layers += [
                nn.Conv2d(inputs, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            inputs = width
    return ExpressionNetwork(nn.Sequential(*layers), inputs, recipe.dropout)


NETWORKS: dict[str, Callable[[NetworkRecipe], ExpressionNetwork]] = {"mien_vgg": mien_vgg}


def build_network(recipe: NetworkRecipe) -> ExpressionNetwork:
    """The network that the recipe names, with fresh weights.

    Raises:
        ConfigError: no network of that name.
    """
    if recipe.name not in NETWORKS:
        raise ConfigError(f"network.name: expected one of {', '.join(NETWORKS)}")
    return NETWORKS[recipe.name](recipe)


def count_parameters(network: nn.Module) -> int:
    """Number of trained weights."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, size_px: int) -> int:
    """Multiply-accumulates of convolutions and matrices for one picture of `size_px`."""
    total = 0

    def add(module: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            per_output = module.weight[0].numel()
        else:
            assert isinstance(module, nn.Linear)
            per_output = module.in_features
        total += output[0].numel() * per_output

    hooks = [
        module.register_forward_hook(add)
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    was_training = network.training
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, 1, size_px, size_px))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return total
