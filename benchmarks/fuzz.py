"""Whether every one of thousands of damaged pictures and videos is answered.

    python scripts/sample_portrait.py
    python benchmarks/fuzz.py --pictures 20000 --videos 2000

Takes the sample portrait in every format that mien reads (of HEIF, which Pillow does not write, the
tests' pictures), and as PostScript, which nobody must run, short videos of it in several containers
and codecs, and what lies in `--corpus`. Damages each copy in one of many ways (bits flipped, bytes
overwritten, cut off, doubled, taken from another file, lengths made huge), and hands it to
`Analyzer.stream` in another process, which goes on to the next one unless the answer was bad. Good
answers are a result and a `MienError`. Bad are any other exception, a process that dies, more than
10 seconds, and more than 2 GB of memory; such files are kept in `--keep`. Every file follows from
`--seed` and its number.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

TESTS = Path(__file__).parents[1] / "tests"
LONGEST_S = 10.0
MOST_MB = 2048.0
PICTURES = (
    (".jpg", "JPEG"),
    (".png", "PNG"),
    (".webp", "WEBP"),
    (".bmp", "BMP"),
    (".tiff", "TIFF"),
    (".avif", "AVIF"),
    (".jpg", "EPS"),
)
VIDEOS = (
    (".mp4", "libx264"),
    (".mkv", "libx264"),
    (".avi", "mpeg4"),
    (".webm", "libvpx"),
    (".gif", "gif"),
)
Bytes = npt.NDArray[np.uint8]

_WORKER = """
import json, resource, sys
from mien import Analyzer
from mien.errors import MienError
analyzer = Analyzer(threads=1, detector_px=160)
print("ready", flush=True)
for line in sys.stdin:
    try:
        frames = sum(1 for _ in analyzer.stream(line.rstrip("\\n")))
        answer = "result"
    except MienError as error:
        answer = type(error).__name__
        assert "\\n" not in str(error), "an error of several lines"
    except BaseException as error:
        answer = f"BAD {type(error).__name__}: {error}"
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([answer, most]), flush=True)
"""


class Worker:
    """A process that analyses one file after the other, and may die of it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._line(60)

    def ask(self, file: Path) -> str:
        """What becomes of a file: an answer, or what went wrong, which begins with BAD."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{file}\n".encode())
        self._process.stdin.flush()
        line = self._line(LONGEST_S)
        if line is None:
            self.end()
            return f"BAD hangs for {LONGEST_S:g} s"
        if not line:
            return f"BAD dies ({self._process.wait()})"
        answer, most_mb = json.loads(line)
        return f"BAD takes {most_mb:.0f} MB" if most_mb > MOST_MB else str(answer)

    def _line(self, patience_s: float) -> bytes | None:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(patience_s):
                return None
        return self._process.stdout.readline()

    def end(self) -> None:
        """Stop the process."""
        self._process.kill()
        self._process.wait()


def picture_corpus(portrait: Image.Image) -> dict[str, list[bytes]]:
    """The portrait in every format: in colour, grey, with transparency, in 16 bits, in one."""
    found: dict[str, list[bytes]] = {}
    for suffix, kind in PICTURES:
        for mode in ("RGB", "L", "RGBA", "I;16", "1"):
            file = io.BytesIO()
            try:
                grey = np.asarray(portrait.convert("L")).astype(np.uint16) * 257
                image = Image.fromarray(grey) if mode == "I;16" else portrait.convert(mode)
                image.save(file, kind)
            except (OSError, KeyError, ValueError):
                continue  # this format does not know this mode
            found.setdefault(suffix, []).append(file.getvalue())
    # Pillow writes no HEIF: in one piece, in six pictures, in tiles.
    found[".heic"] = [file.read_bytes() for file in sorted(TESTS.glob("*.heic"))]
    return found


def video_corpus(portrait: Image.Image) -> dict[str, list[bytes]]:
    """A second of the portrait that moves, in several containers."""
    found: dict[str, list[bytes]] = {}
    pixels = np.asarray(portrait)
    with tempfile.TemporaryDirectory() as folder:
        for suffix, codec in VIDEOS:
            target = Path(folder) / f"v{suffix}"
            with av.open(str(target), "w") as container:
                stream = container.add_stream(codec, rate=12)
                assert isinstance(stream, av.VideoStream)
                stream.width, stream.height = 160, 120
                stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
                for i in range(12):
                    view = np.ascontiguousarray(pixels[i : i + 120, i : i + 160])
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
                container.mux(stream.encode(None))
            found[suffix] = [target.read_bytes()]
    return found


# --- ways to damage a file --------------------------------------------------------------------


def flip_bits(data: Bytes, other: Bytes, random: np.random.Generator) -> Bytes:
    """Some bits anywhere."""
    for place in random.integers(len(data), size=random.integers(1, 30)):
        data[place] ^= 1 << int(random.integers(8))
    return data


def flip_head(data: Bytes, other: Bytes, random: np.random.Generator) -> Bytes:
    """Some bits where the headers are."""
    head = min(len(data), 256)
    for place in random.integers(head, size=random.integers(1, 8)):
        data[place] ^= 1 << int(random.integers(8))
    return data


def overwrite(data: Bytes, other: Bytes, random: np.random.Generator) -> Bytes:
    """A stretch of noise, of zeros or of ones."""
    start = int(random.integers(len(data)))
    stretch = data[start : start + int(random.integers(1, 512))]
    fill = int(random.integers(3))
    stretch[:] = random.integers(256, size=len(stretch)) if fill == 0 else 255 * (fill - 1)
    return data


def cut_off(data: Bytes, other: Bytes, random: np.random.Generator) -> Bytes:
    """The beginning only."""
    return data[: random.integers(len(data))]


def cut_out(data: Bytes, other: Bytes, random: np.random.Generator) -> Bytes:
    """A stretch is missing."""
    start, length = random.integers(len(data)), random.integers(1, 2048)
    return np.concatenate([data[:start], data[start + length :]])


def double(data: Bytes, other: Bytes, random: np.random.Generator) -> Bytes:
    """A stretch comes twice."""
    start, length = random.integers(len(data)), random.integers(1, 2048)
    return np.concatenate([data[: start + length], data[start:]])


def graft(data: Bytes, other: Bytes, random: np.random.Generator) -> Bytes:
    """A stretch of another file."""
    start, length = random.integers(len(data)), random.integers(1, 4096)
    taken = other[random.integers(len(other)) :][:length]
    return np.concatenate([data[:start], taken, data[start + len(taken) :]])


def exaggerate(data: Bytes, other: Bytes, random: np.random.Generator) -> Bytes:
    """Four bytes that may be a length or a size become an extreme."""
    extremes = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF, 0x10000)
    value = extremes[random.integers(len(extremes))]
    order = ">u4" if random.random() < 0.5 else "<u4"
    start = int(random.integers(min(len(data), 4096)))
    raw = np.frombuffer(np.array([value], order).tobytes(), np.uint8)
    data[start : start + 4] = raw[: len(data[start : start + 4])]
    return data


DAMAGES: tuple[Callable[[Bytes, Bytes, np.random.Generator], Bytes], ...] = (
    flip_bits, flip_head, overwrite, cut_off, cut_out, double, graft, exaggerate
)  # fmt: skip


def damaged(corpus: dict[str, list[bytes]], seed: int, number: int) -> tuple[str, bytes]:
    """One damaged file: its suffix (sometimes another's) and its bytes."""
    random = np.random.default_rng((seed, number))
    suffixes = sorted(corpus)
    suffix = suffixes[random.integers(len(suffixes))]
    data, other = (
        np.frombuffer(files[random.integers(len(files))], np.uint8).copy()
        for files in (corpus[suffix], corpus[suffixes[random.integers(len(suffixes))]])
    )
    for _ in range(int(random.integers(1, 4))):
        if len(data):
            data = DAMAGES[random.integers(len(DAMAGES))](data, other, random)
    if random.random() < 0.1:
        suffix = suffixes[random.integers(len(suffixes))]
    return suffix, data.tobytes()


def examine(corpus: dict[str, list[bytes]], count: int, seed: int, keep: Path) -> Counter[str]:
    """Analyse so many damaged files; what became of them."""
    answers: Counter[str] = Counter()
    worker = Worker()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            suffix, data = damaged(corpus, seed, number)
            file = Path(folder) / f"{number}{suffix}"
            file.write_bytes(data)
            answer = worker.ask(file)
            answers[answer] += 1
            if answer.startswith("BAD"):
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{seed}-{file.name}").write_bytes(data)
                print(f"{seed}-{file.name}: {answer}", flush=True)
                worker.end()
                worker = Worker()
            os.unlink(file)
    worker.end()
    return answers


def main() -> None:
    """Damage, analyse, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--videos", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--corpus", type=Path, help="folder of more pictures and videos, small ones"
    )
    parser.add_argument("--keep", type=Path, default=Path("build") / "fuzz")
    options = parser.parse_args()
    with Image.open(Path("demo") / "astronaut.png") as picture:
        portrait = picture.convert("RGB").resize((192, 192))
    pictures, videos = picture_corpus(portrait), video_corpus(portrait)
    for file in sorted(options.corpus.iterdir()) if options.corpus else ():
        suffix = file.suffix.lower()
        for corpus in (pictures, videos):
            if suffix in corpus:
                corpus[suffix].append(file.read_bytes())
    print("| damaged | files | results | clear errors | bad | files a second |")
    print("|---|---|---|---|---|---|")
    for name, corpus, count in (
        ("pictures", pictures, options.pictures),
        ("videos", videos, options.videos),
    ):
        began = time.perf_counter()
        answers = examine(corpus, count, options.seed, options.keep)
        rate = count / (time.perf_counter() - began)
        bad = sum(n for answer, n in answers.items() if answer.startswith("BAD"))
        clear = count - bad - answers["result"]
        print(
            f"| {name} | {count:,} | {answers['result']:,} | {clear:,} | {bad} | {rate:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
