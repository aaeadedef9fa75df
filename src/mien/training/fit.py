"""The training loop, read from top to bottom. Imports torch, Lightning Fabric and its siblings.

Every epoch draws its randomness from (seed, epoch) alone and ends with a checkpoint that holds
everything else, so a run that is killed at any moment and resumed ends with the weights of one
that was not (on a CPU: accelerators add in any order). Several processes (torchrun, SLURM) throw
the same dice and each take their rows of a batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Generator, Tensor, nn

from mien.datasets import FaceCrops
from mien.errors import ConfigError, DivergedError
from mien.models import find_model
from mien.preprocess import resize_crop
from mien.training.augment import draw_variations
from mien.training.checkpoint import (
    BEST,
    CHECKPOINT,
    LOG,
    EpochReport,
    Log,
    Origin,
    load_checkpoint,
    restate,
    save_best,
    save_checkpoint,
)
from mien.training.data import (
    Batch,
    TrainingRows,
    batch_rows,
    make_batch,
    network_pixels,
    steps_per_epoch,
    training_rows,
    usable_rows,
)
from mien.training.distributed import my_rows, processes, require_rows_for_all, sync_batch_norms
from mien.training.initial import load_weights
from mien.training.optimizer import make_optimizer
from mien.training.recipe import FitRecipe, Recipe
from mien.training.teachers import make_panel, require_teachers
from mien.training.zoo import ExpressionNetwork, Output, build_network, channels_last
from mien.types import UInt8Array

_CHECK_EVERY = 50  # steps between two looks at the loss: a look waits for the accelerator


def make_fabric(precision: str = "auto") -> Fabric:
    """The machinery for this process: device, precision, and its siblings if there are any.

    Under torchrun or SLURM every process calls this and finds the others. `precision` is Fabric's
    (`bf16-mixed`, `16-mixed`, `32-true`); `auto` takes bfloat16 where the device computes in it.

    Raises:
        ConfigError: SLURM was asked for processes that cannot find each other.
    """
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        precision = "bf16-mixed" if _computes_in_bfloat16() else "32-true"
    local, world = processes()
    fabric = Fabric(
        accelerator=accelerator,
        devices=local,
        num_nodes=max(1, world // local),
        # The first process may look for faces for hours, while the others wait.
        strategy=DDPStrategy(timeout=timedelta(days=1)) if world > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def _computes_in_bfloat16() -> bool:
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def matrix_dtype() -> torch.dtype:
    """What Muon's matrix products are computed in here, whatever the precision of the rest."""
    return torch.bfloat16 if _computes_in_bfloat16() else torch.float32


