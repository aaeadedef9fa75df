"""Round the face detector's numbers to 8 bits: src/mien/centerface-int8.onnx.

    python scripts/quantize_detector.py --data kdef --judge photos clips

A video's whole frames are searched with it, in half the time. Portraits of many sizes, six to a
picture, show the ranges of its activations. What it costs is printed: faces that are missed or
found beside what the original finds in other pictures and in every twelfth frame of other films.
The same seed gives the same network.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from package_sums import record

from mien.detection import ROUNDED_WEIGHTS, WEIGHTS, FaceDetector, pixels
from mien.errors import SourceError
from mien.geometry import iou_matrix
from mien.preprocess import resize
from mien.sources import expand_source, open_source
from mien.training.quantize import round_network
from mien.types import Float32Array, Frame, UInt8Array
from mien.weights import PACKAGE, read_weights

FILE = PACKAGE / ROUNDED_WEIGHTS
WIDTH, HEIGHT, FACES, PICTURES = 480, 288, 6, 6
KINDS = ("Add", "Conv", "ConvTranspose", "Relu")
SAME_IOU = 0.4
EVERY = 12


def collages(portraits: list[Path], rng: np.random.Generator) -> Iterator[Float32Array]:
    """Inputs `(1, 3, HEIGHT, WIDTH)` of the detector: portraits of many sizes, on one colour."""
    chosen = rng.permutation(len(portraits))[: FACES * PICTURES]
    for some in chosen.reshape(PICTURES, FACES):
        canvas: UInt8Array = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        canvas[:] = rng.integers(0, 255, 3)
        for place, i in enumerate(some):
            (frame,) = open_source(portraits[i])
            height = int(rng.integers(60, 150))
            small = resize(frame.image, round(height * frame.width / frame.height), height)
            x, y = place * WIDTH // FACES, int(rng.integers(0, HEIGHT - height))
            small = small[:, : WIDTH - x]
            canvas[y : y + height, x : x + small.shape[1]] = small
        yield pixels(canvas)


def frames(files: list[str]) -> Iterator[Frame]:
    """Pictures, and every so many frames of films; what cannot be read is passed over."""
    for file in files:
        try:
            with open_source(file) as source:
                yield from (frame for frame in source if frame.index % EVERY == 0)
        except SourceError as error:
            print(error)


def main() -> None:
    """Write the network, and say what it costs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of portraits")
    parser.add_argument("--judge", nargs="*", default=[], help="pictures and films")
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    shown = collages(sorted(options.data.rglob("*.jpg")), np.random.default_rng(options.seed))
    rounded = round_network(read_weights(WEIGHTS), list(shown), kinds=KINDS)
    onnx.save_model(rounded, options.out)
    record(options.out)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")

    detector = FaceDetector()
    total = missed = added = 0
    overlaps: list[float] = []
    for frame in frames([file for each in options.judge for file in expand_source(each)[0]]):
        exact = detector.detect(frame, long_side_px=WIDTH).boxes
        quick = detector.search(frame, long_side_px=WIDTH).boxes
        same = iou_matrix(exact, quick)
        best = same.max(1, initial=0)
        total += len(exact)
        missed += int((best < SAME_IOU).sum())
        added += int((same.max(0, initial=0) < SAME_IOU).sum())
        overlaps += [float(each) for each in best if each >= SAME_IOU]
    if total:
        print(
            f"{total} faces: {missed} missed, {added} more; overlap of the same face "
            f"{np.mean(overlaps):.3f}, of all but one in twenty at least "
            f"{np.percentile(overlaps, 5):.3f}"
        )


if __name__ == "__main__":
    main()
