"""Runs mien and its peers over the same frames: the part of page.py that knows how.

    python scripts/sample_portrait.py
    python benchmarks/peers.py --fer /path/to/its/python --face-api /path/to/node_modules

compares them on one video. README.md in this folder says how to make each peer's environment. One
that is not given is left out, and one that fails costs the others nothing: its cell says why.

Every program reads the same frames out of a file of raw RGB bytes, decoded beforehand, because
node's programs bring no decoder. Reading the file, and turning the bytes into what the program
takes, is counted for all; decoding is counted for none. Programs take turns, every run is a process
of its own, and the first frame, with the opening of the models, is read before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from video_speed import FPS, FRAMES, HEIGHT, WIDTH, write_video

from mien.datasets.rows import class_name
from mien.sources import open_source
from mien.types import UInt8Array

HERE = Path(__file__).parent
LIMIT_S = 20.0
#: Detectors disagree about what a face is: some end at the brows, some take the whole head. So
#: a box is a face's when its centre lies in the true box, and its longer side, in longer sides of
#: the true one, in this range.
SIDES = (0.4, 2.5)

Box = Sequence[float]  # x, y, width, height


class PeerError(Exception):
    """A program that failed, and why, on one line."""


@dataclass(frozen=True)
class Program:
    """A program that reads faces.

    Attributes:
        name: what the page calls it.
        command: what comes before and after the task, without the time of the start.
        folder: where it is installed, with all that it needs but Python or node itself.
    """

    name: str
    command: Callable[[str, str], list[str]]
    folder: Path


@dataclass(frozen=True)
class Answer:
    """What one run of a program says.

    Attributes:
        rate: frames a second.
        faces: of every frame that it got through, the boxes in pixels and the class of each.
        import_s: loading its libraries, without its models.
        first_s: from the start of the process to its first answer.
        peak_mb: the most memory that it held, in 10^6 bytes.
        versions: of what matters to its speed.
    """

    rate: float
    faces: list[list[tuple[list[float], str]]]
    import_s: float
    first_s: float
    peak_mb: float
    versions: dict[str, str]


Answers = dict[str, list[Answer] | PeerError]


def add_program_options(parser: argparse.ArgumentParser) -> None:
    """Declare where mien and its peers are installed."""
    add = parser.add_argument
    add("--mien", default=sys.executable, metavar="PYTHON", help="with mien, and nothing else")
    add("--fer", metavar="PYTHON", help="python of the environment with fer")
    add("--facex", metavar="PYTHON", help="python of the environment with facex")
    add("--face-api", metavar="FOLDER", help="node_modules with @vladmandic/face-api")
    add("--human", metavar="FOLDER", help="node_modules with @vladmandic/human")
    add("--repeat", type=int, default=5, metavar="N", help="runs of every program (5)")
    add("--limit", type=float, default=LIMIT_S, metavar="S", help="a run ends after S seconds (20)")


def programs_of(options: argparse.Namespace) -> tuple[list[Program], list[str]]:
    """The programs that are to be measured, mien first, and the names of those left out."""
    found = [
        python_program("mien", options.mien),
        python_program("mien, int8", options.mien, "mien-int8"),
    ]
    absent = []
    for name in ("fer", "facex"):
        python = getattr(options, name)
        if python:
            found.append(python_program(name, python))
        else:
            absent.append(name)
    if options.face_api:
        found.append(_node("face-api", options.face_api, "face_api.mjs", "ssd"))
        found.append(_node("face-api, tiny", options.face_api, "face_api.mjs", "tiny"))
    else:
        absent.append("face-api")
    if options.human:
        found.append(_node("human", options.human, "human.mjs"))
    else:
        absent.append("human")
    return found, absent


def python_program(name: str, python: str, way: str | None = None) -> Program:
    """A program of program.py's, in this python's environment; `way` where it is not its name."""
    # Not resolved: an environment's python is a link to that which it was made with.
    folder = Path(python).absolute().parent.parent

    def command(task: str, started: str) -> list[str]:
        return [python, str(HERE / "program.py"), way or name, task, started]

    return Program(name, command, folder)


def _node(name: str, folder: str, script: str, *how: str) -> Program:
    def command(task: str, started: str) -> list[str]:
        return ["node", str(HERE / script), folder, task, started, *how]

    return Program(name, command, Path(folder).absolute())


def write_task(
    folder: Path, images: Iterable[UInt8Array], *, is_video: bool, limit_s: float = LIMIT_S
) -> Path:
    """Write frames as raw bytes and what a program must know of them; the file to give to it."""
    sizes, raw = [], folder / "frames.rgb"
    with raw.open("wb") as file:
        for image in images:
            sizes.append([image.shape[1], image.shape[0]])
            file.write(np.ascontiguousarray(image).data)
    task = {"raw": str(raw), "sizes": sizes, "is_video": is_video, "fps": FPS, "limit_s": limit_s}
    target = folder / "task.json"
    target.write_text(json.dumps(task), "utf-8")
    return target


def run(program: Program, task: Path, *, patience_s: float = 600.0) -> Answer:
    """One run, in a process of its own.

    Raises:
        PeerError: it failed, or did not end in time.
    """
    command = program.command(str(task), repr(time.time()))
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=patience_s
        )
    except OSError as error:
        raise PeerError(f"cannot be started: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"no answer within {patience_s:g} s") from error
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        raise PeerError(_reason(done.stderr) or f"exit code {done.returncode}")
    values = json.loads(lines[-1])
    values["faces"] = [
        [(box, class_name(shown)) for box, shown in faces] for faces in values["faces"]
    ]
    return Answer(**values)


def _reason(stderr: str) -> str:
    """The line of an error message that says what was wrong: Python's last, node's `Error`."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line.split(":")[0]]
    return (errors or lines or [""])[-1][:200]


