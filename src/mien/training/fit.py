"""The training loop, read from top to bottom. Imports torch and its siblings in this package.

Every epoch draws its randomness from (seed, epoch) alone and ends with a checkpoint that holds
everything else, so a run that is killed and resumed ends with the weights of one that was not.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from mien.datasets import FaceCrops
from mien.errors import ConfigError, DatasetError, ModelError
from mien.preprocess import network_input, resize_crop
from mien.training.augment import augment
from mien.training.framing import detected_framings, whole_picture
from mien.training.recipe import FitRecipe, Recipe
from mien.training.zoo import FERPLUS_CLASSES, ExpressionNetwork, build_network
from mien.types import UInt8Array

CHECKPOINT = "checkpoint.pt"
_NOT_A_FACE = 9  # column of the FER+ votes


@dataclass(frozen=True)
class EpochReport:
    """What one epoch did. Times cover training and validation; accuracy is a fraction."""

    epoch: int
    epochs: int
    size_px: int
    learning_rate: float
    loss: float
    accuracy: float
    images_per_s: float
    wall_s: float
    cpu_s: float


def precision(setting: str = "auto") -> torch.dtype | None:
    """The type for mixed precision on this machine: bfloat16 where the CPU computes in it."""
    if setting == "auto":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if native else None
    return {"bf16": torch.bfloat16, "fp32": None}[setting]


def fit(
    recipe: Recipe,
    train: FaceCrops,
    validation: FaceCrops,
    out: Path,
    *,
    resume: bool = False,
    threads: int | None = None,
    report: Callable[[EpochReport], None] = lambda epoch: None,
    note: Callable[[str], None] = lambda text: None,
) -> ExpressionNetwork:
    """Train the recipe's network and return it with its averaged weights, in eval mode.

    Args:
        recipe: everything that decides the result, with the data.
        train, validation: rows to learn from, and rows to watch (never learned from).
        out: folder for `checkpoint.pt`, `log.csv` and cached detections.
        resume: go on from the checkpoint in `out`.
        threads: CPU threads; None leaves torch's choice.
        report: called after each epoch. note: called with a line on what is going on.

    Raises:
        ConfigError: the checkpoint belongs to another recipe, or the loss became NaN.
        DatasetError: nothing is left to train on.
    """
    if threads:
        torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    fingerprint = train.fingerprint()
    images, labels, votes, framings, found = _training_tensors(recipe, train, out, note)
    fitting = recipe.fit
    steps = math.ceil(len(images) / fitting.batch)

    torch.manual_seed(fitting.seed)
    network = _channels_last(build_network(recipe.network))
    average = _channels_last(build_network(recipe.network))
    average.load_state_dict(network.state_dict())
    average.eval().requires_grad_(False)
    optimizer = _optimizer(network, fitting)
    autocast = precision()

    first, log = 0, _Log(out / "log.csv", fresh=not resume)
    if resume:
        state = _load_checkpoint(out / CHECKPOINT, recipe, fingerprint)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"]
        note(f"resuming after epoch {first} of {fitting.epochs}")

    for epoch in range(first, fitting.epochs):
        began, cpu_began = time.monotonic(), time.process_time()
        generator = Generator().manual_seed(fitting.seed * 100_003 + epoch)
        torch.manual_seed(fitting.seed * 100_003 + epoch)  # dropout draws from the global one
        size_px = _resolution(fitting, epoch)
        variation = recipe.augment
        if (epoch + 0.5) / fitting.epochs > 1 - recipe.augment.calm:
            variation = recipe.augment.calmed()
        network.train()
        total = 0.0
        for step, rows in enumerate(_batches(len(images), fitting.batch, generator)):
            rate = _learning_rate(fitting, epoch * steps + step, steps * fitting.epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate
            realigned = torch.rand(len(rows), generator=generator) < recipe.data.aligned_share
            framing = torch.where(
                (realigned & found[rows]).view(-1, 1, 1),
                framings[rows],
                framings.new_tensor([[1, 0, 0], [0, 1, 0]]),
            )
            crops = augment(images[rows], framing, size_px, variation, generator)
            pixels = _network_pixels(crops, recipe)
            with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
                expression, _, ferplus = network(pixels)
            loss = F.cross_entropy(
                expression.float(),
                labels[rows],
                label_smoothing=fitting.label_smoothing,
            )
            if votes is not None and fitting.ferplus_weight:
                loss = loss + fitting.ferplus_weight * _vote_loss(ferplus.float(), votes[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            age = epoch * steps + step
            _update_average(average, network, min(fitting.ema, (1 + age) / (10 + age)))
            total += loss.item()
        if not math.isfinite(total):
            raise ConfigError(
                f"{out}: the loss became {total} in epoch {epoch + 1}. Lower fit.learning_rate "
                "and train again"
            )
        trained_s = time.monotonic() - began
        accuracy = _accuracy(average, validation, recipe, size_px, autocast)
        _save_checkpoint(
            out / CHECKPOINT,
            recipe,
            fingerprint,
            epoch + 1,
            network,
            average,
            optimizer,
        )
        done = EpochReport(
            epoch + 1,
            fitting.epochs,
            size_px,
            rate,
            total / steps,
            accuracy,
            len(images) / trained_s,
            time.monotonic() - began,
            time.process_time() - cpu_began,
        )
        log.write(done)
        report(done)
    return average


def _training_tensors(
    recipe: Recipe, train: FaceCrops, out: Path, note: Callable[[str], None]
) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]:
    """Images, labels, vote shares, framings and which rows have one; unusable rows left out."""
    usable = np.ones(len(train), bool)
    if train.votes is not None:
        usable = train.votes[:, _NOT_A_FACE] <= recipe.data.max_not_face_votes
    if not usable.any():
        raise DatasetError("no picture to train on: FER+ calls every one of them 'not a face'")
    framings, found = whole_picture(len(train)), np.zeros(len(train), bool)
    if recipe.data.aligned_share:
        note("finding the faces in the training pictures (kept for later runs)")
        framings, found = detected_framings(
            train, recipe.data, out, lambda done, n: note(f"  {done:,} of {n:,}")
        )
        note(f"faces found in {found.mean():.1%} of the training pictures")
    votes = None
    if train.votes is not None:
        counts = torch.from_numpy(train.votes[usable, :FERPLUS_CLASSES]).float()
        votes = counts / counts.sum(1, keepdim=True).clamp(min=1)
    return (
        torch.from_numpy(train.images[usable]),
        torch.from_numpy(train.labels[usable]),
        votes,
        torch.from_numpy(framings[usable]),
        torch.from_numpy(found[usable]),
    )


def _batches(n: int, size: int, generator: Generator) -> Iterator[Tensor]:
    """A fresh order of all rows, cut into batches; a last lone row joins the batch before it."""
    order = torch.randperm(n, generator=generator)
    yield from torch.tensor_split(order, math.ceil(n / size))


def _network_pixels(crops: Tensor, recipe: Recipe) -> Tensor:
    """Augmented crops `(B, 1, S, S)` through the preprocessing that inference uses."""
    rounded = crops[:, 0].round().to(torch.uint8).numpy()
    pixels = network_input(rounded, normalization=recipe.data.normalization)
    return torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)


def _vote_loss(logits: Tensor, votes: Tensor) -> Tensor:
    """Cross-entropy with the share of FER+ votes; rows without a vote for a class add nothing."""
    return -(votes * logits.log_softmax(1)).sum(1).mean()


def _optimizer(network: nn.Module, fitting: FitRecipe) -> torch.optim.SGD:
    matrices = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return torch.optim.SGD(
        [
            {"params": matrices, "weight_decay": fitting.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=fitting.learning_rate,
        momentum=fitting.momentum,
        nesterov=True,
    )


def _learning_rate(fitting: FitRecipe, step: int, total: int) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    warmup = max(1, round(fitting.warmup * total))
    if step < warmup:
        return fitting.learning_rate * (step + 1) / warmup
    return (
        fitting.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
    )


def _resolution(fitting: FitRecipe, epoch: int) -> int:
    """Small pictures first: cheaper epochs teach the coarse shapes (Tan & Le, ICML 2021)."""
    progress = (epoch + 0.5) / fitting.epochs
    return next(px for share, px in fitting.resolutions if progress <= share)


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights; the first steps average over fewer."""
    mine, theirs = average.state_dict(), network.state_dict()
    floating = [name for name, value in mine.items() if value.is_floating_point()]
    torch._foreach_lerp_(
        [mine[name] for name in floating],
        [theirs[name] for name in floating],
        1 - decay,
    )