def fit(
    recipe: Recipe,
    train: FaceCrops,
    validation: FaceCrops,
    out: Path,
    *,
    fabric: Fabric | None = None,
    resume: bool = False,
    cache: Path | None = None,
    threads: int | None = None,
    report: Callable[[EpochReport], None] = lambda epoch: None,
    progress: Callable[[int, int], None] = lambda step, steps: None,
    note: Callable[[str], None] = lambda text: None,
) -> ExpressionNetwork:
    """Train the recipe's network and return it with its averaged weights, in eval mode.

    Args:
        recipe: everything that decides the result, with the data.
        train, validation: rows to learn from, and rows to watch (never learned from).
        out: folder for `checkpoint.pt`, `best.pt` and `log.csv`.
        fabric: device, precision and processes; None for `make_fabric()`.
        resume: go on from the checkpoint in `out`, if there is one yet: the first process looks.
        cache: folder for detections, which other runs may share; None for `out`.
        threads: CPU threads; None leaves torch's choice.
        report: called after each epoch. progress: called after each step with the number of steps
            done in this epoch and their total. note: called with a line on what is going on.

    Raises:
        ConfigError: `out` holds a run and `resume` was not asked for, the checkpoint belongs to
            another recipe, all that is to be frozen is fresh, Muon has nothing to move, labels are
            to be expected from teachers that know the rows, or there are more processes than pairs
            of rows in a batch.
        ModelError: the checkpoint or a model to start or learn from cannot be read.
        DatasetError: nothing is left to train on, or the checkpoint belongs to other data. All
            these before anything is written, or takes long.
        DivergedError: the loss became infinite or NaN.
    """
    _require_a_folder(out, resume=resume)
    require_a_start(recipe)
    if threads:
        torch.set_num_threads(threads)
    fabric = fabric or make_fabric()
    leads = fabric.global_rank == 0
    fitting = recipe.fit
    # All that may be refused is, before faces are found and teachers asked, which takes long.
    origin = Origin.of(recipe, train)
    begun = resume and fabric.broadcast((out / CHECKPOINT).is_file())
    state = load_checkpoint(out / CHECKPOINT, recipe, origin) if begun else None
    usable = usable_rows(recipe, train)
    steps = steps_per_epoch(int(usable.sum()), fitting.batch)
    require_rows_for_all(int(usable.sum()) // steps, fabric.world_size)
    bare, average = _start(fabric, recipe, len(train.classes), note)
    own_optimizer = make_optimizer(bare, fitting, matrix_dtype())
    out.mkdir(parents=True, exist_ok=True)
    rows = _rows_of_every_process(fabric, recipe, train, cache or out, note)
    panel = None
    if fitting.teachers and fitting.teachers_see == "views":
        panel = make_panel(recipe, train, usable, fabric.device, note)
    first, best = 0, -1.0
    if state is not None:
        bare.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        first, best = state["epoch"], state["best_accuracy"]
        note(f"resuming after epoch {first} of {fitting.epochs}")
        if leads:
            restate(out / CHECKPOINT, state, recipe)
    elif resume:
        note(f"{out}: holds no run to go on with, and so one begins")
    network, optimizer = fabric.setup(bare, own_optimizer)
    if state is not None:
        optimizer.load_state_dict(state["optimizer"])
        if state.get("precision"):  # empty in all precisions but one
            fabric._precision.load_state_dict(state["precision"])
    elif leads:
        (out / BEST).unlink(missing_ok=True)  # of a run whose checkpoint was taken away
    log = Log(out / LOG, first) if leads else None
    told, cpu_told = time.monotonic(), time.process_time()
    watched = validation

    for epoch in range(first, fitting.epochs):
        began = time.monotonic()
        generator = Generator().manual_seed(fitting.seed * 100_003 + epoch)
        # Dropout draws from the global generator, differently in every process.
        torch.manual_seed((fitting.seed * 100_003 + epoch) * 1009 + fabric.global_rank)
        size_px = _resolution(fitting, epoch)
        watched = _at_size(watched, validation, size_px)
        calm = (epoch + 0.5) / fitting.epochs > 1 - recipe.augment.calm
        augmentation = recipe.augment.calmed() if calm else recipe.augment
        network.train()
        total = torch.zeros((), device=fabric.device)
        for step, chosen in enumerate(
            batch_rows(rows, fitting.batch, recipe.data.balance, generator)
        ):
            n = len(chosen)
            variations = draw_variations(n, size_px, augmentation, generator)
            framed = torch.rand(n, generator=generator) < recipe.data.aligned_share
            mine = my_rows(n, fabric.global_rank, fabric.world_size)
            batch = make_batch(
                rows,
                chosen[mine],
                framed[mine],
                size_px,
                variations.rows(mine),
                recipe,
                fabric.device,
            )
            if panel is not None:
                with fabric.autocast():
                    opinions = panel.opinions(batch.pixels, chosen[mine])
                batch = batch.taught(opinions, fitting.teacher_weight)
            age = epoch * steps + step
            rate = _learning_rate(fitting, age, steps * fitting.epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate
            # Gradients are averaged over processes: each weighs by its share of the batch.
            loss = batch_loss(network, batch, fitting) * (fabric.world_size / n)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(loss)
            optimizer.step()
            _update_average(average, bare, min(fitting.ema, (1 + age) / (10 + age)))
            total += loss.detach()
            if step % _CHECK_EVERY == _CHECK_EVERY - 1 or step == steps - 1:
                _require_finite(total, out, epoch, step)
            progress(step + 1, steps)
        mean_loss = _mean_over_processes(fabric, total) / steps
        trained_s = time.monotonic() - began
        if leads:
            with fabric.autocast():
                accuracy = _accuracy(average, watched, recipe, size_px)
            # Only epochs of the size that is exported compare with one another.
            if size_px == fitting.last_px and accuracy > best:
                best = accuracy
                save_best(out / BEST, recipe, origin, epoch + 1, average)
            now, cpu_now = time.monotonic(), time.process_time()
            done = EpochReport(
                epoch=epoch + 1,
                epochs=fitting.epochs,
                size_px=size_px,
                learning_rate=rate,
                loss=mean_loss,
                accuracy=accuracy,
                images_per_s=len(rows) / trained_s,
                wall_s=now - told,
                cpu_s=cpu_now - cpu_told,
            )
            told, cpu_told = now, cpu_now
            assert log is not None
            log.write(done)
            save_checkpoint(
                out / CHECKPOINT,
                recipe,
                origin,
                epoch + 1,
                network=bare,
                average=average,
                optimizer=optimizer.optimizer,
                precision=fabric._precision.state_dict(),
                best_accuracy=best,
            )
            report(done)
        fabric.barrier()
    return average.cpu()


def _require_a_folder(out: Path, *, resume: bool) -> None:
    """Refuse to lose a run."""
    if (out / CHECKPOINT).is_file() and not resume:
        raise ConfigError(
            f"{out}: holds a run, which would be lost. --resume goes on with it, or choose "
            "another --out"
        )


def require_a_start(recipe: Recipe) -> None:
    """Refuse to teach heads on features that know nothing, and teachers that are not there.

    Raises:
        ConfigError: all that is to be frozen is fresh.
        ConfigError, ModelError: as of `require_teachers`.
    """
    require_teachers(recipe)
    if recipe.network.frozen and not recipe.network.weights and not recipe.init:
        raise ConfigError(
            "network.frozen: expected false where the network starts from fresh weights: its heads "
            "would have nothing to go by. Name a model to start from (--init)"
        )


def _rows_of_every_process(
    fabric: Fabric, recipe: Recipe, train: FaceCrops, cache: Path, note: Callable[[str], None]
) -> TrainingRows:
    """The same rows everywhere: the first process fills the cache of detections, the others read
    it.
    """
    if fabric.global_rank == 0:
        rows = training_rows(recipe, train, cache, note)
    fabric.barrier()
    if fabric.global_rank != 0:
        rows = training_rows(recipe, train, cache, lambda text: None)
    return rows


def _start(
    fabric: Fabric, recipe: Recipe, classes: int, note: Callable[[str], None]
) -> tuple[ExpressionNetwork, ExpressionNetwork]:
    """The network that is to learn, and the average of its weights, which is the same at first."""
    torch.manual_seed(recipe.fit.seed)
    network = build_network(recipe.network, classes=classes)
    if recipe.init:
        fresh = load_weights(network, find_model(recipe.init), recipe.data.classes)
        note(f"starting from {recipe.init}; fresh: {', '.join(fresh) or 'nothing'}")
    network = channels_last(network)
    average = channels_last(build_network(recipe.network, classes=classes))
    average.load_state_dict(network.state_dict())
    average.eval().requires_grad_(False).to(fabric.device)
    if fabric.world_size > 1:
        sync_batch_norms(network)
    return network, average


def batch_loss(network: nn.Module, batch: Batch, fitting: FitRecipe) -> Tensor:
    """The sum over the batch's rows of both heads' cross-entropies."""
    output = Output(*network(batch.pixels))
    loss = F.cross_entropy(output.expression.float(), batch.targets, reduction="sum")
    if batch.votes is None:
        # Processes that share a network expect every weight to take part.
        return loss + 0.0 * output.ferplus.float().sum()
    # Rows without a vote for any class add nothing.
    agreement = (batch.votes * output.ferplus.float().log_softmax(1)).sum()
    return loss - fitting.ferplus_weight * agreement


def _mean_over_processes(fabric: Fabric, value: Tensor) -> float:
    mean = fabric.all_reduce(value, reduce_op="mean")
    assert isinstance(mean, Tensor)
    return float(mean)


def _require_finite(total: Tensor, out: Path, epoch: int, step: int) -> None:
    if not math.isfinite(float(total)):
        begun = (out / CHECKPOINT).is_file()
        raise DivergedError(
            f"{out}: the loss became {float(total)} in epoch {epoch + 1}, before step {step + 2}. "
            "Lower fit.learning_rate and train again"
            + (" into another --out; the last checkpoint in this one is sound" if begun else "")
        )


def _learning_rate(fitting: FitRecipe, step: int, total: int) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    warmup = max(1, round(fitting.warmup * total))
    if step < warmup:
        return fitting.learning_rate * (step + 1) / warmup
    fallen = (step - warmup) / max(1, total - warmup)
    return fitting.learning_rate * 0.5 * (1 + math.cos(math.pi * fallen))


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


@torch.inference_mode()
def predict_outputs(
    network: ExpressionNetwork, images: UInt8Array, recipe: Recipe, size_px: int
) -> Output:
    """What a network says about grey crops `uint8 (N, H, W)` at `size_px`: on the CPU, without the
    attention.
    """
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for start in range(0, len(images), 256):
        crops = np.stack([resize_crop(image, size_px) for image in images[start : start + 256]])
        pixels = network_pixels(torch.from_numpy(crops)[:, None].float(), recipe)
        output = network(pixels.to(device))
        parts.append([value.float().cpu() for value in output[:3]])
    expression, embedding, ferplus = (torch.cat(values) for values in zip(*parts, strict=True))
    return Output(expression, embedding, ferplus, None)


def predict_logits(
    network: ExpressionNetwork, images: UInt8Array, recipe: Recipe, size_px: int
) -> Tensor:
    """Its expression logits `(N, K)` alone."""
    return predict_outputs(network, images, recipe, size_px).expression


def _at_size(watched: FaceCrops, validation: FaceCrops, size_px: int) -> FaceCrops:
    """The rows to watch at the size that is trained at: made anew when that changes."""
    if watched.images.shape[1] == size_px:
        return watched
    images = np.stack([resize_crop(image, size_px) for image in validation.images])
    return replace(validation, images=images)


def _accuracy(network: ExpressionNetwork, data: FaceCrops, recipe: Recipe, size_px: int) -> float:
    logits = predict_logits(network, data.images, recipe, size_px)
    return float((logits.argmax(1).numpy() == data.labels).mean())
