"""`mien evaluate`: examine an exported model file on labelled pictures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mien.cli.exits import GOOD
from mien.errors import ConfigError

if TYPE_CHECKING:
    from mien.evaluate import Evaluation


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "evaluate",
        help="examine an exported model",
        description="Examine an exported model: on face crops such as FER2013's, or with "
        "--pipeline on full pictures whose faces are found and aligned first.",
    )
    add = parser.add_argument
    add("--data", required=True, metavar="PATH", help="set of crops, or of full pictures")
    add("--split", default="all", metavar="NAME", help="Training, PublicTest, … (crops only)")
    add("--model", metavar="NAME_OR_FILE", help="see `mien models list`")
    add("--tta", action="store_true", help="average with the mirror image")
    add("--train-data", metavar="PATH", help="also: accuracy without training duplicates")
    add("--pipeline", action="store_true", help="full pictures: CK+ or a folder per class")
    add(
        "--pose",
        choices=("all", "front", "turned"),
        default="all",
        help="with --pipeline: only faces seen from the front, or only the others",
    )
    add("--json", action="store_true", help="all figures as one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Examine and print."""
    from mien.evaluate import format_evaluation

    if options.pose != "all" and not options.pipeline:
        raise ConfigError("--pose: a crop does not say how it was turned. Use it with --pipeline")
    if options.pipeline and (options.split != "all" or options.train_data):
        raise ConfigError("--split, --train-data: for face crops, not with --pipeline")
    name = Path(options.data).resolve().stem
    evaluation = (_pictures if options.pipeline else _crops)(options, name)
    print(json.dumps(evaluation.to_dict()) if options.json else format_evaluation(evaluation))
    return GOOD


def _pictures(options: argparse.Namespace, name: str) -> Evaluation:
    from mien.console import Progress
    from mien.datasets import load_pictures
    from mien.evaluate import evaluate_pictures
    from mien.pipeline import Analyzer

    pictures = load_pictures(options.data)
    progress = Progress(len(pictures), "pictures", quiet=options.json)
    try:
        return evaluate_pictures(
            Analyzer(options.model),
            pictures,
            name=name,
            tta=options.tta,
            pose=options.pose,
            progress=progress.update,
        )
    finally:
        progress.close()


def _crops(options: argparse.Namespace, name: str) -> Evaluation:
    from mien.classifier import ExpressionClassifier
    from mien.datasets import load_crops
    from mien.evaluate import evaluate_crops

    training = load_crops(options.train_data, "Training") if options.train_data else None
    return evaluate_crops(
        ExpressionClassifier(options.model, threads=2),
        load_crops(options.data, options.split),
        name=name,
        split=options.split,
        tta=options.tta,
        training=training,
    )