def _channels_last(network: ExpressionNetwork) -> ExpressionNetwork:
    """The same network with its filters laid out as the CPU's convolutions want them."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


@torch.inference_mode()
def predict_logits(
    network: ExpressionNetwork,
    images: UInt8Array,
    recipe: Recipe,
    size_px: int,
    autocast: torch.dtype | None = None,
) -> Tensor:
    """Expression logits `(N, 7)` of grey crops `uint8 (N, H, W)` at `size_px`.

    `autocast` computes in a shorter type: quicker, and good enough to watch a run.
    """
    network.eval()
    logits = []
    for start in range(0, len(images), 256):
        crops = np.stack([resize_crop(image, size_px) for image in images[start : start + 256]])
        pixels = torch.from_numpy(network_input(crops, normalization=recipe.data.normalization))
        with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
            answer = network(pixels.contiguous(memory_format=torch.channels_last))[0]
        logits.append(answer.float())
    return torch.cat(logits)


def _accuracy(
    network: ExpressionNetwork,
    data: FaceCrops,
    recipe: Recipe,
    size_px: int,
    autocast: torch.dtype | None,
) -> float:
    logits = predict_logits(network, data.images, recipe, size_px, autocast)
    return float((logits.argmax(1).numpy() == data.labels).mean())


class _Log:
    """One CSV row an epoch, appended, so that a resumed run keeps its history."""

    def __init__(self, path: Path, fresh: bool) -> None:
        self._path = path
        if fresh or not path.is_file():
            with path.open("w", newline="") as file:
                csv.writer(file).writerow(EpochReport.__dataclass_fields__)

    def write(self, row: EpochReport) -> None:
        with self._path.open("a", newline="") as file:
            csv.writer(file).writerow(vars(row).values())


def _save_checkpoint(
    path: Path,
    recipe: Recipe,
    fingerprint: str,
    epoch: int,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    state = {
        "recipe": recipe.to_dict(),
        "data": fingerprint,
        "epoch": epoch,
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    partial.replace(path)  # a kill while writing leaves the last complete checkpoint


def _load_checkpoint(path: Path, recipe: Recipe, fingerprint: str) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"{path}: no checkpoint to resume from. Train without --resume first")
    state: dict[str, Any] = torch.load(path, weights_only=True)
    if state["recipe"] != recipe.to_dict():
        raise ConfigError(
            f"{path}: belongs to another recipe. Resume with the recipe it was started with, or "
            "choose another --out"
        )
    if state["data"] != fingerprint:
        raise DatasetError(f"{path}: was trained on other data than was given now")
    return state
