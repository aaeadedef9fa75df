"""Train teachers for `fit.teachers`: each recipe once without every fold of the rows.

    python scripts/train_teachers.py recipes/teachers/plain.toml recipes/teachers/deeper.toml
        --data ../shared/data/fer2013 --out runs/teachers --at-once 10

Every run is `mien train` and `mien export`, in runs/teachers/RECIPE-FOLD; the models are
RECIPE-FOLD.onnx there. Several runs at once keep an accelerator busy, which one alone cannot.
Runs that are finished are left alone, others resumed: the command can be given again.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
        return train_one(recipe, changes, options.data, options.out / f"{recipe.stem}-{fold}")

    with ThreadPoolExecutor(options.at_once) as workers:
        done = list(workers.map(lambda run: train(*run), runs))
    return done.count(False)


def train_one(recipe: Path, changes: Sequence[str], data: str, run: Path) -> bool:
    """Train one model into `run`, and export it beside it; what it said is in `run`/said.txt."""
    model = run.with_suffix(".onnx")
    if model.is_file():
        return True
    run.mkdir(parents=True, exist_ok=True)
    for faces in run.parent.glob("faces-*.npz"):  # detections that another run left
        shutil.copy(faces, run)
    # Of several processes on an accelerator, each needs one core.
    train = [*MIEN, "train", str(recipe), "--data", data, "--out", str(run), "--threads", "1"]
    train += [word for change in changes for word in ("--set", change)]
    if (run / "checkpoint.pt").is_file():
        train.append("--resume")
    export = [*MIEN, "export", str(run), "--data", data, "--out", str(model), "--half"]
    with (run / "said.txt").open("ab") as said:
        return all(
            subprocess.run(command, stdout=said, stderr=said).returncode == 0
            for command in (train, export)
        )


if __name__ == "__main__":
    sys.exit(main())
