"""`mien data`: what a data set holds, what it looks like, what is wrong with it, and its faces."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mien.cli.exits import GOOD, PARTLY, UNUSABLE, remark, require_extra, say
from mien.cli.options import (
    add_json,
    add_model,
    add_overwrite,
    add_seed,
    add_split,
    require,
)
from mien.cli.outputs import require_new
from mien.errors import ConfigError
from mien.wording import printable

if TYPE_CHECKING:
    from mien.inspection import Description

_SHOWN = 10  # findings of each kind that a terminal gets; --json has all


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb and its actions."""
    parser = verbs.add_parser("data", help="look at a data set before training on it")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    info = actions.add_parser("info", help="counts by class and split, sizes, duplicates")
    info.add_argument("path", help="a data set, see docs/training.md")
    info.add_argument("--plot", metavar="FILE", help="also draw a bar chart of the counts")
    add_json(info)
    add_overwrite(info)
    info.set_defaults(run=_info)

    samples = actions.add_parser("samples", help="a labelled grid of its pictures")
    add = samples.add_argument
    add("path", help="a data set")
    add("--out", required=True, metavar="FILE", help="the picture to write")
    add_split(samples)
    add("--per-class", type=int, default=10, metavar="N", help="pictures of each class (10)")
    add_seed(samples, "which pictures")
    add("--augmented", action="store_true", help="as a network sees them in training")
    add("--recipe", metavar="FILE", help="with --augmented: the recipe (default settings)")
    add_overwrite(samples)
    samples.set_defaults(run=_samples)

    crop = actions.add_parser("crop", help="cut the faces out of full pictures, to train on them")
    add = crop.add_argument
    add("path", help="a data set of full pictures")
    add("--out", required=True, metavar="DIR", help="folder for the crops, one in it per class")
    add("--size", type=int, default=96, metavar="PX", help="side of the crops in pixels (96)")
    add_model(crop, "the model by whose rule they are cut")
    add_overwrite(crop)
    crop.set_defaults(run=_crop)

    check = actions.add_parser(
        "check",
        help="unreadable, doubtful and duplicate pictures; exit code 3 if there are any",
    )
    add = check.add_argument
    add("path", help="a data set")
    add_model(check, "the model that looks for wrong labels")
    add("--no-model", action="store_true", help="do not look for wrong labels with a model")
    add_json(check, "every finding as a line of JSON")
    check.set_defaults(run=_check)


def _info(options: argparse.Namespace) -> int:
    from mien.console import Progress
    from mien.inspection import describe
    from mien.sinks import require_folder

    if options.plot:
        good = Path(options.plot).suffix.lower() in (".png", ".svg", ".pdf")
        require(good, "--plot", "a file that ends in .png, .svg or .pdf", options.plot)
        require_new(Path(options.plot), overwrite=options.overwrite, option="--plot")
        require_folder(Path(options.plot))
        require_extra("report", "matplotlib")
    with Progress(None, "pictures", quiet=options.json) as progress:
        description = describe(options.path, progress.update)
    # A class may be called as a folder is.
    table = printable(_table(description), lines=True)
    print(json.dumps(description.to_dict()) if options.json else table)
    if options.plot:
        from mien.plots import count_chart

        count_chart(description.counts, description.splits, Path(options.plot))
        say(f"mien: {options.plot}")
    return GOOD


def _table(found: Description) -> str:
    from mien.datasets import NO_SPLIT

    splits = [] if found.splits == [NO_SPLIT] else found.splits
    lines = [f"{'':12}{'all':>9}" + "".join(f"{split:>13}" for split in splits)]
    for name, by_split in found.counts.items():
        cells = "".join(f"{by_split.get(split, 0):13,}" for split in splits)
        lines.append(f"{name:12}{sum(by_split.values()):9,}{cells}")
    sums = [sum(by_split.get(split, 0) for by_split in found.counts.values()) for split in splits]
    lines.append(f"{'total':12}{found.total:9,}" + "".join(f"{n:13,}" for n in sums))
    sizes = [f"{w} x {h}: {n:,}" for (w, h), n in list(found.sizes.items())[:4]]
    more = len(found.sizes) - len(sizes)
    lines += [
        "",
        f"size in pixels      {', '.join(sizes)}{f', and {more} more' if more > 0 else ''}",
        f"unreadable          {found.unreadable:,}",
        f"identical pictures  {found.duplicate_groups:,} groups, of which "
        f"{found.conflicting_groups:,} carry different labels and {found.leaking_groups:,} stand "
        "in more than one split",
    ]
    return "\n".join(lines)


