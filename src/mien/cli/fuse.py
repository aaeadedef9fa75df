"""`mien fuse`, `average`, `quantize`, `calibrate`, `compare`: models out of models."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mien.cli.exits import GOOD, remark, require_training, say
from mien.cli.options import (
    add_data,
    add_json,
    add_model_out,
    add_seed,
    add_views,
    require,
    rows_to_calibrate,
)
from mien.errors import ConfigError
from mien.wording import printable

if TYPE_CHECKING:
    from mien.datasets import FaceCrops
    from mien.models import ModelSpec


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verbs."""
    fuse = verbs.add_parser("fuse", help="join models into one that refers to them")
    add = fuse.add_argument
    add("model", nargs="+", help="names or files of the members")
    add(
        "--method",
        required=True,
        choices=("linear", "logprob", "stack"),
        help="one linear layer, a weighted mean of log-probabilities, or a layer of 32 units too",
    )
    add_data(fuse, "set to learn from and to calibrate on")
    add_model_out(fuse)
    add("--name", default="fusion", metavar="NAME", help="what it is called (fusion)")
    add("--version", default="1", metavar="V", help="and its version (1)")
    add("--views", type=int, default=2, metavar="N", help="times each Training row is shown (2)")
    add_seed(fuse, "of the augmentation")
    fuse.set_defaults(run=_fuse)

    average = verbs.add_parser("average", help="one network with the mean of several ones' weights")
    add = average.add_argument
    add("model", nargs="+", help="names or files, of one network")
    add(
        "--weight",
        action="append",
        type=float,
        metavar="W",
        help="of a model in the mean; once for each, in their order (all alike)",
    )
    add_data(average, "set to measure by and to calibrate on")
    add_model_out(average)
    add("--half", action="store_true", help="store weights in 16 bits, at half the size")
    add("--name", default="average", metavar="NAME", help="what it is called (average)")
    add("--version", default="1", metavar="V", help="and its version (1)")
    average.set_defaults(run=_average)

    quantize = verbs.add_parser("quantize", help="round a model's numbers to 8 bits")
    add = quantize.add_argument
    add("model", help="name or file")
    add_data(quantize, "set to show it and to calibrate on")
    add_model_out(quantize)
    add("--name", metavar="NAME", help="what it is called (MODEL-int8)")
    quantize.set_defaults(run=_quantize)

    calibrate = verbs.add_parser(
        "calibrate", help="fit a model's probabilities to other pictures, leaving its weights"
    )
    add = calibrate.add_argument
    add("model", help="name or file")
    add_data(calibrate, "labelled crops that it has not learned from")
    add(
        "--split",
        metavar="NAME",
        help="of the data (PublicTest where there is one; of the set that the model learned from "
        "the rows held out; all where there is no Training either)",
    )
    add_model_out(calibrate)
    add("--name", metavar="NAME", help="what it is called (MODEL-calibrated)")
    add("--version", metavar="V", help="and its version (as it was)")
    calibrate.set_defaults(run=_calibrate)

    compare = verbs.add_parser(
        "compare", help="models side by side: accuracy, size, speed, and whether they differ"
    )
    add = compare.add_argument
    add("model", nargs="+", help="names or files")
    add_data(compare)
    add_views(compare)
    add_json(compare)
    compare.set_defaults(run=_compare)


def _rows(data: str, models: Sequence[str]) -> tuple[FaceCrops, FaceCrops]:
    """A set's rows of the first model's classes: those to learn from, and those to calibrate on.

    They are as large as the model wants that wants the largest, and dealt out as `mien train` does;
    where rows are held out that a model's own run has learned from, they calibrate nothing.
    """
    from mien.datasets import HELD_OUT, load_training, read_rows
    from mien.evaluate import rows_of_run, untold
    from mien.models import find_model
    from mien.training.recipe import DataRecipe

    entries = [find_model(model) for model in models]
    specs = [entry.spec() for entry in entries]
    split = any(row.split == "PublicTest" for row in read_rows(data))
    own = [None if split else rows_of_run(data, spec) for spec in specs]
    runs = [(run, spec) for run, spec in zip(own, specs, strict=True) if run]
    training, watched = load_training(
        data,
        size_px=max(spec.input_px for spec in specs),
        classes=specs[0].labels,
        holdout=runs[0][1].recipe["data"]["holdout"] if runs else DataRecipe.holdout,
    )
    if watched.split == HELD_OUT:
        known = zip(own, entries, strict=True)
        mute = [entry.spec() for run, entry in known if not (run or entry.is_published)]
        remark(untold(data, watched, mute))
    for (learned, _), _ in runs:
        if learned.names != training.names:
            watched = watched.without(learned)
    return training, rows_to_calibrate(watched, training)


def _fuse(options: argparse.Namespace) -> int:
    require_training()
    from mien.training.fuse import fuse

    require(options.views >= 1, "--views", "at least 1", options.views)
    training, fresh = _rows(options.data, options.model)
    spec = fuse(
        options.model,
        options.method,
        training,
        fresh,
        Path(options.out),
        name=options.name,
        version=options.version,
        views=options.views,
        seed=options.seed,
        note=say,
    )
    _say_made(options.out, f"{options.method} of {len(spec.members)}", fresh, spec)
    return GOOD


