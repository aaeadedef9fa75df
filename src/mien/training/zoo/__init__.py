"""The networks, by name. Imports torch, torchvision and the recipe.

`network.py` says what every network takes and returns; the other files each hold one family.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.training.recipe import NetworkRecipe
from mien.training.zoo.attention import mien_attention, mien_pooling
from mien.training.zoo.classic import resnet18, vgg19
from mien.training.zoo.network import ExpressionNetwork, Output, channels_last
from mien.training.zoo.transfer import transfer
from mien.training.zoo.vgg import mien_vgg
from mien.types import EXPRESSIONS

__all__ = [
    "NETWORKS",
    "ExpressionNetwork",
    "Output",
    "build_network",
    "channels_last",
    "count_macs",
    "count_parameters",
]

NETWORKS: dict[str, Callable[[NetworkRecipe, int], ExpressionNetwork]] = {
    "mien_vgg": mien_vgg,
    "mien_attention": mien_attention,
    "mien_pooling": mien_pooling,
    "vgg19": vgg19,
    "resnet18": resnet18,
    "transfer": transfer,
}


def build_network(recipe: NetworkRecipe, classes: int = len(EXPRESSIONS)) -> ExpressionNetwork:
    """The network that the recipe names, with fresh weights; `recipe.frozen` freezes its features.

    Raises:
        ConfigError: no network of that name.
    """
    if recipe.name not in NETWORKS:
        raise ConfigError(
            f"network.name: expected one of {', '.join(NETWORKS)}, found {recipe.name!r}"
        )
    network = NETWORKS[recipe.name](recipe, classes)
    if recipe.frozen:
        network.freeze_features()
    return network


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