def by_turns(programs: Sequence[Program], task: Path, repeat: int) -> Answers:
    """All programs, one after the other, so many times; one that fails is not tried again."""
    found: Answers = {program.name: [] for program in programs}
    for _ in range(repeat):
        for program in programs:
            answers = found[program.name]
            if isinstance(answers, PeerError):
                continue
            try:
                answers.append(run(program, task))
            except PeerError as error:
                found[program.name] = error
    return found


def found_and_false(truth: Sequence[Sequence[Box]], answer: Answer) -> tuple[float, float]:
    """The share of the true faces that were found, and how many boxes a frame are no face.

    Of the frames that the program got through.

    Each true face takes the nearest box that is its own by `SIDES`, nearest pairs first.
    """
    true, hits, false = 0, 0, 0
    for boxes, faces in zip(truth, answer.faces, strict=False):
        matched = _matched(boxes, [box for box, _ in faces])
        true, hits = true + len(boxes), hits + matched
        false += len(faces) - matched
    return hits / max(true, 1), false / max(len(answer.faces), 1)


def _matched(truth: Sequence[Box], found: Sequence[Box]) -> int:
    if not truth or not found:
        return 0
    true, other = (np.array(boxes, np.float64) for boxes in (truth, found))
    apart = np.abs(true[:, None, :2] + true[:, None, 2:] / 2 - other[:, :2] - other[:, 2:] / 2)
    inside = (apart <= true[:, None, 2:] / 2).all(2)
    sides = other[:, 2:].max(1) / true[:, None, 2:].max(2)
    distance = np.where(
        inside & (sides >= SIDES[0]) & (sides <= SIDES[1]),
        np.hypot(*apart.transpose(2, 0, 1)),
        np.inf,
    )
    matched = 0
    while np.isfinite(distance.min()):
        row, column = np.unravel_index(distance.argmin(), distance.shape)
        distance[row], distance[:, column] = np.inf, np.inf
        matched += 1
    return matched


def read_rightly(labels: Sequence[str], answer: Answer) -> tuple[int, int, int]:
    """Of pictures of one face each: how many were read, in how many a face was found, and in how
    many the largest one is read as the label says.
    """
    found = right = 0
    for label, faces in zip(labels, answer.faces, strict=False):
        if faces:
            found += 1
            right += max(faces, key=lambda face: face[0][2] * face[0][3])[1] == label
    return len(answer.faces), found, right


def installed_mb(folder: Path) -> float:
    """What a folder fills on the disk, as `du` counts."""
    done = subprocess.run(["du", "-sk", str(folder)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0]) * 1024 / 1e6


def main() -> None:
    """Compare on one video and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_program_options(parser)
    parser.add_argument("--video", type=Path, help="instead of the sample portrait's")
    options = parser.parse_args()
    programs, absent = programs_of(options)
    with tempfile.TemporaryDirectory() as name:
        folder, video = Path(name), options.video
        if video is None:
            video = folder / "video.mp4"
            write_video(Path("demo") / "astronaut.png", video)
        with open_source(video) as source:
            images = (frame.image for frame in source)
            task = write_task(folder, images, is_video=True, limit_s=options.limit)
        found = by_turns(programs, task, options.repeat)
    what = options.video or f"{FRAMES} frames of {WIDTH} x {HEIGHT}, one face"
    print(f"{what}; {options.repeat} runs by turns, decoding not counted\n")
    print("| | frames a second, median (all) | frames with a face |")
    print("|---|---|---|")
    for name, answers in found.items():
        if isinstance(answers, PeerError):
            print(f"| {name} | failed: {answers} | |")
            continue
        rates = [answer.rate for answer in answers]
        every = ", ".join(f"{rate:.1f}" for rate in rates)
        share = sum(map(bool, answers[0].faces)) / len(answers[0].faces)
        print(f"| {name} | {median(rates):.1f} ({every}) | {share:.0%} |")
    if absent:
        print(f"\nLeft out: {', '.join(absent)}.")


if __name__ == "__main__":
    main()
