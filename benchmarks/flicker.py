"""How often the answer about a face changes, with smoothing and without, and whether it is right.

    python benchmarks/flicker.py --clips ../shared/data/clips

Takes the videos that a name from CREMA-D or MEAD labels: one person, one acted expression. Right is
a clip whose most probable expression but neutral, on average over its frames, is the acted one;
for a neutral clip, the most probable of all. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import numpy as np

from mien.datasets import load_clips
from mien.pipeline import SMOOTH_S, Analyzer
from mien.types import EXPRESSIONS

NEUTRAL = EXPRESSIONS.index("neutral")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", required=True, help="a folder of labelled videos")
    options = parser.parse_args()
    clips = load_clips(options.clips)
    print("| `--smooth` | clips | seconds | changes a second | clips read rightly |")
    print("|---|---|---|---|---|")
    for smooth_s in (0.0, 0.1, SMOOTH_S, 0.4):
        analyzer, changes, seconds, right = Analyzer(smooth_s=smooth_s), 0, 0.0, 0
        for clip in clips:
            results = [result for result in analyzer.stream(clip.path) if result.faces]
            shown = [result.faces[0].expression for result in results]
            changes += sum(a != b for a, b in pairwise(shown))
            seconds += results[-1].time_s - results[0].time_s
            mean = np.mean([list(result.faces[0].probs.values()) for result in results], axis=0)
            if clip.label != NEUTRAL:
                mean[NEUTRAL] = 0
            right += int(mean.argmax() == clip.label)
        print(
            f"| {smooth_s:g} | {len(clips)} | {seconds:.0f} | {changes / seconds:.2f} | {right} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
