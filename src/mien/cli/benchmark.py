"""`mien benchmark`: how fast it is, measured here and now."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from mien.cli.device import add_device_options
from mien.cli.exits import GOOD, require_extra
from mien.errors import ConfigError


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb and its actions."""
    parser = verbs.add_parser("benchmark", help="measure speed on this machine")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    train = actions.add_parser("train", help="the training loop against the network alone")
    add = train.add_argument
    add("recipe", help="a TOML file, see recipes/")
    add("--steps", type=int, default=20, metavar="N", help="training steps a round (20)")
    add("--rounds", type=int, default=5, metavar="N", help="rounds whose median is taken (5)")
    add_device_options(train)
    add("--json", action="store_true", help="as one JSON object")
    train.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    require_extra("train", "torch", "torchvision", "lightning_fabric")
    from mien.training.benchmark import benchmark_training, format_speed
    from mien.training.recipe import load_recipe

    if options.steps < 1 or options.rounds < 1:
        raise ConfigError("--steps, --rounds: expected at least 1")
    speed = benchmark_training(
        load_recipe(options.recipe),
        precision=options.precision,
        threads=options.threads,
        steps=options.steps,
        rounds=options.rounds,
    )
    print(json.dumps(asdict(speed)) if options.json else format_speed(speed))
    return GOOD
