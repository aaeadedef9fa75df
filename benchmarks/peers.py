"""Frames a second of mien and of a peer on the same video, in the same run, by turns.

    python scripts/sample_portrait.py
    python benchmarks/peers.py --fer /path/to/an/environment/with/fer/bin/python

The peer is `fer` 25.10.3 (PyPI) in an environment of its own: `pip install --no-deps fer`, then
`"moviepy<2" ffmpeg-python pandas "opencv-contrib-python<5" ai-edge-litert "setuptools<82"`. It runs
as its documentation shows: `FER().detect_emotions(frame)` on every frame that OpenCV decodes, which
finds faces with a Haar cascade. mien runs as `Analyzer().stream(video)` does, decoding included.
Every program opens its models and reads the first frame before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from video_speed import FRAMES, HEIGHT, WIDTH, write_video

_MIEN = """
import json, sys, time
from mien import Analyzer
results = Analyzer(threads=2).stream(sys.argv[1])
next(results)
began, frames, faces = time.perf_counter(), 0, 0
for result in results:
    frames, faces = frames + 1, faces + bool(result.faces)
print(json.dumps({"rate": frames / (time.perf_counter() - began), "share": faces / frames}))
"""

_FER = """
import json, sys, time, types
import cv2
from ai_edge_litert.interpreter import Interpreter
# All that it uses of TensorFlow is the interpreter of its quantized model: LiteRT, by another name.
tensorflow, keras, models = map(types.ModuleType, ("tensorflow", "keras", "models"))
tensorflow.lite, models.load_model = types.SimpleNamespace(Interpreter=Interpreter), None
sys.modules |= {"tensorflow": tensorflow, "tensorflow.keras": keras}
sys.modules["tensorflow.keras.models"] = models
from fer.fer import FER
detector, video = FER(), cv2.VideoCapture(sys.argv[1])
detector.detect_emotions(video.read()[1])
began, frames, faces = time.perf_counter(), 0, 0
while True:
    good, frame = video.read()
    if not good:
        break
    frames, faces = frames + 1, faces + bool(detector.detect_emotions(frame))
print(json.dumps({"rate": frames / (time.perf_counter() - began), "share": faces / frames}))
"""


def run(python: str, program: str, video: Path) -> dict[str, Any]:
    """What one program says about one video."""
    command = [python, "-c", program, str(video)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python}: failed\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    """Measure by turns and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fer", required=True, help="python of the environment that has fer")
    parser.add_argument("--video", type=Path, help="instead of the sample portrait's")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = options.video
        if video is None:
            video = Path(folder) / "video.mp4"
            write_video(Path("demo") / "astronaut.png", video)
        programs = {"mien": (sys.executable, _MIEN), "fer": (options.fer, _FER)}
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in programs}
        for _ in range(options.repeat):
            for name, (python, program) in programs.items():
                found[name].append(run(python, program, video))
    what = options.video or f"{FRAMES} frames of {WIDTH} x {HEIGHT}, one face"
    print(f"{what}; {options.repeat} runs by turns\n")
    print("| | frames a second, median (all) | frames with a face |")
    print("|---|---|---|")
    for name, answers in found.items():
        rates = [answer["rate"] for answer in answers]
        every = ", ".join(f"{rate:.1f}" for rate in rates)
        share = statistics.median(answer["share"] for answer in answers)
        print(f"| {name} | {statistics.median(rates):.1f} ({every}) | {share:.0%} |")
    ratios = [a["rate"] / b["rate"] for a, b in zip(found["mien"], found["fer"], strict=True)]
    print(f"\nmien is {statistics.median(ratios):.1f} times as fast")


if __name__ == "__main__":
    main()
