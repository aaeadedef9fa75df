"""Muon: orthogonal steps for filters, SGD's for all else, and a state that goes on where it was."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mien.errors import ConfigError
from mien.training.fit import fit, matrix_dtype
from mien.training.optimizer import Muon, make_optimizer, orthogonal
from mien.training.recipe import FitRecipe, NetworkRecipe
from mien.training.zoo import build_network
from tests.lessons import KilledError, die, drawn, tiny


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(96, 3)
    )


def steps(network: nn.Module, optimizer: torch.optim.Optimizer, number: int = 3) -> None:
    for i in range(number):
        pixels = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(i))
        optimizer.zero_grad()
        network(pixels).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (9, 9)])
def test_singular_values_become_one_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    assert s.max() / s.min() > 1.5
    turned = u.T @ orthogonal(matrix) @ v.T
    values = turned.diagonal()
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert turned == pytest.approx(torch.diag(values), abs=1e-4)


def test_few_digits_do_not_hide_what_is_small() -> None:
    """bfloat16 cannot tell the squares of the smaller half of these from nothing."""
    sizes = torch.logspace(0, -3, 24)
    matrix = sizes[:, None] * torch.randn(24, 90, generator=torch.Generator().manual_seed(0))
    exact = orthogonal(matrix)
    assert (orthogonal(matrix.bfloat16()) - exact).norm() < 0.01 * exact.norm()


def test_a_gradient_of_zero_moves_nothing() -> None:
    assert orthogonal(torch.zeros(4, 9)).abs().sum() == 0


def plain_groups(network: nn.Module) -> list[dict[str, Any]]:
    return make_optimizer(network, FitRecipe(weight_decay=0.01)).param_groups


def test_all_but_filters_move_as_with_sgd() -> None:
    fitting = FitRecipe(learning_rate=0.1, weight_decay=0.01)
    one, other = small(), small()
    plain = make_optimizer(one, fitting)
    assert isinstance(plain, torch.optim.SGD)
    groups = [{key: g[key] for key in ("params", "weight_decay")} for g in plain_groups(other)]
    muon = Muon(groups, lr=0.1, momentum=0.9)
    steps(one, plain)
    steps(other, muon)
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert mine.detach().numpy() == pytest.approx(theirs.detach().numpy(), abs=1e-6)


def test_filters_keep_their_length_and_step_by_the_rate() -> None:
    network = small()
    optimizer = make_optimizer(network, FitRecipe(muon_rate=0.03))
    steps(network, optimizer, 1)
    filters = network[0].weight
    assert isinstance(filters, Tensor)
    before = filters.detach() * (len(filters) ** 0.5 / filters.detach().norm())
    steps(network, optimizer, 1)
    moved = (filters.detach() - before).reshape(6, 9)
    values = torch.linalg.svdvals(moved)
    assert values.max() == pytest.approx(0.03, rel=0.3)
    assert values.min() == pytest.approx(0.03, rel=0.4)


def test_a_run_with_muon_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    data = drawn(28, 0)
    recipe = tiny(epochs=2, batch=8, muon_rate=0.05)
    whole = fit(recipe, data, data, tmp_path / "whole").state_dict()
    with pytest.raises(KilledError):
        fit(recipe, data, data, tmp_path / "halved", report=die)
    halved = fit(recipe, data, data, tmp_path / "halved", resume=True).state_dict()
    assert whole.keys() == halved.keys()
    assert all(torch.equal(whole[name], halved[name]) for name in whole)


def test_only_filters_whose_length_is_normalised_away_are_given_one() -> None:
    network = build_network(NetworkRecipe(name="mien_attention"))
    *_, muon = make_optimizer(network, FitRecipe(muon_rate=0.03)).param_groups
    assert muon["orthogonal"]
    ours = {id(p) for p in muon["params"]}
    named = {name for name, p in network.named_parameters() if p.ndim == 4 and id(p) not in ours}
    assert named == {"features.gate.weigh.weight"}  # of a map that a sigmoid reads
    bare = build_network(NetworkRecipe(name="transfer"))
    with pytest.raises(ConfigError, match=r"fit\.muon_rate: expected 0.*has none"):
        make_optimizer(bare, FitRecipe(muon_rate=0.03))


@pytest.mark.parametrize("name", ["mien_vgg", "resnet18", "vgg19"])
def test_muon_takes_every_filter_of_networks_that_normalise_all(name: str) -> None:
    network = build_network(NetworkRecipe(name=name))
    *_, muon = make_optimizer(network, FitRecipe(muon_rate=0.03)).param_groups
    # In the network's own order, so that runs of old go on.
    filters = [p for p in network.parameters() if p.ndim == 4]
    assert [id(p) for p in muon["params"]] == [id(p) for p in filters]


def test_the_benchmark_measures_muon_as_it_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    from mien.training import benchmark
    from mien.training import fit as loop

    monkeypatch.setattr(loop, "_computes_in_bfloat16", lambda: True)
    optimizer: Any = benchmark._set_up(tiny(muon_rate=0.05), loop.make_fabric("32-true"))[1]
    assert optimizer.optimizer._matrix_dtype == torch.bfloat16


@pytest.mark.parametrize(("generation", "kind"), [(7, torch.float32), (8, torch.bfloat16)])
def test_bfloat16_that_a_gpu_emulates_is_not_taken(
    generation: int, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A T4 and a V100 do, and are slower by it."""
    found = SimpleNamespace(major=generation)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: found)
    monkeypatch.setattr(
        torch.cuda, "_check_bf16_tensor_supported", lambda _device: True, raising=False
    )
    assert matrix_dtype() == kind
