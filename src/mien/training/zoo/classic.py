"""VGG19 and ResNet18 as torchvision has them, adapted to small grey pictures. Imports torchvision.

What is adapted: one input channel, no classifier (the features are averaged), and fewer halvings:
what is left of a 48-pixel picture in the last layers is more than one place.
"""

from __future__ import annotations

from torch import nn
from torchvision import models

from mien.training.recipe import NetworkRecipe
from mien.training.zoo.network import ExpressionNetwork


def vgg19(recipe: NetworkRecipe, classes: int) -> ExpressionNetwork:
    """VGG19 with batch normalisation (Simonyan & Zisserman, ICLR 2015), 20 million weights.

    The last halving is left out, as what is left of a small picture is averaged anyway; where the
    first layer halves it already (the recipe's `stem_stride` of 2), the last but one is, too.
    """
    layers = list(models.vgg19_bn(weights=None).features)
    halvings = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    left_out = halvings[-2:] if recipe.stem_stride > 1 else halvings[-1:]
    features = nn.Sequential(*(layer for i, layer in enumerate(layers) if i not in left_out))
    features[0] = _first_layer(recipe.stem_stride)
    # Batch normalisation takes the mean away again: a convolution's own offset is idle.
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            layer.bias = None
    return ExpressionNetwork(features, 512, recipe.dropout, classes)


def resnet18(recipe: NetworkRecipe, classes: int) -> ExpressionNetwork:
    """ResNet18 (He et al., CVPR 2016), 11 million weights.

    The first layer is 3x3 with the recipe's `stem_stride` instead of 7x7 with stride 2 and a
    pooling layer: at stride 1 the first stage sees every pixel, at stride 2 it costs a quarter.
    """
    network = models.resnet18(weights=None)
    features = nn.Sequential(
        _first_layer(recipe.stem_stride),
        network.bn1,
        network.relu,
        network.layer1,
        network.layer2,
        network.layer3,
        network.layer4,
    )
    return ExpressionNetwork(features, 512, recipe.dropout, classes)


def _first_layer(stride: int) -> nn.Conv2d:
    """3x3 on one channel, started as torchvision starts the other layers (He et al., ICCV 2015)."""
    layer = nn.Conv2d(1, 64, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
