"""`mien train` and `mien export`: from a recipe to a model file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mien.cli.exits import GOOD, require_extra, say

if TYPE_CHECKING:
    from mien.training.fit import EpochReport


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare both verbs."""
    train = verbs.add_parser("train", help="train a network from a recipe")
    add = train.add_argument
    add("recipe", help="a TOML file, see recipes/")
    add("--data", required=True, metavar="PATH", help="set with Training and PublicTest rows")
    add("--out", required=True, metavar="DIR", help="folder for checkpoint and log")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="override",
        help="change one value of the recipe, such as fit.epochs=3; repeatable",
    )
    add("--resume", action="store_true", help="go on from the last checkpoint")
    add("--threads", type=int, metavar="N", help="CPU threads (all cores)")
    add("--dry-run", action="store_true", help="only print the network's size and the recipe")
    train.set_defaults(run=_train)

    export = verbs.add_parser("export", help="make a calibrated ONNX model of a checkpoint")
    add = export.add_argument
    add("checkpoint", help="a checkpoint, or the folder that `mien train` wrote it to")
    add("--data", required=True, metavar="PATH", help="set with PublicTest rows, to calibrate on")
    add("--out", required=True, metavar="FILE", help="the .onnx file to write")
    export.set_defaults(run=_export)


def _train(options: argparse.Namespace) -> int:
    require_extra("train", "torch", "onnx", "onnxscript")
    from mien.datasets import load_crops
    from mien.training.fit import fit
    from mien.training.recipe import load_recipe
    from mien.training.zoo import build_network, count_macs, count_parameters

    recipe = load_recipe(options.recipe, options.override)
    network = build_network(recipe.network)
    size = recipe.data.input_px
    say(
        f"{recipe.name}: {recipe.network.name}, {count_parameters(network):,} parameters, "
        f"{count_macs(network, size) / 1e6:.1f} MMAC at {size} px, {recipe.fit.epochs} epochs"
    )
    if options.dry_run:
        print(json.dumps(recipe.to_dict(), indent=1))
        return GOOD
    fit(
        recipe,
        load_crops(options.data, "Training"),
        load_crops(options.data, "PublicTest"),
        Path(options.out),
        resume=options.resume,
        threads=options.threads,
        report=_say_epoch,
        note=say,
    )
    say(f"done: `mien export {options.out} --data {options.data} --out {recipe.name}.onnx`")
    return GOOD


def _say_epoch(done: EpochReport) -> None:
    say(
        f"epoch {done.epoch:3}/{done.epochs}  {done.size_px} px  loss {done.loss:.3f}  "
        f"PublicTest {done.accuracy:.2%}  {done.images_per_s:.0f} pictures/s  {done.wall_s:.0f} s"
    )


def _export(options: argparse.Namespace) -> int:
    require_extra("train", "torch", "onnx", "onnxscript")
    from mien.datasets import load_crops
    from mien.training.export import export, load_trained

    recipe, network, data_sha256, epochs = load_trained(Path(options.checkpoint))
    if epochs < recipe.fit.epochs:
        say(f"mien: this checkpoint has {epochs} of {recipe.fit.epochs} epochs")
    calibration = load_crops(options.data, "PublicTest")
    spec = export(recipe, network, calibration, Path(options.out), data_sha256=data_sha256)
    say(
        f"{options.out}: {spec.parameters:,} parameters, temperature {spec.temperature:.3f}, "
        f"uncertain below {spec.uncertain_below:.3f}"
    )
    return GOOD
