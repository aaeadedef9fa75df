"""`mien train-temporal`: a network that reads expressions over time, for one expression model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mien.cli.exits import GOOD, require_training, say
from mien.cli.options import add_changes, add_model, add_model_out
from mien.errors import ConfigError


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "train-temporal",
        help="train a temporal model for videos",
        description="Train a network that goes on from an expression model's answers over time. It "
        "learns from sequences composed of pictures: people at rest and with expressions.",
    )
    add = parser.add_argument
    add("recipe", help="a TOML file, see recipes/temporal/mien-s-temporal.toml")
    add(
        "--pictures",
        action="append",
        required=True,
        metavar="PATH",
        help="a set of full pictures whose people are known, see docs/training.md; repeatable",
    )
    add("--crops", metavar="PATH", help="face crops from anywhere: the classifier's training set")
    add_model(parser, "the expression model that it is made for")
    add_model_out(parser)
    add_changes(parser, "steps=300")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    require_training()
    from mien.classifier import ExpressionClassifier
    from mien.console import Progress
    from mien.datasets import load_crops, load_pictures
    from mien.training.temporal.bank import BankBuilder
    from mien.training.temporal.fit import export_temporal, require_people, train_temporal
    from mien.training.temporal.recipe import load_temporal_recipe
    from mien.types import EXPRESSIONS

    recipe = load_temporal_recipe(options.recipe, options.override)
    classifier = ExpressionClassifier(options.model, threads=2)
    labels = classifier.spec.labels
    if labels != EXPRESSIONS:
        raise ConfigError(
            f"{classifier.spec.name}: pictures are labelled with {', '.join(EXPRESSIONS)}, and it "
            f"answers {', '.join(labels)}. Give a --model of these classes"
        )
    builder, neutral = BankBuilder(classifier, recipe.seed), labels.index("neutral")
    # All is opened, and refused, before faces are looked for, which takes minutes.
    sets = [
        (path, [p for p in load_pictures(path) if not recipe.excludes(p.group)])
        for path in options.pictures
    ]
    require_people(recipe, [picture for _, pictures in sets for picture in pictures], neutral)
    crops = None
    if options.crops:
        size = classifier.spec.input_px
        crops = load_crops(options.crops, "Training", size_px=size, classes=labels)
    for path, pictures in sets:
        with Progress(len(pictures), "pictures") as progress:
            builder.add_pictures(pictures, progress.update)
        say(f"{path}: {len(pictures):,} pictures")
    if crops is not None:
        builder.add_crops(crops, recipe.crops)
    bank = builder.build()
    say(f"{len(bank.takes):,} takes, {len(bank.log_probs):,} crops")
    network, metrics = train_temporal(recipe, bank, neutral, say)
    spec = export_temporal(
        network, recipe, classifier.entry, classifier.spec, Path(options.out), metrics
    )
    say(f"{options.out}: {spec.parameters:,} parameters, state of {spec.state} numbers a face")
    print(json.dumps(metrics))
    return GOOD
