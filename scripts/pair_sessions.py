"""Which sessions of a set are one person's, for `same_person` of a temporal recipe.

    python scripts/pair_sessions.py ../shared/data/kdef

KDEF's people sat twice, and a copy whose files are numbered by session does not say who with whom.
The most frontal neutral face of every session is described (`mien.identity`), and two sessions are
paired that are each other's nearest. Prints the pairs, and how sure they are; fails where a session
has no partner, or one that is not much nearer than the next.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mien.alignment import nose_offset
from mien.datasets import load_pictures
from mien.detection import FaceDetector
from mien.identity import SAME_PERSON, FaceEmbedder
from mien.picture import read_picture
from mien.types import EXPRESSIONS, Detections, Float32Array, Frame

MARGIN = 0.1  # so much further away the next session must be


def descriptors(data: Path) -> dict[str, Float32Array]:
    """For each session the descriptor `(128,)` of its most frontal neutral face."""
    detector, embedder = FaceDetector(long_side_px=320), FaceEmbedder(threads=2)
    best: dict[str, tuple[float, Frame, Detections]] = {}
    for picture in load_pictures(data):
        if EXPRESSIONS[picture.label] != "neutral":
            continue
        frame = Frame(read_picture(picture.path, str(picture.path)))
        faces = detector.detect(frame)
        if len(faces):
            largest = faces.largest()
            turned = abs(float(nose_offset(faces.landmarks)[largest]))
            if turned < best.get(picture.group, (np.inf,))[0]:
                best[picture.group] = turned, frame, faces.select([largest])
    return {name: embedder.describe(frame, face)[0] for name, (_, frame, face) in best.items()}


def pairs(rows: dict[str, Float32Array]) -> list[tuple[str, str]]:
    """The sessions that are one person's."""
    names, points = list(rows), np.stack(list(rows.values())).astype(float)
    away = np.sqrt(((points[:, None] - points[None]) ** 2).sum(2))
    np.fill_diagonal(away, np.inf)
    nearest = away.argmin(1)
    first, second = np.sort(away, axis=1)[:, :2].T
    for i, name in enumerate(names):
        if nearest[nearest[i]] != i or first[i] > SAME_PERSON or second[i] < first[i] + MARGIN:
            raise SystemExit(
                f"session {name}: {first[i]:.2f} from {names[nearest[i]]}, {second[i]:.2f} from "
                "the next: not sure"
            )
    print(
        f"# {len(names)} sessions, {first.min():.2f} to {first.max():.2f} from their partner; "
        f"the next is at least {second.min():.2f} away, {(second - first).min():.2f} further"
    )
    return [(name, names[nearest[i]]) for i, name in enumerate(names) if i < nearest[i]]


def main() -> None:
    """Pair and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a set of full pictures, one session a group")
    found = pairs(descriptors(parser.parse_args().data))
    for begin in range(0, len(found), 6):
        print("  " + " ".join(f'["{one}", "{two}"],' for one, two in found[begin : begin + 6]))


if __name__ == "__main__":
    main()