def _average(options: argparse.Namespace) -> int:
    require_training()
    from mien.training.average import average

    training, fresh = _rows(options.data, options.model)
    spec = average(
        options.model,
        training,
        fresh,
        Path(options.out),
        name=options.name,
        version=options.version,
        weights=options.weight,
        half=options.half,
    )
    _say_made(options.out, f"mean of {len(spec.averaged_from)}", fresh, spec)
    return GOOD


def _say_made(file: str, what: str, rows: FaceCrops, spec: ModelSpec) -> None:
    """Say how often a new model is right about the rows that calibrated it."""
    accuracy, n = (spec.metrics[f"calibration_{key}"] for key in ("accuracy", "n"))
    say(f"{file}: {what}, {rows.split}, n = {n:,.0f}: {accuracy:.2%}")


def _quantize(options: argparse.Namespace) -> int:
    require_training()
    from mien.training.quantize import quantize

    training, fresh = _rows(options.data, [options.model])
    spec = quantize(
        options.model,
        training,
        fresh,
        Path(options.out),
        name=options.name,
        note=say,
    )
    figures = spec.metrics
    say(
        f"{options.out}: {fresh.split}, n = {figures['calibration_n']:,}: "
        f"{figures['calibration_accuracy']:.2%} "
        f"(was {figures['original_accuracy']:.2%}), same answer {figures['same_answers']:.1%}"
    )
    return GOOD


def _calibrate(options: argparse.Namespace) -> int:
    require_training()
    from mien.datasets import EVERY_SPLIT
    from mien.datasets.remarks import left_out
    from mien.models import find_model
    from mien.training.calibration import class_shares
    from mien.training.recalibrate import recalibrate

    learned = find_model(options.model).spec()
    rows, training = _calibrating_rows(options, learned)
    remark(left_out(options.data, rows.classes, rows.split))
    shares = None
    if training is not None:
        if training.fingerprint() == learned.data_sha256:  # else others taught it what is common
            balance = learned.recipe.get("data", {}).get("balance", 0.0)
            shares = class_shares(training.labels, len(training.classes), balance)
        if rows.split != EVERY_SPLIT:  # which asks for those, too
            rows = rows_to_calibrate(rows, training)
    spec = recalibrate(
        options.model,
        rows,
        Path(options.out),
        name=options.name,
        version=options.version,
        shares=shares,
    )
    figures = spec.metrics
    say(
        f"{options.out}: {rows.split}, n = {figures['calibration_n']:,}: "
        f"{figures['calibration_accuracy']:.2%} right (was {figures['original_accuracy']:.2%}), "
        f"temperature {spec.temperature:.3f}, uncertain below {spec.uncertain_below:.3f}"
    )
    if not spec.class_shares:
        say("mien: nobody knows how common the model expects its classes to be; left as they are")
    return GOOD


def _calibrating_rows(
    options: argparse.Namespace, spec: ModelSpec
) -> tuple[FaceCrops, FaceCrops | None]:
    """The rows to calibrate a model on, and those of the set that `mien train` would learn from.

    Raises:
        ConfigError: `--split` has to say which.
        DatasetError: there are none.
    """
    from mien.datasets import (
        EVERY_SPLIT,
        HELD_OUT,
        NO_SPLIT,
        learned_split,
        load_crops,
        read_rows,
        split_name,
    )
    from mien.evaluate import held_out, rows_of_run

    data, labels, size = options.data, spec.labels, spec.input_px
    split = split_name(options.split or "")
    if split == HELD_OUT:
        learned, rows = held_out(data, spec)
        return rows, learned
    if not split and (own := rows_of_run(data, spec)):
        learned, rows = own
        return rows, learned
    splits = {row.split for row in read_rows(data)}
    if not split and "Training" in splits and "PublicTest" not in splits:
        raise ConfigError(
            f"{data}: has rows to learn from and none of PublicTest. Say by --split which the "
            f"model has not learned from: {', '.join(sorted(splits))}"
        )
    split = split or ("PublicTest" if "PublicTest" in splits else EVERY_SPLIT)
    rows = load_crops(data, split, size_px=size, classes=labels)
    taught = learned_split(splits)
    if taught == split or taught not in splits or splits == {NO_SPLIT}:
        return rows, None
    return rows, load_crops(data, taught, size_px=size, classes=labels)


def _compare(options: argparse.Namespace) -> int:
    from mien.comparison import compare, format_comparison
    from mien.datasets.remarks import left_out
    from mien.evaluate import learned_too
    from mien.models import find_model

    comparison = compare(options.model, options.data, views=options.views, note=say)
    specs = [find_model(model).spec() for model in options.model]
    remark(left_out(options.data, specs[0].labels))
    remark(*(learned_too(options.data, spec) for spec in specs))
    table = printable(format_comparison(comparison), lines=True)
    print(json.dumps(comparison.to_dict()) if options.json else table)
    return GOOD
