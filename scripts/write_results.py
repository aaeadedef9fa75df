"""Every measured figure in one document, docs/results.md, out of the files that measuring left.

    python scripts/write_results.py

Reads `models/*.json` (examinations), `models/*.log.csv` (training logs), and from `results/` the
files `comparison.json` (`mien compare … --json`), `folds/*.json` (`mien evaluate --folds … --json`)
and `studies/*.json` (`study.json` of `mien study`). No figure is typed by hand.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from mien.card import figures_table
from mien.comparison import Comparison, format_comparison
from mien.evaluate import Evaluation
from mien.study import format_study, read_result

ROOT = Path(__file__).parents[1]

_HEAD = """\
# Results

<!-- Made by scripts/write_results.py out of models/ and results/; do not change it by hand. -->

Weights are learned from FER2013's Training rows and the FER+ votes for them. PublicTest chooses
recipes and temperatures; figures on it are therefore a little flattering. PrivateTest has not been
looked at. No published model of expressions has learned from CK+ or KDEF, but they are not blind:
mien-v 2, behind on PublicTest, is published for its figures there, mien-s 3 is level with mien-s 2
on PublicTest (five rows more of 3,589) and far ahead there, and the crop rule was fixed after two
short runs had been seen on them ([experiments.md](experiments.md), [crop-rule.md](crop-rule.md)).
Intervals are 95%, and say what other rows would change, not what another seed would.
"""


def results() -> str:
    """The document."""
    parts = [_HEAD, *_models(), *_comparison(), *_folds(), *_studies()]
    return "\n".join(parts)


def _models() -> Iterator[str]:
    yield "## Published models\n"
    for file in sorted((ROOT / "models").glob("*.json")):
        if file.name == "registry.json":
            continue
        evaluations = [Evaluation.from_dict(values) for values in json.loads(file.read_text())]
        yield f"### {file.stem}\n"
        yield "\n".join(figures_table(evaluations)) + "\n"
        log = file.with_suffix(".log.csv")
        if log.is_file():
            yield _training_time(log)


def _training_time(log: Path) -> str:
    """How long the training took, and how long it would have on a machine left alone."""
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    by_size = defaultdict(list)
    for row in rows:
        by_size[int(row["size_px"])].append(float(row["wall_s"]))
    total = sum(sum(times) for times in by_size.values()) / 60
    undisturbed = sum(len(times) * min(times) for times in by_size.values()) / 60
    shares = ", ".join(f"{len(times)} at {px} px" for px, times in by_size.items())
    return (
        f"{len(rows)} epochs ({shares}) in {total:.0f} minutes; {undisturbed:.0f} if every epoch "
        f"were as fast as the fastest of its size ([log](../models/{log.name})).\n"
    )


def _comparison() -> Iterator[str]:
    file = ROOT / "results" / "comparison.json"
    if file.is_file():
        comparison = Comparison.from_dict(json.loads(file.read_text()))
        names = " ".join(row.name for row in comparison.models)
        yield "## Side by side\n"
        yield (
            f"`mien compare {names} --data {comparison.data} --json`. Times are of one machine on "
            "one day: compare them with one another only.\n"
        )
        yield format_comparison(comparison) + "\n"


def _folds() -> Iterator[str]:
    files = sorted((ROOT / "results" / "folds").glob("*.json"))
    if files:
        yield "## By subject: every face examined by a network that has not seen its person\n"
        yield "| data | trained | classes | n | accuracy (95% interval) | macro F1 |"
        yield "|---|---|---|---|---|---|"
    for file in files:
        e = Evaluation.from_dict(json.loads(file.read_text()))
        low, high = e.accuracy_ci95
        yield (
            f"| {e.data} | {e.split} | {len(e.per_class)} | {e.n} "
            f"| {e.accuracy:.1%} ({low:.1%} to {high:.1%}) | {e.macro_f1:.3f} |"
        )
    if files:
        yield ""


def _studies() -> Iterator[str]:
    files = sorted((ROOT / "results" / "studies").glob("*.json"))
    if files:
        yield "## Studies\n"
    for file in files:
        result = read_result(file)
        yield f"### {result.name.capitalize()}\n"
        yield format_study(result)
        sets = {e.data: None for trial in result.trials for e in trial.pictures}
        pictures = "".join(f"--pictures {name} " for name in sets)
        yield (
            f"\n`mien study recipes/studies/{file.stem}.toml --data fer2013 {pictures}"
            f"--out runs/{file.stem}`\n"
        )


if __name__ == "__main__":
    (ROOT / "docs" / "results.md").write_text(results(), encoding="utf-8")
