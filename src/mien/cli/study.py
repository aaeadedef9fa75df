"""`mien study`: variants of a recipe, trained alike, in one table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mien.cli.exits import GOOD, require_training, say
from mien.cli.options import add_data, add_json, add_training, check_training
from mien.whole import whole


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "study",
        help="train variants of a recipe and compare them",
        description="Train variants of a recipe and compare them. What is finished is not "
        "done again, and what was interrupted goes on, when the same command is given again.",
    )
    add = parser.add_argument
    add("study", help="a TOML file, see recipes/studies/; or the study.json of a finished one")
    add_data(parser, required=False)
    add("--out", metavar="DIR", help="folder for the runs and for study.json")
    add(
        "--pictures",
        action="append",
        default=[],
        metavar="PATH",
        help="a set of full pictures to examine on as well; repeatable",
    )
    add_json(parser)
    add_training(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run what is left of the study, and print its table."""
    from mien.errors import ConfigError
    from mien.study import format_study, load_study, read_result

    if options.study.endswith(".json"):
        result = read_result(options.study)
    else:
        require_training()
        study = load_study(options.study)
        if not options.data or not options.out:
            raise ConfigError("--data and --out: a study to be run needs both")
        check_training(options)
        from mien.study.bench import run_study
        from mien.training.fit import make_fabric

        result = run_study(
            study,
            options.data,
            Path(options.out),
            pictures=options.pictures,
            fabric=make_fabric(options.precision),
            threads=options.threads,
            note=say,
        )
        with whole(Path(options.out) / "study.json") as partial:
            partial.write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result.to_dict()) if options.json else format_study(result))
    return GOOD
