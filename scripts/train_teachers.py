"""Train teachers for `fit.teachers`: each recipe once without every fold of the rows.

    python scripts/train_teachers.py recipes/teachers/plain.toml recipes/teachers/deeper.toml
        --data ../shared/data/fer2013 --out runs/teachers --at-once 10

Every run is `mien train` and `mien export`, in runs/teachers/RECIPE-FOLD; the models are
RECIPE-FOLD.onnx there. Several runs at once keep an accelerator busy, which one alone cannot.
Faces are looked for once, for all. Runs that are finished are left alone, others resumed: the
command can be given again.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mien.datasets import load_training
from mien.training.framing import detected_framings
from mien.training.recipe import load_recipe

MIEN = (sys.executable, "-m", "mien")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train them all; the number of runs that failed."""
    parser = argparse.ArgumentParser(description="train teachers, each without one fold")
    add = parser.add_argument
    add("recipes", nargs="+", type=Path)
    add("--data", required=True)
    add("--out", required=True, type=Path)
    add("--folds", type=int, default=5)
    add("--at-once", type=int, default=1, help="runs at the same time")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a change to every recipe")
    options = parser.parse_args(arguments)
    runs = [(recipe, fold) for fold in range(options.folds) for recipe in options.recipes]

    def train(recipe: Path, fold: int) -> bool:
        changes = [
            *options.set,
            f"name={recipe.stem}-{fold}",
            f"data.left_out=[{fold}, {options.folds}]",
            f"fit.seed={fold}",
        ]
        run = options.out / f"{recipe.stem}-{fold}"
        # Of several processes on an accelerator, each needs one core.
        threads = ["--threads", "1"] if options.at_once > 1 else []
        return train_one(recipe, changes, threads, options.data, run)

    options.out.mkdir(parents=True, exist_ok=True)
    for recipe in options.recipes:
        find_faces(recipe, options.set, options.data, options.out)
    with ThreadPoolExecutor(options.at_once) as workers:
        done = list(workers.map(lambda run: train(*run), runs))
    return done.count(False)


def find_faces(file: Path, changes: Sequence[str], data: str, out: Path) -> None:
    """Look for the faces that a recipe wants to frame, unless `out` holds them already."""
    rule = load_recipe(file, changes).data
    if rule.aligned_share:
        train, _ = load_training(
            data, size_px=rule.input_px, classes=rule.classes, holdout=rule.holdout
        )
        detected_framings(train, rule, out)


def train_one(
    recipe: Path, changes: Sequence[str], threads: Sequence[str], data: str, run: Path
) -> bool:
    """Train one model into `run`, and export it beside it; what it said is in `run`/said.txt."""
    model = run.with_name(f"{run.name}.onnx")
    if model.is_file():
        return True
    run.mkdir(exist_ok=True)
    for faces in run.parent.glob("faces-*.npz"):
        shutil.copy(faces, run)
    train = [*MIEN, "train", str(recipe), "--data", data, "--out", str(run), *threads]
    train += [word for change in changes for word in ("--set", change)]
    if (run / "checkpoint.pt").is_file():
        train.append("--resume")
    export = [*MIEN, "export", str(run), "--data", data, "--out", str(model), "--half"]
    with (run / "said.txt").open("ab") as said:
        done = all(
            subprocess.run(command, stdout=said, stderr=said).returncode == 0
            for command in (train, export)
        )
    print(model if done else f"{run / 'said.txt'}: the run failed; this says why", flush=True)
    return done


if __name__ == "__main__":
    sys.exit(main())
