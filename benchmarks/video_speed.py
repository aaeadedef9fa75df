"""Frames a second on a 1280 x 720 video with one face, and where the time goes.

    python scripts/sample_portrait.py && python benchmarks/video_speed.py

The video is made of the sample portrait, enlarged and moved about, so that anyone can run it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from filming import write_film
from PIL import Image

from mien.cli import main as mien

FRAMES = 300
FPS, WIDTH, HEIGHT = 30, 1280, 720


def write_video(
    portrait: Path, target: Path, *, frames: int = FRAMES, options: dict[str, str] | None = None
) -> None:
    """A face of about 310 pixels that wanders over the picture; `options` are the encoder's."""
    with Image.open(portrait) as picture:
        large = np.asarray(picture.convert("RGB").resize((1400, 1400)))
    places = ((int(60 + 50 * np.sin(i / 20)), int(60 + 50 * np.cos(i / 25))) for i in range(frames))
    views = (large[y : y + HEIGHT, x : x + WIDTH] for x, y in places)
    write_film(target, views, fps=FPS, options=options)


def main() -> None:
    """Measure three times with results only, and three times with an annotated copy."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        write_video(Path("demo") / "astronaut.png", video)
        for outputs in (["faces.jsonl"], ["faces.jsonl", "annotated.mp4"]):
            outs = [part for name in outputs for part in ("--out", f"{folder}/{name}")]
            for _ in range(3):
                mien(["analyze", str(video), *outs, "--overwrite", "--quiet", "--profile"])


if __name__ == "__main__":
    main()
