"""`mien benchmark`: how fast it is, measured here and now."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from mien.cli.exits import GOOD, require_extra
from mien.cli.options import (
    add_analysis,
    add_json,
    add_training,
    analyzer_arguments,
    check_training,
    require,
)
from mien.errors import SourceError


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb and its actions."""
    parser = verbs.add_parser("benchmark", help="measure speed on this machine")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    run = actions.add_parser(
        "run",
        help="the analysis of your own files",
        description="Measure the analysis of pictures and videos: frames a second, latency, "
        "start-up, memory, and where the time goes.",
    )
    add = run.add_argument
    add("source", nargs="+", help="picture, video, folder (searched recursively), or glob")
    add("--repeat", type=int, default=5, metavar="N", help="processes, one after the other (5)")
    add_json(run)
    add_analysis(run, threads=2)
    run.set_defaults(run=_run)
    train = actions.add_parser("train", help="the training loop against the network alone")
    add = train.add_argument
    add("recipe", help="a TOML file, see recipes/")
    add("--steps", type=int, default=20, metavar="N", help="training steps a round (20)")
    add("--rounds", type=int, default=5, metavar="N", help="rounds whose median is taken (5)")
    add_training(train)
    add_json(train)
    train.set_defaults(run=_train)


def _run(options: argparse.Namespace) -> int:
    from mien.benchmark import benchmark_run, format_speed
    from mien.sources import expand_source, is_live

    arguments = analyzer_arguments(options)
    require(options.repeat >= 1, "--repeat", "at least 1", options.repeat)
    paths: list[str] = []
    for argument in options.source:
        if is_live(argument):
            raise SourceError(
                f"{argument}: a live source is as fast as it comes. Give a picture, a video or a "
                "folder"
            )
        found, errors = expand_source(argument)
        if errors:
            raise errors[0]
        paths += found
    speed = benchmark_run(paths, arguments, repeat=options.repeat)
    print(json.dumps(speed.to_dict()) if options.json else format_speed(speed))
    return GOOD


def _train(options: argparse.Namespace) -> int:
    check_training(options)
    require(options.steps >= 1, "--steps", "at least 1", options.steps)
    require(options.rounds >= 1, "--rounds", "at least 1", options.rounds)
    require_extra("train", "torch", "torchvision", "lightning_fabric")
    from mien.training.benchmark import benchmark_training, format_speed
    from mien.training.initial import as_started
    from mien.training.recipe import load_recipe

    speed = benchmark_training(
        as_started(load_recipe(options.recipe), ()),
        precision=options.precision,
        threads=options.threads,
        steps=options.steps,
        rounds=options.rounds,
    )
    print(json.dumps(asdict(speed)) if options.json else format_speed(speed))
    return GOOD
