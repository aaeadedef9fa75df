"""`mien train` and `mien export`: from a recipe to a model file."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mien.cli.exits import GOOD, remark, require_training, say
from mien.cli.options import (
    add_changes,
    add_data,
    add_init,
    add_model_out,
    add_training,
    check_training,
    chosen_recipe,
    rows_to_calibrate,
)
from mien.errors import ConfigError, DatasetError
from mien.wording import counted

if TYPE_CHECKING:
    from mien.datasets import FaceCrops
    from mien.training.checkpoint import EpochReport
    from mien.training.recipe import Recipe


_DRAW_EVERY_S = 10.0  # the learning curves: on an accelerator an epoch is as fast as a drawing


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare both verbs."""
    train = verbs.add_parser("train", help="train a network from a recipe")
    add = train.add_argument
    about = "a TOML file, or the name of one that comes with mien; with --init: fine-tune"
    add("recipe", nargs="?", help=about)
    add_data(train, required=False)
    add("--out", metavar="DIR", help="folder for checkpoint and log")
    add_changes(train, "fit.epochs=3")
    add_init(train)
    add("--resume", action="store_true", help="continue from the last checkpoint, if there is one")
    add_training(train)
    add("--dry-run", action="store_true", help="only print the network's size and the recipe")
    train.set_defaults(run=_train)

    export = verbs.add_parser("export", help="make a calibrated ONNX model from a checkpoint")
    add = export.add_argument
    add("checkpoint", help="a checkpoint, or the folder that `mien train` wrote it to")
    add_data(export, "the set that the run learned from; its validation rows calibrate")
    add_model_out(export)
    add("--half", action="store_true", help="store weights in 16 bits, at half the size")
    export.set_defaults(run=_export)


def _train(options: argparse.Namespace) -> int:
    check_training(options)
    if not options.dry_run and not (options.data and options.out):
        raise ConfigError("--data and --out: each is needed, but for a --dry-run")
    require_training()
    recipe = chosen_recipe(options)  # before torch is loaded: what is wrong is said at once

    from mien.training.zoo import build_network, count_macs, count_parameters

    network = build_network(recipe.network, classes=len(recipe.data.classes))
    size = recipe.data.input_px
    summary = (
        f"{recipe.name}: {recipe.network.name}, {count_parameters(network):,} parameters, "
        f"{count_macs(network, size) / 1e6:.1f} MMAC at {size} px, "
        f"{counted(recipe.fit.epochs, 'epoch')}"
    )
    if options.dry_run:
        say(summary)
        print(json.dumps(recipe.to_dict(), indent=1))
    else:
        _fit(options, recipe, summary)
    return GOOD


def _fit(options: argparse.Namespace, recipe: Recipe, summary: str) -> None:
    """Train, and show how it goes. Of several processes the first one speaks."""
    from mien.console import Progress
    from mien.training.distributed import part_ways
    from mien.training.fit import fit, make_fabric
    from mien.training.tensorboard import write_tensorboard

    unused: list[str] = []
    train, validation = _rows(options.data, recipe, unused.append)
    fabric = make_fabric(options.precision)
    leads = fabric.global_rank == 0
    if leads:
        remark(*unused)
        _say_rows(options.data, train, validation)
        _say_start(options.data, validation, recipe.init)
    note = say if leads else _keep_silent
    note(f"{summary}, on {fabric.world_size} x {fabric.device.type}, {options.precision} precision")
    out = Path(options.out)
    progress = Progress(None, "steps", quiet=not leads)

    def step(done: int, steps: int) -> None:
        if done == 1:
            progress.restart(steps)
        progress.update(done, steps)

    drawn = -math.inf

    def epoch(done: EpochReport) -> None:
        nonlocal drawn
        progress.close()
        _say_epoch(done)
        write_tensorboard(done, out / "tensorboard")
        if done.epoch == done.epochs or time.monotonic() - drawn > _DRAW_EVERY_S:
            _draw(out)
            drawn = time.monotonic()

    with progress:
        fit(
            recipe,
            train,
            validation,
            out,
            fabric=fabric,
            resume=options.resume,
            threads=options.threads,
            report=epoch,
            progress=step,
            note=note,
        )
    part_ways()
    note(f"done: `mien export {options.out} --data {options.data} --out {recipe.name}.onnx`")


def _keep_silent(_text: str) -> None:
    """All processes but the first."""


def _rows(
    data: str, recipe: Recipe, note: Callable[[str], None] = _keep_silent
) -> tuple[FaceCrops, FaceCrops]:
    from mien.datasets import load_training

    return load_training(
        data,
        size_px=recipe.data.input_px,
        classes=recipe.data.classes,
        holdout=recipe.data.holdout,
        note=note,
    )


def _say_rows(data: str, train: FaceCrops, watched: FaceCrops) -> None:
    """What of a set is learned from, and what is not or does not fit."""
    from mien.datasets.remarks import left_out, oblong

    advice = "Of full pictures, `mien data crop` cuts the faces out"
    remark(left_out(data, train.classes), oblong(data, advice))
    if unknown := [n for i, n in enumerate(train.classes) if i not in train.labels]:
        say(f"mien: {data}: no picture to learn from of {', '.join(unknown)}")
    say(f"{data}: {len(train):,} rows to learn from, {len(watched):,} to watch ({watched.split})")


def _say_start(data: str, watched: FaceCrops, init: str) -> None:
    """What the model that training starts from may know of what is watched."""
    from mien.evaluate import watched_too
    from mien.models import find_model

    if init:
        remark(watched_too(data, watched, find_model(init)))


def _say_epoch(done: EpochReport) -> None:
    say(
        f"epoch {done.epoch:3}/{done.epochs}  {done.size_px} px  loss {done.loss:.3f}  "
        f"watched rows {done.accuracy:.2%}  {done.images_per_s:.0f} pictures/s  "
        f"{done.wall_s:.0f} s"
    )


def _draw(out: Path) -> None:
    """The learning curves, as a picture."""
    from mien.plots import learning_curves
    from mien.training.checkpoint import LOG, read_log

    epochs = read_log(out / LOG)
    learning_curves(
        [row.epoch for row in epochs],
        [row.loss for row in epochs],
        [row.accuracy for row in epochs],
        out / "curves.png",
    )


def _export(options: argparse.Namespace) -> int:
    require_training()
    from mien.training.calibration import class_shares
    from mien.training.export import export, load_trained, without_untaught

    run = Path(options.checkpoint)
    recipe, network, data_sha256, epochs = load_trained(run)
    if epochs < recipe.fit.epochs:
        say(f"mien: these are the weights of epoch {epochs} of {recipe.fit.epochs}")
    train, calibration = _rows(options.data, recipe)
    if train.fingerprint() != data_sha256:
        raise DatasetError(
            f"{options.data}: is not the set that {options.checkpoint} was trained on, or not as "
            "it was then: rows to calibrate on may have been learned from. Give it as it was; "
            "`mien calibrate` then fits the exported model to other pictures"
        )
    spec = export(
        recipe,
        network,
        without_untaught(run, rows_to_calibrate(calibration, train)),
        Path(options.out),
        data_sha256=data_sha256,
        shares=class_shares(train.labels, len(train.classes), recipe.data.balance),
        half=options.half,
    )
    say(
        f"{options.out}: {spec.parameters:,} parameters, temperature {spec.temperature:.3f}, "
        f"uncertain below {spec.uncertain_below:.3f}"
    )
    return GOOD
