"""Every measured figure in one document, docs/results.md, out of the files that measuring left.

    python scripts/write_results.py

The table of models stands in the README too, between its marks.

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

from mien.card import accuracy_told, figures_table
from mien.comparison import Comparison, format_comparison
from mien.evaluate import Evaluation
from mien.models import ModelSpec, find_model
from mien.study import format_study, read_result

ROOT = Path(__file__).parents[1]

_HEAD = """\
# Results

<!-- Made by scripts/write_results.py out of models/ and results/; do not change it by hand. -->

What the models learned from and what the figures mean:

- **FER2013.** Weights are learned from the Training rows and the FER+ votes for them. PublicTest is
  the validation set: it chooses recipes and temperatures, so figures on it are a little optimistic.
  PrivateTest, the test set, has not been looked at.
- **CK+ and KDEF.** No published model of expressions has learned from them, but they are not blind.
  The crop rule was fixed after two short runs had been seen on them. Of the means of mien-fer and
  mien-v, PublicTest would choose mien-fer alone; that mien-s takes a fifth of mien-v is for
  the figures there. How far the preference for common classes is taken back, PublicTest
  chooses; by what rule, was decided after figures of both sets had been seen
  ([experiments.md](experiments.md), [crop-rule.md](crop-rule.md)).
- **Intervals** are 95%. They say what other rows would change, not what another seed would. Those
  that say over how many people hold for other people; of KDEF these are sessions, two of each
  person. The others take every picture for another person's, and are too narrow where people show
  in several (CK+, KDEF).
- **Macro F1** is the mean F1 of the classes that occur as truth or as answer. In CK+ no picture is
  neutral, and neutral counts as 0. **ECE** is the expected calibration error: how far confidence is
  from the share of right answers, 0 at best.
- **Answered** is the share of answers that are not `uncertain`. In older figures, those with
  n = 984 for KDEF from the front, that goes by confidence alone; in newer ones, with n = 980, faces
  that cannot be read are `uncertain` too, as they are in use. The older ones count four black files
  as seen from the front and as turned.
"""


#: Marks in the README around the table of models.
BEGIN, END = "<!-- models -->", "<!-- end of models -->"

#: What a model of one network is for; a fusion says it by its members.
_WHAT = {
    "mien-s": "the default: a mean of the weights of mien-fer and mien-v",
    "mien-s-int8": "the default in 8 bits, for speed",
    "mien-fer": "from fresh weights, by FER2013's labels and what FER+'s votes let one expect",
    "mien-v": "mien-fer trained on, more by votes: for photographs",
    "mien-taught": "ten layers, taught by mien-fer, mien-deep and resnet18: for FER2013",
    "mien-deep": "ten layers, by FER2013's own labels: for mien-l and mien-taught",
    "mien-sgd": "an older network, trained by SGD instead of Muon",
    "resnet18": "the ResNet18 that mien began with, trained anew",
    "vgg19": "the VGG19 that mien began with, trained anew",
}


def results() -> str:
    """The document."""
    overview = [
        "## Published models\n",
        *overview_table(),
        "\nShare of right answers, one view; the rows below have their intervals and commands.\n",
        *_rare_class(),
    ]
    parts = [_HEAD, *overview, *_models(), *_comparison(), *_folds(), *_studies()]
    return "\n".join(parts)


def readme() -> str:
    """The README with today's table of models."""
    before, rest = (ROOT / "README.md").read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    table = "\n".join(overview_table("models/"))
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def overview_table(folder: str = "../models/") -> list[str]:
    """A row of Markdown for every published model: the default, what else is in the wheel, the
    rest; each by work.
    """
    registry = {
        row["name"]: row for row in json.loads((ROOT / "models" / "registry.json").read_text())
    }
    in_wheel = {name: row["wheel"] for name, row in registry.items()}
    lines = [
        "| model | what it is | MMAC a face | FER2013 PublicTest | CK+ | KDEF front | turned "
        "| in the wheel |",
        "|---" * 8 + "|",
    ]
    measured = {name: (find_model(name).spec(), rows) for name, rows in _examined()}
    for name in sorted(
        measured,
        key=lambda name: (
            not registry[name]["default"],
            not in_wheel[name],
            measured[name][0].macs,
            name,
        ),
    ):
        spec, rows = measured[name]
        judged = [f"{_judged(rows, *judge).accuracy:.1%}" for judge in _JUDGES]
        lines.append(
            f"| [{name}]({folder}{name}.md) | {_what(spec)} | {spec.macs / 1e6:.0f} "
            f"| {' | '.join(judged)} | {'yes' if in_wheel[name] else 'no'} |"
        )
    return lines


_JUDGES = (("fer2013", "all"), ("ckplus", "all"), ("kdef", "front"), ("kdef", "turned"))


def _judged(rows: list[Evaluation], data: str, pose: str) -> Evaluation:
    """Of one view, in the seven classes, as common as FER2013 has them."""
    return next(
        e
        for e in rows
        if (e.data, e.pose, e.views, e.expect, e.classes) == (data, pose, "single", "", "")
    )


def _rare_class() -> Iterator[str]:
    """How much of the difference between models is the rarest class, and how much all others."""
    models = dict(_examined())
    known = _judged(next(iter(models.values())), *_JUDGES[0]).per_class
    rare = min(known, key=lambda label: known[label]["n"])
    yield f"### {rare.capitalize()} and everything else\n"
    yield (
        f"| model | FER2013 PublicTest: {rare}, others | CK+: {rare}, others "
        f"| KDEF front: {rare}, others | turned: {rare}, others |"
    )
    yield "|---" * 5 + "|"
    for name, rows in models.items():
        cells = [_with_and_without(_judged(rows, *judge), rare) for judge in _JUDGES]
        yield f"| {name} | {' | '.join(cells)} |"
    yield (
        f"\nShare of the faces that show {rare} that is read rightly, and that of all other faces, "
        "one view.\n"
    )


def _with_and_without(e: Evaluation, label: str) -> str:
    of_it = e.per_class[label]
    others = (e.accuracy * e.n - of_it["recall"] * of_it["n"]) / (e.n - of_it["n"])
    return f"{of_it['recall']:.1%}, {others:.1%}"


def _what(spec: ModelSpec) -> str:
    members = [member.name for member in spec.members]
    return (
        f"{', '.join(members[:-1])} and {members[-1]}, weighted mean"
        if members
        else _WHAT[spec.name]
    )


def _examined() -> Iterator[tuple[str, list[Evaluation]]]:
    """Every published model of expressions with its examinations."""
    for file in sorted((ROOT / "models").glob("*.json")):
        if file.name != "registry.json":
            rows = json.loads(file.read_text())
            yield file.stem, [Evaluation.from_dict(values) for values in rows]


def _models() -> Iterator[str]:
    for name, evaluations in _examined():
        yield f"### {name}\n"
        yield "\n".join(figures_table(evaluations)) + "\n"
        log = ROOT / "models" / f"{name}.log.csv"
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
        yield (
            f"| {e.data} | {e.split} | {len(e.per_class)} | {e.n} | {accuracy_told(e)} "
            f"| {e.macro_f1:.3f} |"
        )
    if files:
        yield (
            "\nCommands: [training.md](training.md#by-subject). "
            "What is fine-tuned started from version 1 of mien-fer.\n"
        )


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
    (ROOT / "README.md").write_text(readme(), encoding="utf-8")
