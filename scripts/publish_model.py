"""From a finished training run to a published model: one command, no figure typed by hand.

    python scripts/publish_model.py runs/mien-fer --data ../shared/data --wheel

Exports the checkpoint, calibrates it on PublicTest (without rows that stand in Training), examines
it there (one view, with its mirror image, and unless `--few-views` is given 18 views) and through
the whole pipeline on CK+ and KDEF, and writes into `models/`: the ONNX file, its evaluations
(JSON), its card (Markdown), its training log, and its line in the registry.
What `mien fuse … --out models/fusion.onnx`, `mien average` or `mien quantize` made is given by its
file instead.
`publish_model.py mien-s --again --data …` examines the published file anew, without its run;
`--pictures` instead does so on full pictures alone, where only the pipeline has changed;
and `--card` writes its card out of the saved evaluations.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from mien.card import figures_table, model_card
from mien.classifier import ExpressionClassifier
from mien.datasets import load_crops, load_pictures
from mien.evaluate import (
    Evaluation,
    answer_crops,
    answer_faces,
    cut_faces,
    format_evaluation,
    of_pose,
    summarize,
)
from mien.models import ModelSpec, file_sha256
from mien.pipeline import Analyzer
from mien.training.calibration import class_shares
from mien.training.checkpoint import LOG, read_log
from mien.training.export import export, load_trained, without_untaught
from mien.training.recipe import NOT_STATED, load_recipe
from mien.types import Pose, Views

#: Marks in the README around the table that this script writes.
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
VIEWS: tuple[Views, ...] = ("single", "flip", "shifts")
MODELS = Path(__file__).parents[1] / "models"


def main() -> None:
    """Publish one model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "run",
        help="folder of a run, file of what was made of models, or with --again a name",
    )
    parser.add_argument("--data", type=Path, required=True, help="fer2013/, ckplus/, kdef/ in it")
    parser.add_argument("--wheel", action="store_true", help="ship the model in the wheel")
    parser.add_argument("--default", action="store_true", help="make it the default model")
    parser.add_argument(
        "--few-views", action="store_true", help="not the 18 views, which take long"
    )
    parser.add_argument("--again", action="store_true", help="examine the published file again")
    parser.add_argument("--pictures", action="store_true", help="again, on full pictures alone")
    parser.add_argument("--card", action="store_true", help="only write its card again")
    options = parser.parse_args()
    old = options.again or options.pictures or options.card
    name = options.run if old else publish(Path(options.run), options)
    file = MODELS / f"{name}.onnx"
    saved = file.with_suffix(".json")
    evaluations: list[Evaluation] = []
    if options.card or options.pictures:
        evaluations = [Evaluation.from_dict(e) for e in json.loads(saved.read_text("utf-8"))]
    if not options.card:
        views = VIEWS[:2] if options.few_views else VIEWS
        crops = [e for e in evaluations if not e.pipeline] or examine_crops(
            file, options.data, views
        )
        evaluations = crops + examine_pictures(file, options.data)
        for evaluation in evaluations:
            print(format_evaluation(evaluation), end="\n\n", flush=True)
        record = json.dumps([e.to_dict() for e in evaluations], indent=1)
        saved.write_text(record + "\n", encoding="utf-8")
    spec: ModelSpec = ExpressionClassifier(file).spec
    card = model_card(spec, file_sha256(file), evaluations)
    file.with_suffix(".md").write_text(card, encoding="utf-8")
    if is_default(name):
        write_readme(evaluations)


