r"""Models of mien, and fer's classifier beside them, on the same degraded faces.

    python benchmarks/slices.py --data ../shared/data/fer2013 --split PublicTest \
        --sample 1800 --model mien-s --model mien-s-int8 --fer PEERS/fer/bin/python \
        --out results/slices/fer2013.json

docs/robustness.md has the commands of all sets.

What `mien evaluate --slices` does, with one reader more; without `--fer`, exactly that. README.md
in this folder says how to make fer's environment. Writes the JSON from which
`python scripts/write_robustness.py` makes docs/robustness.md.

fer (PyPI) reads the very pixels that mien's models read: its code is given the degraded picture and
the box that mien's detector found in it, makes a square of the box, reaches 10 pixels beyond it, as
it does by default, and scales to its own input. A crop has no room around it; there the box is the
whole crop, and fer is told to reach 0 pixels beyond (10 would put a grey frame around FER2013's own
framing, whose pictures its documentation names). It has no threshold: it always answers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from peers import PeerError, python_program, run, write_task

from mien.classifier import ExpressionClassifier
from mien.datasets import EVERY_SPLIT
from mien.slices import (
    CropReader,
    PictureReader,
    Reader,
    describe,
    format_sliced,
    slice_set,
)
from mien.types import EXPRESSIONS, Detections, UInt8Array, Views

_REACH_PX = 10  # fer's own default
_PATIENCE_S = 1800.0  # for one level of one set


class FerReader:
    """fer's classifier, in a process of fer's own environment for every level.

    Args:
        python: of that environment.
    """

    name, version = "fer", "25.10.3"
    uncertain_below, gated = 0.0, False
    views: Views = "single"

    def __init__(self, python: str) -> None:
        self._program = python_program("fer", python, "fer-classifier")
        self._images: list[UInt8Array] = []
        self._boxes: list[list[int]] = []
        self._reach = 0

    def look(self, image: UInt8Array, face: Detections | None) -> None:
        """Keep the picture and its box."""
        if face is None:
            self._reach, box = 0, [0, 0, image.shape[1], image.shape[0]]
        else:
            left, top, right, bottom = (round(float(v)) for v in face.boxes[0])
            self._reach, box = _REACH_PX, [left, top, max(1, right - left), max(1, bottom - top)]
        rgb = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
        self._images.append(rgb)
        self._boxes.append(box)

    def answers(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """One-hot: only its label is looked at. None is uncertain.

        Raises:
            PeerError: fer failed, or has another version than the tables say.
        """
        images, self._images = self._images, []
        boxes, self._boxes = self._boxes, []
        with tempfile.TemporaryDirectory() as folder:
            task = write_task(Path(folder), images, is_video=False, limit_s=_PATIENCE_S)
            values = json.loads(task.read_text("utf-8")) | {"boxes": boxes, "reach": self._reach}
            task.write_text(json.dumps(values), "utf-8")
            answer = run(self._program, task, patience_s=_PATIENCE_S)
        n = len(images)
        if answer.versions["fer"] != self.version or len(answer.faces) != n:
            raise PeerError(
                f"expected fer {self.version} and {n} answers, got {answer.versions['fer']} and "
                f"{len(answer.faces)}"
            )
        said = [EXPRESSIONS.index(label) for ((_, label),) in answer.faces]
        return np.eye(len(EXPRESSIONS))[said], np.zeros(n, bool)


def main() -> None:
    """Examine, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="PATH", help="crops, pictures, or moving light")
    add("--split", default=EVERY_SPLIT, metavar="NAME", help="of crops")
    add("--pipeline", action="store_true", help="full pictures")
    add("--model", action="append", default=[], metavar="NAME_OR_FILE", help="of mien; repeatable")
    add("--fer", metavar="PYTHON", help="python of the environment with fer")
    add("--sample", type=int, metavar="N", help="so many pictures, drawn at random")
    add("--seed", type=int, default=0, metavar="N", help="which ones (0)")
    add("--out", type=Path, required=True, metavar="FILE", help="the JSON to write")
    options = parser.parse_args()
    kind = PictureReader if options.pipeline else CropReader
    models = options.model or [None]
    readers: list[Reader] = [kind(ExpressionClassifier(m, threads=1)) for m in models]
    if options.fer:
        readers.append(FerReader(options.fer))
    told = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > 20:
            told = time.monotonic()
            print(f"{time.strftime('%H:%M:%S')} {done:,} of {total:,}", file=sys.stderr, flush=True)

    found = slice_set(
        readers, options.data, split=options.split, pipeline=options.pipeline,
        sample=options.sample, seed=options.seed, progress=progress,
    )  # fmt: skip
    print(f"{describe(found)}\n\n{format_sliced(found)}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps([s.to_dict() for s in found], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
