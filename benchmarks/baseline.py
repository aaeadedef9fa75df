"""What a personal baseline is worth: people at rest, and the expressions of the same people.

    python benchmarks/baseline.py --kdef ../shared/data/kdef

Of every person-session of KDEF, the frontal picture at rest is the baseline. It is then used on the
session's other pictures: at rest from half a profile (whoever looks sad at rest does so from there
too), and with expressions, from the front and from half a profile. Prints a Markdown table.
"""

from __future__ import annotations

import argparse

import numpy as np

from mien.alignment import FRONT_NOSE_OFFSET, nose_offset
from mien.classifier import ExpressionClassifier
from mien.datasets import load_pictures
from mien.pipeline import Analyzer
from mien.sources import open_source
from mien.temporal import Baseline


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kdef", required=True, help="KDEF's folder")
    parser.add_argument("--model", help="expression model")
    options = parser.parse_args()
    analyzer = Analyzer(options.model)
    classifier: ExpressionClassifier = analyzer.classifier
    labels = classifier.spec.labels
    neutral = labels.index("neutral")
    probs, truth, front, groups = [], [], [], []
    for picture in load_pictures(options.kdef):
        (frame,) = open_source(str(picture.path))
        seen = analyzer.find(frame)
        faces, crops = seen.faces, seen.crops
        if len(faces):
            probs.append(classifier.predict(crops[:1]).probs[0])
            front.append(abs(float(nose_offset(faces.landmarks[:1])[0])) < FRONT_NOSE_OFFSET)
            truth.append(picture.label)
            groups.append(picture.group)
    p, y, facing = np.array(probs), np.array(truth), np.array(front)
    rest = {groups[i]: p[i] for i in np.nonzero(facing & (y == neutral))[0]}
    known = np.array([group in rest for group in groups])
    odds = np.log(np.array(list(rest.values())))
    usual = (odds - odds[:, [neutral]]).mean(0)
    print("Mean log-odds at rest: " + ", ".join(f"{u:.1f}" for u in usual) + "\n")

    def corrected(i: int) -> int:
        baseline = Baseline(labels, seconds=1.0)
        baseline.correct([1], rest[groups[i]][None], 0.0)
        return int(baseline.correct([1], p[i][None], 10.0)[0].argmax())

    print("| pictures | n | without | with the person's baseline |")
    print("|---|---|---|---|")
    for name, chosen in (
        ("at rest, half profile", ~facing & (y == neutral)),
        ("expressions, front", facing & (y != neutral)),
        ("expressions, half profile", ~facing & (y != neutral)),
    ):
        rows = np.nonzero(chosen & known)[0]
        before = (p[rows].argmax(1) == y[rows]).mean()
        after = np.mean([corrected(int(i)) == y[i] for i in rows])
        print(f"| {name} | {len(rows)} | {before:.1%} | {after:.1%} |")


if __name__ == "__main__":
    main()
