"""Pose and openings of faces whose pose and expression are known: KDEF.

    python benchmarks/shape.py --data ../shared/data/kdef --every 12

KDEF's people sit in front of the camera or turned by 45 degrees, with one expression each. Prints
what the mesh says about both as Markdown tables.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from statistics import fmean

import numpy as np

from mien.datasets import load_pictures
from mien.pipeline import Analyzer
from mien.sources import first_frame
from mien.types import EXPRESSIONS, FaceShape

FRONT_DEG = 20.0  # faces turned by less are those seen from the front


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="KDEF")
    parser.add_argument("--every", type=int, default=1, help="only every so many-th picture")
    options = parser.parse_args()
    analyzer = Analyzer(shape=True)
    shapes: list[FaceShape] = []
    front: dict[str, list[FaceShape]] = defaultdict(list)
    for picture in load_pictures(options.data)[:: options.every]:
        faces = analyzer.analyze_frame(first_frame(picture.path)).faces
        for face in faces[:1]:
            assert face.shape is not None
            shapes.append(face.shape)
            if abs(face.shape.yaw_deg) < FRONT_DEG:
                front[EXPRESSIONS[picture.label]].append(face.shape)
    yaw = np.array([shape.yaw_deg for shape in shapes])
    pitch = np.array([shape.pitch_deg for shape in shapes])
    seen = np.abs(yaw) < FRONT_DEG
    print("| faces | n | yaw, median | without its sign | pitch, median (deviation) |")
    print("|---|---|---|---|---|")
    for name, chosen in (("from the front", seen), ("turned by 45 degrees", ~seen)):
        print(
            f"| {name} | {chosen.sum()} | {np.median(yaw[chosen]):.1f} "
            f"| {np.median(np.abs(yaw[chosen])):.1f} "
            f"| {np.median(pitch[chosen]):.1f} ({pitch[chosen].std():.1f}) |"
        )
    print("\n| from the front | n | mouth opening | mouth width | brow height | eye opening |")
    print("|---|---|---|---|---|---|")
    for expression in EXPRESSIONS:
        rows = [
            (s.mouth_opening, s.mouth_width, fmean(s.brow_height), fmean(s.eye_opening))
            for s in front[expression]
        ]
        means = " | ".join(f"{value:.2f}" for value in np.mean(rows, axis=0))
        print(f"| {expression} | {len(rows)} | {means} |")


if __name__ == "__main__":
    main()
