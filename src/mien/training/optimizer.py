"""How weights follow their gradients. Imports torch, errors and its sibling recipe."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.training.recipe import FitRecipe

#: Of the quintic iteration in Jordan et al. (2024): steep at zero, so that small singular values
#: grow fast, and settling between 0.7 and 1.2 instead of exactly at 1.
_QUINTIC: Final = (3.4445, -4.7750, 2.0315)
_ITERATIONS: Final = 5


def make_optimizer(
    network: nn.Module, fitting: FitRecipe, matrix_dtype: torch.dtype = torch.float32
) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, and where `fitting.muon_rate` says so, Muon for the filters.

    Muon sets their length, so it takes only those of convolutions whose output is normalised next.
    Only matrices decay. `matrix_dtype` is what Muon's matrix products are computed in.

    Raises:
        ConfigError: Muon is asked for, and the network has no such filters.
    """
    parameters = list(network.parameters())
    filters = normalized_filters(network) if fitting.muon_rate > 0 else []
    if fitting.muon_rate > 0 and not filters:
        raise ConfigError(
            f"fit.muon_rate: expected 0, found {fitting.muon_rate}: Muon is for filters that batch "
            "normalisation follows, of which this network has none"
        )
    matrices = [p for p in parameters if p.ndim > 1 and not any(p is f for f in filters)]
    others = [p for p in parameters if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": fitting.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    rate, momentum = fitting.learning_rate, fitting.momentum
    if not filters:
        return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=True)
    groups.append({"params": filters, "orthogonal": True, "rate": fitting.muon_rate / rate})
    return Muon(groups, lr=rate, momentum=momentum, matrix_dtype=matrix_dtype)


def normalized_filters(network: nn.Module) -> list[Tensor]:
    """The filters of every convolution that batch normalisation follows among its modules."""
    return [
        layer.weight
        for layer, after in pairwise(network.modules())
        if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d)
    ]


class Muon(torch.optim.Optimizer):
    """SGD with Nesterov momentum that takes orthogonal steps where a group asks for them.

    The momentum of a layer's filters, as a matrix of one row a filter, is replaced by the nearest
    matrix whose singular values are all about one: what few pictures ask for is learned as fast as
    what most do (Jordan et al., "Muon: an optimizer for hidden layers", 2024,
    https://kellerjordan.github.io/posts/muon). Filters are followed by a normalisation, so only
    their direction counts: they are kept at a length of one each on average, and need no decay.
    `torch.optim.Muon` takes matrices alone.

    Args:
        groups: parameters with their settings; `orthogonal` for filters `(out, in, k, k)`, and
            `rate`, the group's learning rate in those of the others.
        lr: learning rate; of an orthogonal step, the step's size in that of the weights.
        momentum: of all groups.
        matrix_dtype: what the steps are made orthogonal in.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float,
        matrix_dtype: torch.dtype = torch.float32,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": 0.0,
            "orthogonal": False,
            "rate": 1.0,
        }
        super().__init__(groups, defaults)
        self._matrix_dtype = matrix_dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                push = p.grad + group["weight_decay"] * p
                state = self.state[p]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                memory = state["momentum_buffer"]
                memory.mul_(group["momentum"]).add_(push)
                push = push + group["momentum"] * memory
                if group["orthogonal"]:
                    p.mul_(len(p) ** 0.5 / p.norm().clamp(min=1e-7))
                    rows = push.reshape(len(p), -1).to(self._matrix_dtype)
                    push = orthogonal(rows).to(p.dtype).reshape(p.shape)
                p.add_(push, alpha=-group["lr"] * group["rate"])


def orthogonal(matrix: Tensor) -> Tensor:
    """The same singular vectors with singular values of about one (0.7 to 1.2); zeros stay.

    A polynomial of the matrix, applied again and again (Newton-Schulz), needs products only. Each
    application multiplies the matrix by a small square one from the left; all of those follow from
    the first square, so the matrix itself, which may be ten times as wide, is used only twice. The
    squares are float32 whatever the matrix is: where singular values are small, their squares are
    less than bfloat16 can tell from nothing, and grow with every step.
    """
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    wide: Tensor = matrix.T if tall else matrix
    wide = wide / wide.norm().clamp(min=1e-7)
    square = wide.float() @ wide.float().T
    turn = torch.eye(len(square), device=square.device)
    for _ in range(_ITERATIONS):
        factor = torch.addmm(square, square, square, beta=b, alpha=c)
        factor.diagonal().add_(a)
        turn = factor @ turn
        square = factor @ square @ factor
    wide = turn.to(wide.dtype) @ wide
    return wide.T if tall else wide