def _samples(options: argparse.Namespace) -> int:
    import numpy as np

    from mien.annotate import contact_sheet
    from mien.datasets import load_crops, read_rows
    from mien.sinks import save_picture
    from mien.types import EXPRESSIONS

    require(options.per_class >= 1, "--per-class", "at least 1", options.per_class)
    if options.recipe and not options.augmented:
        raise ConfigError("--recipe: says how pictures are varied. Use it with --augmented")
    recipe = None
    if options.augmented:
        require_extra("train", "torch")
        from mien.training.recipe import Recipe, load_recipe

        recipe = load_recipe(options.recipe) if options.recipe else Recipe(name="default")
    there = {row.expression for row in read_rows(options.path)}
    classes = [*(name for name in EXPRESSIONS if name in there), *sorted(there - set(EXPRESSIONS))]
    size = recipe.data.input_px if recipe else 96
    crops = load_crops(options.path, options.split, size_px=size, classes=classes)
    rng = np.random.default_rng(options.seed)
    chosen = np.concatenate(
        [
            rng.permutation(np.nonzero(crops.labels == label)[0])[: options.per_class]
            for label in range(len(crops.classes))
        ]
    )
    images = crops.images[chosen]
    if recipe:
        from mien.training.data import augmented_samples

        images = augmented_samples(images, recipe, seed=options.seed)
    titles = [crops.classes[label] for label in crops.labels[chosen]]
    columns = int(np.bincount(crops.labels[chosen]).max())  # a class may have fewer than asked for
    sheet = contact_sheet(list(images), titles, columns=columns)
    save_picture(sheet, options.out, overwrite=options.overwrite)
    say(f"mien: {len(chosen)} pictures of {len(crops):,}: {options.out}")
    return GOOD


def _crop(options: argparse.Namespace) -> int:
    from mien.console import Progress
    from mien.cropping import crop_set
    from mien.models import find_model

    require(8 <= options.size <= 1024, "--size", "8 to 1024 pixels", options.size)
    spec = find_model(options.model).spec()
    problems: list[str] = []
    with Progress(None, "pictures") as progress:
        written, total = crop_set(
            options.path,
            Path(options.out),
            scale=spec.crop_scale,
            upright=spec.crop_upright,
            size_px=options.size,
            overwrite=options.overwrite,
            progress=progress.update,
            problem=problems.append,
        )
    for problem in problems:
        say(f"mien: {problem}")
    say(f"mien: {written:,} faces out of {total:,} pictures: {options.out}")
    if not problems:
        return GOOD
    return PARTLY if written else UNUSABLE


def _check(options: argparse.Namespace) -> int:
    from mien.classifier import ExpressionClassifier
    from mien.console import Progress
    from mien.datasets.remarks import oblong
    from mien.inspection import KINDS, check

    advice = "No model looks for wrong labels; `mien data crop` cuts the faces out for it"
    blind = options.no_model
    if not blind and (warning := oblong(options.path, advice)):
        remark(warning)
        blind = True
    classifier = None if blind else ExpressionClassifier(options.model, threads=2)
    with Progress(None, "pictures", quiet=options.json) as progress:
        findings = check(options.path, classifier, progress.update)
    if options.json:
        for finding in findings:
            print(json.dumps(asdict(finding), ensure_ascii=False))
    else:
        counts = Counter(finding.kind for finding in findings)
        for kind, meaning in KINDS.items():
            print(f"{kind:12}{counts[kind]:8,}  {meaning}")
            shown = [finding for finding in findings if finding.kind == kind][:_SHOWN]
            for finding in shown:
                what = f"{finding.name} ({finding.split}, {finding.expression}): {finding.detail}"
                print(f"{'':22}{printable(what)}")
            if counts[kind] > len(shown):
                print(f"{'':22}… and {counts[kind] - len(shown):,} more (--json has all)")
    return PARTLY if findings else GOOD
