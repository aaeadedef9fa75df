"""A compact VGG. Imports torch and the recipe."""

from __future__ import annotations

from torch import nn

from mien.training.recipe import NetworkRecipe
from mien.training.zoo.network import ExpressionNetwork, convolution_layers


def mien_vgg(recipe: NetworkRecipe, classes: int) -> ExpressionNetwork:
    """A compact VGG (Simonyan & Zisserman, ICLR 2015).

    Stages of 3x3 convolutions, each followed by batch normalisation, with the map halved between
    stages and averaged at the end. Few channels in the first stage keep its full resolution
    affordable; a strided first layer would be cheaper still, but learns worse
    (docs/experiments.md).
    """
    layers: list[nn.Module] = []
    inputs = 1
    for stage, (width, depth) in enumerate(zip(recipe.widths, recipe.depths, strict=True)):
        if stage:
            layers.append(nn.MaxPool2d(2))
        for _ in range(depth):
            layers += convolution_layers(inputs, width)
            inputs = width
    return ExpressionNetwork(nn.Sequential(*layers), inputs, recipe.dropout, classes)
