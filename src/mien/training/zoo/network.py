"""What every network takes and returns. Imports torch and types only."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from mien.types import FERPLUS_EXPRESSIONS


class Output(NamedTuple):
    """What a network says about N crops.

    Attributes:
        expression: logits `(N, K)`.
        embedding: `(N, D)`, the features behind them.
        ferplus: logits of the auxiliary head `(N, 8)`, in the order of `FERPLUS_EXPRESSIONS`.
        attention: `(N, h, w)` in 0..1, where it looked; None for networks that look everywhere.
    """

    expression: Tensor
    embedding: Tensor
    ferplus: Tensor
    attention: Tensor | None


class ExpressionNetwork(nn.Module):
    """Features, averaged over the picture, with a head for the expression and one for FER+ votes.

    Args:
        features: `(N, 1, S, S)` to `(N, D, h, w)`, or to these and the attention `(N, h', w')`.
        width: D.
        dropout: on the embedding, before the heads.
        classes: K.
    """

    def __init__(self, features: nn.Module, width: int, dropout: float, classes: int) -> None:
        super().__init__()
        self.features = features
        self.dropout = nn.Dropout(dropout)
        self.expression = nn.Linear(width, classes)
        self.ferplus = nn.Linear(width, len(FERPLUS_EXPRESSIONS))
        self._frozen = False

    def freeze_features(self) -> None:
        """Let the heads alone learn: features keep their weights and their running averages."""
        self.features.requires_grad_(False)
        self._frozen = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As of every module; frozen features stay as they are when they are used."""
        super().train(mode)
        if self._frozen:
            self.features.eval()
        return self

    def forward(self, pixels: Tensor) -> Output:
        """`float32 (N, 1, S, S)` to an `Output`."""
        found = self.features(pixels)
        maps, attention = found if isinstance(found, tuple) else (found, None)
        embedding = torch.mean(maps, dim=(2, 3))
        kept = self.dropout(embedding)
        return Output(self.expression(kept), embedding, self.ferplus(kept), attention)


def channels_last(network: ExpressionNetwork) -> ExpressionNetwork:
    """The same network with its filters laid out as convolutions want them."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def convolution_layers(inputs: int, outputs: int) -> list[nn.Module]:
    """A 3x3 convolution, batch normalisation and ReLU, to be strung together."""
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]
