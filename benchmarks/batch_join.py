"""How far a long video that was read in parts and joined lies from the same video read as a whole.

    python benchmarks/batch_join.py --clips ../shared/data/clips

Lays the beginnings of all clips of a folder one after the other, as one film with a key frame every
two seconds, reads it as a whole and in parts of 10 seconds as `mien batch` does, and compares frame
by frame. Prints a row of a Markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from filming import write_film
from PIL import Image

from mien.batch import Settings
from mien.batch.video import find_cuts, join_segments
from mien.geometry import iou_matrix
from mien.pipeline import Analyzer
from mien.sources import MAX_PIXELS, open_source
from mien.types import VIDEO_SUFFIXES, FaceResult, FrameResult, UInt8Array

FPS, WIDTH, HEIGHT = 25, 640, 360
SEGMENT_S = 10.0


def beginnings(clips: Sequence[Path], most: int) -> Iterator[UInt8Array]:
    """At most so many frames of every clip, each scaled to fit."""
    for clip in clips:
        for frame in islice(open_source(clip), most):
            picture, ground = Image.fromarray(frame.image), Image.new("RGB", (WIDTH, HEIGHT))
            picture.thumbnail((WIDTH, HEIGHT))
            ground.paste(picture, ((WIDTH - picture.width) // 2, (HEIGHT - picture.height) // 2))
            yield np.asarray(ground)


def read_in_parts(analyzer: Analyzer, settings: Settings, film: Path) -> list[FrameResult]:
    """As a batch reads a long video."""
    cuts = find_cuts(
        str(film), str(film), settings.span, segment_s=SEGMENT_S, max_pixels=MAX_PIXELS
    )
    assert cuts, "the film is too short to be cut"
    parts = []
    for cut in cuts:
        with open_source(film, span=cut.span, threads=1) as source:
            parts.append([result for _, result in analyzer.run(source)])
    return list(join_segments(cuts, parts))


def pairs(
    joined: Sequence[FaceResult], whole: Sequence[FaceResult]
) -> list[tuple[FaceResult, FaceResult]]:
    """Faces of one frame that are in the same place."""
    if not joined or not whole:
        return []
    boxes = [
        np.array([[x, y, x + w, y + h] for x, y, w, h in (face.box for face in faces)])
        for faces in (joined, whole)
    ]
    overlap = iou_matrix(*boxes)
    best = overlap.argmax(1)
    return [(joined[i], whole[j]) for i, j in enumerate(best) if overlap[i, j] >= 0.5]


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True, help="a folder of videos")
    parser.add_argument("--most", type=int, default=150, help="frames of each clip")
    options = parser.parse_args()
    clips = sorted(f for f in options.clips.iterdir() if f.suffix.lower() in VIDEO_SUFFIXES)
    settings = Settings(segment_s=SEGMENT_S)
    analyzer = settings.analyzer()
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        # A key frame every two seconds: parts begin at them.
        coding = {"g": str(2 * FPS), "preset": "veryfast"}
        write_film(film, beginnings(clips, options.most), fps=FPS, options=coding)
        whole = list(analyzer.stream(film))
        joined = read_in_parts(analyzer, settings, film)
    places = [[(r.frame, r.time_s) for r in results] for results in (joined, whole)]
    assert places[0] == places[1], "other frames"
    faces = [sum(len(result.faces) for result in results) for results in (joined, whole)]
    matched = [pair for a, b in zip(joined, whole, strict=True) for pair in pairs(a.faces, b.faces)]
    boxes = [
        max(abs(u - v) for u, v in zip(a.box, b.box, strict=True)) / max(b.box[2:])
        for a, b in matched
    ]
    probs = [max(abs(a.probs[name] - b.probs[name]) for name in b.probs) for a, b in matched]
    other = float(np.mean([a.expression != b.expression for a, b in matched]))
    ids = sum(a.track_id != b.track_id for a, b in matched)
    quantiles = [
        (np.median(values), np.quantile(values, 0.99), max(values)) for values in (boxes, probs)
    ]
    print(
        f"| {len(clips)} real clips in one film, {len(whole):,} frames | {faces[1]:,} as a whole, "
        f"{faces[0]:,} joined, {len(matched):,} in the same place | {ids} "
        f"| {', '.join(f'{value:.1%}' for value in quantiles[0])} "
        f"| {', '.join(f'{value:.3f}' for value in quantiles[1])} | {other:.1%} |"
    )


if __name__ == "__main__":
    main()
