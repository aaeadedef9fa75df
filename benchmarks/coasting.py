"""What coasting costs: boxes and answers with it, beside those of a detector that always looks.

    python benchmarks/coasting.py --clips ../shared/data/clips

Every video of a folder is analysed twice, the second time with the detector in every frame. Frames
in which both find one face are compared.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mien import tracking
from mien.errors import SourceError
from mien.pipeline import Analyzer
from mien.types import FaceResult, FrameResult


def read(analyzer: Analyzer, video: Path, coast_s: float) -> list[FrameResult]:
    """A video's results, if faces may coast for so long; none where it cannot be read."""
    usual_s = tracking._COAST_S
    tracking._COAST_S = coast_s  # type: ignore[misc]
    try:
        return list(analyzer.stream(video))
    except SourceError:
        return []
    finally:
        tracking._COAST_S = usual_s  # type: ignore[misc]


def pairs(analyzer: Analyzer, video: Path) -> Iterator[tuple[FaceResult, FaceResult]]:
    """The faces of frames with one face, coasting and looked for."""
    looked = read(analyzer, video, -1.0)
    for one, other in zip(read(analyzer, video, tracking._COAST_S), looked, strict=True):
        if len(one.faces) == len(other.faces) == 1:
            yield one.faces[0], other.faces[0]


def away(one: FaceResult, other: FaceResult) -> float:
    """How far apart two boxes' centres lie, in the longer side of the second."""
    (x, y, w, h), (left, top, width, height) = one.box, other.box
    steps = x + w / 2 - left - width / 2, y + h / 2 - top - height / 2
    return float(np.hypot(*steps)) / max(width, height)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, required=True, help="folder of videos")
    parser.add_argument("--model", default=None)
    options = parser.parse_args()
    analyzer = Analyzer(options.model)
    faces = [pair for video in sorted(options.clips.iterdir()) for pair in pairs(analyzer, video)]
    if not faces:
        parser.error(f"{options.clips}: no video with a face")
    median, most = np.percentile([away(*pair) for pair in faces], [50, 99])
    same = np.mean([one.expression == other.expression for one, other in faces])
    print(
        f"{len(faces)} frames with one face: centres {median:.1%} of the box apart in the median, "
        f"{most:.1%} at the 99th percentile; {same:.1%} of the answers the same"
    )


if __name__ == "__main__":
    main()
