"""How fast training is, and what everything around the network costs. Imports torch and siblings.

The whole loop (`fit`, on made-up pictures) and the bare forward-backward-step on one prepared batch
take turns on the same machine, so that both meet the same load. The yardstick is the machine's own
matrix product: the rate at which it multiplies two large matrices in the same precision.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Generator, nn

from mien.datasets import FaceCrops
from mien.training.augment import draw_variations
from mien.training.checkpoint import EpochReport
from mien.training.data import Batch, make_batch, training_rows
from mien.training.fit import batch_loss, fit, make_fabric, matrix_dtype
from mien.training.optimizer import make_optimizer
from mien.training.recipe import NetworkRecipe, Recipe
from mien.training.zoo import build_network, channels_last, count_macs

_PRODUCT = 2048  # rows and columns of the matrices of the yardstick
_PASSES = 3  # forward, and backward through weights and through inputs: each is as much work


def passes_of(network: NetworkRecipe) -> int:
    """How often a step of training does the work of the network: of a frozen one, forward alone."""
    return 1 if network.frozen else _PASSES


@dataclass(frozen=True)
class TrainingSpeed:
    """Medians over the rounds.

    Attributes:
        precision, device, threads: where it was measured.
        size_px, batch, macs: what was trained.
        passes: how often a step does that work: see `passes_of`.
        whole, bare: pictures a second of the whole loop and of the network alone.
        overhead: how much longer the whole loop takes, 0.1 for a tenth.
        gmacs: multiply-accumulates a second of the whole loop, in units of 10^9.
        peak_gmacs: the same of the matrix product.
    """

    precision: str
    device: str
    threads: int
    size_px: int
    batch: int
    macs: int
    passes: int
    whole: float
    bare: float
    overhead: float
    gmacs: float
    peak_gmacs: float


def benchmark_training(
    recipe: Recipe,
    *,
    precision: str = "auto",
    threads: int | None = None,
    steps: int = 20,
    rounds: int = 5,
) -> TrainingSpeed:
    """Measure a recipe at its last resolution.

    Args:
        recipe: the network, batch size and augmentation.
        precision: see `make_fabric`.
        threads: CPU threads; None leaves torch's choice.
        steps: training steps a round.
        rounds: how often both are measured, by turns.
    """
    if threads:
        torch.set_num_threads(threads)
    size = recipe.fit.last_px
    batch = recipe.fit.batch
    # Faces are detected, and most teachers asked, once before a run: no part of its speed. Nor are
    # teachers that look at views: how much they cost is for whoever chooses them.
    fitting = replace(
        recipe.fit,
        epochs=rounds + 1,
        resolutions=((1.0, size),),
        teachers=(),
        expected_from="votes",
    )
    init = recipe.init if recipe.network.frozen else ""  # heads on nothing are refused
    recipe = replace(recipe, init=init, fit=fitting, data=replace(recipe.data, aligned_share=0.0))
    data = _made_up(batch * steps, recipe.data.classes)
    fabric = make_fabric(precision)
    network, optimizer = _set_up(recipe, fabric)
    prepared = Batch(*fabric.to_device(_one_batch(recipe, data, size)))
    bare: list[float] = []
    whole: list[float] = []
    peak: list[float] = []

    def take_turns(done: EpochReport) -> None:
        whole.append(done.images_per_s)
        began = time.perf_counter()
        for _ in range(steps):
            loss = batch_loss(network, prepared, fitting) / batch
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(loss)
            optimizer.step()
        _wait()
        bare.append(batch * steps / (time.perf_counter() - began))
        peak.append(_product_rate(fabric.device, _computed_in(fabric)))

    with tempfile.TemporaryDirectory() as folder:
        fit(recipe, data, data.select(np.arange(len(data)) < 7), Path(folder), fabric=fabric,
            report=take_turns)  # fmt: skip
    macs = count_macs(build_network(recipe.network, classes=len(recipe.data.classes)), size)
    # The first round warms up.
    passes = passes_of(recipe.network)
    ratio = median(b / w for b, w in zip(bare[1:], whole[1:], strict=True))
    return TrainingSpeed(
        precision=str(fabric._precision.precision),
        device=fabric.device.type,
        threads=torch.get_num_threads(),
        size_px=size,
        batch=batch,
        macs=macs,
        passes=passes,
        whole=median(whole[1:]),
        bare=median(bare[1:]),
        overhead=ratio - 1,
        gmacs=median(whole[1:]) * macs * passes / 1e9,
        peak_gmacs=median(peak[1:]) / 1e9,
    )


def _made_up(n: int, classes: tuple[str, ...]) -> FaceCrops:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 48, 48), np.uint8)
    labels = rng.integers(0, len(classes), n)
    votes = rng.integers(0, 2, (n, 10)).astype(np.uint8)
    return FaceCrops(images, labels, votes, tuple(map(str, range(n))), classes=classes)


def _set_up(recipe: Recipe, fabric: Fabric) -> tuple[nn.Module, torch.optim.Optimizer]:
    network = channels_last(build_network(recipe.network, classes=len(recipe.data.classes)))
    optimizer = make_optimizer(network, recipe.fit, matrix_dtype())
    module, optimizer = fabric.setup(network, optimizer)
    return module.train(), optimizer


def _one_batch(recipe: Recipe, data: FaceCrops, size_px: int) -> Batch:
    rows = training_rows(recipe, data, Path(), lambda text: None)
    n = recipe.fit.batch
    dice = draw_variations(n, size_px, recipe.augment, Generator().manual_seed(0))
    chosen = torch.arange(n) % len(rows)
    return make_batch(rows, chosen, torch.zeros(n, dtype=torch.bool), size_px, dice, recipe)


def _computed_in(fabric: Fabric) -> torch.dtype:
    kind = str(fabric._precision.precision)
    if "bf16" in kind:
        return torch.bfloat16
    return torch.float16 if "16" in kind else torch.float32


def _product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Multiply-accumulates a second of a large matrix product."""
    a = torch.randn(_PRODUCT, _PRODUCT, device=device, dtype=dtype)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        a @ a
        _wait()
        times.append(time.perf_counter() - began)
    return float(_PRODUCT**3 / median(times))


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def format_speed(speed: TrainingSpeed) -> str:
    """The measurement as text."""
    share = speed.gmacs / speed.peak_gmacs
    work = "forward alone: the network is frozen"
    if speed.passes > 1:
        work = "forward, backward to inputs, backward to weights"
    return "\n".join(
        [
            f"{speed.device}, {speed.threads} threads, {speed.precision}; batch {speed.batch} at "
            f"{speed.size_px} px, {speed.macs / 1e6:.1f} MMAC a picture",
            f"whole loop           {speed.whole:8.1f} pictures/s",
            f"network alone        {speed.bare:8.1f} pictures/s; all around it costs "
            f"{speed.overhead:.1%}",
            f"arithmetic           {speed.gmacs:8.1f} GMAC/s (pictures/s x MAC x "
            f"{speed.passes}: {work})",
            f"matrix product       {speed.peak_gmacs:8.1f} GMAC/s on this machine in the same "
            f"precision; the loop reaches {share:.0%} of it",
        ]
    )