def publish(run: Path, options: argparse.Namespace) -> str:
    """Export and register a run's model, or register a file made of models; returns its name."""
    if run.suffix == ".onnx":
        name = ExpressionClassifier(run).spec.name
        if run.resolve() != MODELS / f"{name}.onnx":
            raise SystemExit(f"{run}: expected {MODELS / name}.onnx, beside the others")
        register(run, name, wheel=options.wheel, default=options.default)
        return name
    recipe, network, data_sha256, epoch = load_trained(run)
    # The best epoch may be an early one of a run that is over.
    done = epoch if recipe.fit.select == "last" else len(read_log(run / LOG))
    if done < recipe.fit.epochs:
        raise SystemExit(f"{run}: has learned for {done} of {recipe.fit.epochs} epochs. Resume it")
    file = MODELS / f"{recipe.name}.onnx"
    public = load_crops(options.data / "fer2013", "PublicTest")
    training = load_crops(options.data / "fer2013", "Training")
    if recipe.training_data == NOT_STATED and data_sha256 == training.fingerprint():
        # A run from before recipes said so: what mien's own say of the same rows holds for it.
        own = load_recipe(MODELS.parent / "recipes" / "mien-fer.toml")
        recipe = replace(recipe, training_data=own.training_data, licence=own.licence)
    shares = class_shares(training.labels, len(recipe.data.classes), recipe.data.balance)
    fresh = without_untaught(run, public.without(training))
    export(recipe, network, fresh, file, data_sha256=data_sha256, shares=shares, half=True)
    shutil.copy(run / LOG, MODELS / f"{recipe.name}.log.csv")
    register(file, recipe.name, wheel=options.wheel, default=options.default)
    return recipe.name


def examine_crops(file: Path, data: Path, all_views: tuple[Views, ...] = VIEWS) -> list[Evaluation]:
    """What PublicTest says."""
    classifier = ExpressionClassifier(file, threads=2)
    training = load_crops(data / "fer2013", "Training")
    public = load_crops(data / "fer2013", "PublicTest")
    fresh = public.unseen(training)
    found = [
        summarize(
            answer_crops(classifier, public, views=views),
            classifier.spec,
            data="fer2013",
            split="PublicTest",
            views=views,
            fresh=fresh,
        )
        for views in all_views
    ]
    if classifier.spec.ferplus_temperature:
        voters = ExpressionClassifier(file, threads=2, classes="ferplus")
        answers = answer_crops(voters, public.by_votes())
        found.append(summarize(answers, voters.spec, data="fer2013", split="PublicTest"))
    return found


def examine_pictures(file: Path, data: Path) -> list[Evaluation]:
    """What full pictures say, that go through the whole pipeline."""
    analyzer, found = Analyzer(file), list[Evaluation]()
    classifier = analyzer.classifier
    sets: dict[str, tuple[Pose, ...]] = {"ckplus": ("all",), "kdef": ("front", "turned")}
    for name, poses in sets.items():
        faces = cut_faces(analyzer, load_pictures(data / name))
        for balanced in (False, True):
            answers = answer_faces(classifier, faces, balanced=balanced)
            found += [
                summarize(
                    of_pose(answers, pose), classifier.spec, data=name, balanced=balanced, pose=pose
                )
                for pose in poses
            ]
    return found


def register(file: Path, name: str, *, wheel: bool, default: bool, continues: str = "") -> None:
    """Write or replace the model's line in the registry; `continues` as of `ModelEntry`.

    The default model stays it, until `default` makes another one it.
    """
    default = default or is_default(name)
    rows = [row for row in registered() if row["name"] != name]
    if default:
        rows = [{**row, "default": False} for row in rows]
    entry = {"name": name, "file": file.name, "sha256": file_sha256(file)}
    entry |= {"continues": continues} if continues else {}
    rows.append({**entry, "default": default, "wheel": wheel})
    rows.sort(key=lambda row: str(row["name"]))
    registry().write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def registry() -> Path:
    """The file that lists the published models."""
    return MODELS / "registry.json"


def registered() -> list[dict[str, Any]]:
    """What it lists now: `mien.models` reads it once, which may have been before."""
    file = registry()
    rows: list[dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else []
    return rows


def is_default(name: str) -> bool:
    """Whether the registry calls a model the default."""
    return any(row["default"] for row in registered() if row["name"] == name)


def write_readme(evaluations: list[Evaluation]) -> None:
    """Replace the table between the README's marks."""
    readme = MODELS.parent / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    table = "\n".join(figures_table(evaluations))
    readme.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
