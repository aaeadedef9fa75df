"""Frames a second on a 1280 x 720 video with one face, and where the time goes.

    python scripts/sample_portrait.py && python benchmarks/video_speed.py

The video is made of the sample portrait, enlarged and moved about, so that anyone can run it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import av
import numpy as np
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
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(frames):
            x, y = int(60 + 50 * np.sin(i / 20)), int(60 + 50 * np.cos(i / 25))
            view = np.ascontiguousarray(large[y : y + HEIGHT, x : x + WIDTH])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode(None))


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
