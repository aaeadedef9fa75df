"""Which crop rule suits real photographs: accuracy on full pictures for a grid of rules.

    python benchmarks/crop_rule.py --data ckplus --data kdef --model mien-s

Faces are detected once and then cut by every rule, so the rules meet the same detections.
Prints a Markdown table. See docs/crop-rule.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mien.alignment import align_faces
from mien.datasets import load_pictures
from mien.metrics import accuracy_interval
from mien.pipeline import Analyzer
from mien.sources import first_frame
from mien.types import Detections

SCALES = (0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)


def largest(faces: Detections) -> Detections:
    """The largest face alone; none where there is none."""
    if not len(faces):
        return faces
    return faces.select([faces.largest()])


def main() -> None:
    """Run the comparison and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", action="append", required=True, help="folder of full pictures")
    parser.add_argument("--model", help="name or file")
    options = parser.parse_args()
    analyzer = Analyzer(options.model)
    size = analyzer.classifier.spec.input_px
    rules = [(scale, upright) for upright in (False, True) for scale in SCALES]
    columns: dict[str, list[str]] = {}
    for data in options.data:
        pictures = load_pictures(data)
        labels = np.array([picture.label for picture in pictures])
        crops = np.zeros((len(rules), len(pictures), size, size), np.uint8)
        found = np.zeros(len(pictures), bool)
        for i, picture in enumerate(pictures):
            frame = first_frame(picture.path)
            face = largest(analyzer.detector.find(frame))
            if len(face):
                found[i] = True
                for r, (scale, upright) in enumerate(rules):
                    crops[r, i] = align_faces(
                        frame.image, face, scale=scale, upright=upright, size_px=size
                    )[0]
        cells = []
        for cut in crops:
            right = (analyzer.classifier.predict(cut).probs.argmax(1) == labels) & found
            low, high = accuracy_interval(int(right.sum()), len(labels))
            cells.append(f"{right.mean():.1%} ({low:.1%} to {high:.1%})")
        columns[f"{Path(data).resolve().name}, n = {len(labels):,}"] = cells
    print("| side of the square | turned upright | " + " | ".join(columns) + " |")
    print("|---|---|" + "---|" * len(columns))
    for r, (scale, upright) in enumerate(rules):
        row = " | ".join(cells[r] for cells in columns.values())
        print(f"| {scale:g} x box | {'yes' if upright else 'no'} | {row} |")


if __name__ == "__main__":
    main()
