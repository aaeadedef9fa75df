"""Where a network looks: how much of its attention falls on the parts of a face.

    python benchmarks/attention.py --model runs/attention/with-attention-0/model.onnx
        --kdef ../shared/data/kdef

Of KDEF's pictures seen from the front, the mean attention within circles around each part, over the
mean of the whole crop: 1 is no more than everywhere. A model without attention is asked for
evidence instead (how much probability the answer loses where a place is covered), and so is every
model with --evidence; what is negative there counts as nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.alignment import FRONT_NOSE_OFFSET, nose_offset
from mien.datasets import load_pictures
from mien.pipeline import Analyzer
from mien.types import EXPRESSIONS, FaceResult

#: Parts of a face: which landmarks each lies between, and how far above that, in eye distances.
PARTS = {
    "brows": ((0, 1), 0.35),
    "eyes": ((0, 1), 0.0),
    "nose": ((2,), 0.0),
    "mouth": ((3, 4), 0.0),
    "chin": ((3, 4), -0.55),
}
REACH = 0.3  # radius of the circles, in eye distances


def shares(face: FaceResult) -> npt.NDArray[np.float64]:
    """For each part, the mean of the map within its circles over the mean of the map: `(P,)`."""
    assert face.heat is not None
    heat = face.heat.values.clip(0).astype(np.float64)
    rows, columns = np.indices(heat.shape)
    grid = np.stack([columns, rows, np.ones_like(rows)], -1).astype(np.float64)
    places = grid @ face.heat.to_frame.T
    points = np.array(face.landmarks)
    across = points[1] - points[0]
    up = np.array([across[1], -across[0]])  # by one eye distance
    found = []
    for landmarks, above in PARTS.values():
        # A pair's two circles, and one between them for the mouth, are the part.
        spots = [points[i] for i in landmarks]
        if landmarks == (3, 4):
            spots.append((points[3] + points[4]) / 2)
        away = [np.hypot(*(places - spot - above * up).transpose(2, 0, 1)) for spot in spots]
        inside = np.min(away, 0) < REACH * np.hypot(*across)
        found.append(heat[inside].mean() if inside.any() else np.nan)
    return np.asarray(np.array(found) / max(float(heat.mean()), 1e-9), np.float64)


def main() -> None:
    """Print a table, one row a class."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=None)
    parser.add_argument("--kdef", type=Path, required=True)
    parser.add_argument("--evidence", action="store_true")
    options = parser.parse_args()
    analyzer = Analyzer(options.model)
    if analyzer.classifier.attends and not options.evidence:
        analyzer = Analyzer(options.model, explain="attention")
    else:
        analyzer = Analyzer(options.model, explain="evidence")
    found: dict[int, list[npt.NDArray[np.float64]]] = {}
    for picture in load_pictures(options.kdef):
        faces = analyzer.analyze(picture.path).faces
        if not faces:
            continue
        face = max(faces, key=lambda each: max(each.box[2:]))
        landmarks = np.array(face.landmarks, np.float32)[None]
        if abs(nose_offset(landmarks)[0]) <= FRONT_NOSE_OFFSET:
            found.setdefault(picture.label, []).append(shares(face))
    print(f"| class | n | {' | '.join(PARTS)} |\n|---|---|{'---|' * len(PARTS)}")
    rows = [(EXPRESSIONS[label], found[label]) for label in sorted(found)]
    rows.append(("all", [each for some in found.values() for each in some]))
    for name, values in rows:
        means = np.nanmean(values, axis=0)
        print(f"| {name} | {len(values)} | {' | '.join(f'{mean:.2f}' for mean in means)} |")


if __name__ == "__main__":
    main()
