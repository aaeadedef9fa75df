"""Writes docs/benchmarks.md: mien's speed beside its peers', and beside what the machine can do.

    python scripts/sample_portrait.py
    python benchmarks/page.py --data ../shared/data/kdef --fer PYTHON --facex PYTHON
        --face-api FOLDER --human FOLDER --mien PYTHON

One command, on a quiet machine. README.md in this folder says how to make each program's
environment, and what is left out where one is missing. peers.py runs the programs, crowd.py makes
the films, limits.py asks the machine, and `mien benchmark run` measures mien alone. Without --data
there are no pictures, and all faces of the films are the sample portrait's. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
from crowd import Portrait, portraits, write_crowd
from limits import limits_table, reached
from peers import (
    SIDES,
    Answers,
    Program,
    add_program_options,
    by_turns,
    installed_mb,
    programs_of,
    write_task,
)
from tables import (
    PROFILED,
    Film,
    Notes,
    alone_table,
    costs_table,
    faces_of,
    films_table,
    growth_table,
    pictures_table,
    stages_table,
    versions_table,
    wrapped,
)

from mien.classifier import ExpressionClassifier
from mien.datasets import load_pictures
from mien.models import find_model
from mien.picture import read_picture
from mien.sources import open_source
from mien.types import EXPRESSIONS

TARGET = Path("docs") / "benchmarks.md"
SIZES = ((640, 480), (1280, 720), (1920, 1080))
FACES = (1, 5, 20)
LENGTHS = (150, 300, 600)
PATIENCE_S = 550.0  # with a program that reads pictures: the same ones for all, and so no limit
INTRODUCTION = """\
Every program reads the same frames out of a file of raw RGB bytes, because those on node bring no
decoder: **decoding is counted for none; reading the file, and turning the bytes into what the
program takes, for all.** Programs take turns. Every run is a process of its own; its models are
open and its first frame is read before the clock starts. Figures are medians, with the extremes in
brackets. `fer` and `facex` run on LiteRT instead of TensorFlow, of which they use nothing else.
`face-api` and `human` run on WebAssembly, on one thread, as node starts it: `face-api` with its
default detector (SSD) and with its tiny one, and with landmarks; `human` with face detector, mesh
and emotion network alone, and in videos with its default caches, by which it looks anew at a face
only now and then. mien runs with two threads a network, as it does by default; `mien, int8` is mien
with `--model mien-s-int8`. The camera stands still, which spares mien most searches of the whole
frame, as it would in a conversation and not in a street (docs/video.md)."""


def machine() -> str:
    """The hardware and the system, and how busy they are."""
    info = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    cpu = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return (
        f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GB; Linux {platform.release()}; Python "
        f"{platform.python_version()}, numpy {np.__version__}, PyAV {av.__version__}; "
        f"{time.strftime('%Y-%m-%d')}, load average before the run {load}."
    )


def command_of(options: argparse.Namespace, parser: argparse.ArgumentParser) -> str:
    """The command that makes the page again; where programs and page lie is the reader's affair."""
    parts = ["python benchmarks/page.py"]
    for action in parser._actions:
        value = getattr(options, action.dest, None)
        if action.dest in ("help", "out") or value == action.default:
            continue
        places = action.metavar in ("PYTHON", "FOLDER")
        if isinstance(value, list):
            each = ("x".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in value)
            value = " ".join(each)
        parts.append(f"{action.option_strings[0]} {action.metavar if places else value}")
    return " ".join(parts)


@contextmanager
def task_of(video: Path, limit_s: float) -> Iterator[Path]:
    """A video's frames for the programs, as long as they are needed: raw frames are large."""
    with tempfile.TemporaryDirectory() as folder, open_source(video) as source:
        images = (frame.image for frame in source)
        yield write_task(Path(folder), images, is_video=True, limit_s=limit_s)


def mien_alone(python: str, video: Path, repeat: int) -> dict[str, Any]:
    """What `mien benchmark run` says."""
    command = [python, "-m", "mien.cli", "benchmark", "run", str(video), "--json"]
    done = subprocess.run(
        [*command, "--repeat", str(repeat)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"mien benchmark run failed: {done.stderr[-1000:]}")
    values: dict[str, Any] = json.loads(done.stdout)
    return values


def bare_rate(video: Path, repeat: int) -> float:
    """Frames a second of decoding as mien decodes, without turning frames into RGB."""
    rates = []
    for _ in range(repeat):
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            began = time.perf_counter()
            frames = sum(1 for _ in container.decode(stream))
            rates.append(frames / (time.perf_counter() - began))
    return median(rates)


def chosen_pictures(data: Path, count: int) -> tuple[list[Path], list[str]]:
    """Pictures of a data set, as many of each class as of any other, and their classes."""
    pictures = load_pictures(data)
    np.random.default_rng(0).shuffle(pictures)
    each = max(1, count // len(EXPRESSIONS))
    of_class = [
        [p for p in pictures if p.label == label][:each] for label in range(len(EXPRESSIONS))
    ]
    chosen = [picture for some in of_class for picture in some]
    return [p.path for p in chosen], [EXPRESSIONS[p.label] for p in chosen]


def measure_pictures(
    options: argparse.Namespace, programs: Sequence[Program]
) -> tuple[Answers, list[str]]:
    """All programs on real pictures, and what these show."""
    paths, labels = chosen_pictures(options.data, options.pictures)
    with tempfile.TemporaryDirectory() as folder:
        images = (read_picture(path, str(path)) for path in paths)
        task = write_task(Path(folder), images, is_video=False, limit_s=PATIENCE_S)
        return by_turns(programs, task, options.repeat), labels


def measure_film(
    options: argparse.Namespace, programs: Sequence[Program], people: Sequence[Portrait],
    width: int, height: int,
) -> Film:  # fmt: skip
    """All programs on one film."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "film.mp4"
        truth = write_crowd(video, people, width, height, options.frames)
        with task_of(video, options.limit) as task:
            answers = by_turns(programs, task, options.repeat)
        alone = mien_alone(options.mien, video, options.repeat)
        bare = bare_rate(video, options.repeat)
    return Film(width, height, len(people), truth, answers, alone, bare)


def measure_films(
    options: argparse.Namespace, programs: Sequence[Program], people: Sequence[Portrait]
) -> list[Film]:
    """All programs on a film of every size with every number of faces."""
    films = []
    for width, height in options.sizes:
        for count in options.faces:
            tell(f"film of {width} x {height}, {faces_of(count)}")
            films.append(measure_film(options, programs, people[:count], width, height))
    return films


def measure_lengths(options: argparse.Namespace, person: Portrait) -> dict[int, dict[str, Any]]:
    """What `mien benchmark run` says of films of one face, by their number of frames."""
    by_length = {}
    for frames in options.lengths:
        tell(f"film of {frames} frames")
        with tempfile.TemporaryDirectory() as folder:
            video = Path(folder) / "film.mp4"
            write_crowd(video, [person], *PROFILED, frames)
            by_length[frames] = mien_alone(options.mien, video, options.repeat)
    return by_length


def tell(text: str) -> None:
    """Progress, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def pictures_section(
    data: Path, answers: Answers, labels: Sequence[str], notes: Notes
) -> list[str]:
    """All programs on real pictures."""
    spec = ExpressionClassifier().spec
    return [
        "## Pictures",
        f"{len(labels)} pictures of `{data}`, as many of each class. One in which no face is found "
        "counts as read wrongly; of several faces, the largest is the answer. "
        f"{spec.name} {spec.version} has learned from {spec.training_data}; what the others have "
        "learned from is not documented for all of them.",
        pictures_table(answers, labels, notes),
    ]


def videos_section(options: argparse.Namespace, films: Sequence[Film], notes: Notes) -> list[str]:
    """All programs on films."""
    whose = f"people of `{options.data}`" if options.data else "copies of the sample portrait"
    return [
        "## Videos",
        f"Films of {options.frames} frames of {whose}, seen from the front, whose "
        "heads wander before a blurred grey background and never hide each other. "
        "Each cell: frames a second; the share of the true faces that were found (a "
        f"box whose centre lies in the true one, and whose longer side is {SIDES[0]:g} "
        f"to {SIDES[1]:g} times as long: programs disagree about where a face ends); "
        "boxes that are no face, a frame. The true boxes are those of mien's detector "
        "on the portraits that the heads were cut from, and only portraits in which "
        "it finds one face were taken, which favours it. A run ends after "
        f"{options.limit:g} s, and the shares are those of the frames until then.",
        films_table(films, notes),
    ]


def costs_section(told: Film, programs: Sequence[Program], notes: Notes) -> list[str]:
    """What every program takes to start, and holds."""
    return [
        "## Start, memory, disk",
        f"On the film of {told.width} x {told.height} with {faces_of(told.faces)}: loading the "
        "libraries; from the start of the process to the first result, models opened (files are in "
        "the system's cache); the most memory that the process held (VmHWM). Installed is what the "
        "program's environment fills (`du`), without Python or node itself; for `fer` and `facex` "
        "without TensorFlow, which their packages ask for, and with what benchmarks/README.md "
        "installs.",
        costs_table(told.answers, {p.name: installed_mb(p.folder) for p in programs}, notes),
    ]


def alone_section(
    films: Sequence[Film], told: Film, by_length: dict[int, dict[str, Any]]
) -> list[str]:
    """What mien does from the file to the results."""
    return [
        "## mien alone",
        "From the file to the results, decoding included (`mien benchmark run`): a video's stages "
        "work side by side in three threads. Decoding to RGB is what mien does with a frame at "
        "least; decoding only leaves the frame as the codec gives it. Latency is the time from a "
        "decoded frame to its result, where frames are read one by one.",
        alone_table(films),
        f"Where the time goes on the film of {told.width} x {told.height} with "
        f"{faces_of(told.faces)}, as `mien analyze --profile` counts it:",
        stages_table(told.alone),
        f"How time grows with frames, and with faces ({PROFILED[0]} x {PROFILED[1]}):",
        growth_table(by_length, films),
    ]


def limits_section(faces: Sequence[int]) -> list[str]:
    """What the machine could do."""
    return [
        "## Limits of the machine",
        "One thread; medians. The yardstick is numpy's product of two float32 matrices; a "
        "multiply-accumulate (MAC) counts as two operations. Of the detector only convolutions are "
        "counted, in its ONNX graph; of the expression network what its ModelSpec says.",
        limits_table(reached([find_model().name], faces)),
    ]


def missing_section(absent: Sequence[str], data: Path | None, notes: Notes) -> list[str]:
    """What was left out and what failed; nothing where there is neither."""
    left_out = [f"- Left out, because its environment was not given: {name}." for name in absent]
    if not data:
        left_out.append("- Left out, because no data set was given: pictures.")
    missing = [*left_out, *notes.lines()]
    return ["## What is missing", "\n".join(missing)] if missing else []


def make_page(options: argparse.Namespace, command: str) -> str:
    """Measure everything and write it out."""
    programs, absent = programs_of(options)
    where, notes = machine(), Notes()
    sections: list[str] = []
    everything: list[Answers] = []
    if options.data:
        tell("pictures")
        answers, labels = measure_pictures(options, programs)
        everything.append(answers)
        sections += pictures_section(options.data, answers, labels, notes)
    people = portraits(options.data, max(options.faces))
    films = measure_films(options, programs, people)
    everything += [film.answers for film in films]
    by_length = measure_lengths(options, people[0])
    told = next((f for f in films if (f.width, f.height) == PROFILED), films[0])
    tell("limits of the machine")
    sections += [
        *videos_section(options, films, notes),
        *costs_section(told, programs, notes),
        *alone_section(films, told, by_length),
        *limits_section(options.faces),
        *missing_section(absent, options.data, notes),
    ]
    head = [
        "# Benchmarks",
        "<!-- Made by benchmarks/page.py; do not change it by hand. -->",
        f"`{command}` ({options.repeat} runs of every program)",
        where,
        versions_table(everything),
        INTRODUCTION,
    ]
    return "\n\n".join(map(wrapped, [*head, *sections])) + "\n"


def _size(text: str) -> tuple[int, int]:
    width, height = text.lower().split("x")
    return int(width), int(height)


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_program_options(parser)
    add = parser.add_argument
    add("--data", type=Path, metavar="PATH", help="labelled full pictures, one face each")
    add("--pictures", type=int, default=140, metavar="N", help="how many of them (140)")
    add("--frames", type=int, default=120, metavar="N", help="length of the films (120)")
    add("--sizes", type=_size, nargs="+", default=list(SIZES), metavar="WxH", help="of the films")
    add("--faces", type=int, nargs="+", default=list(FACES), metavar="N", help="in the films")
    add("--lengths", type=int, nargs="+", default=list(LENGTHS), metavar="N", help="of growth")
    add("--out", type=Path, default=TARGET, metavar="FILE", help=f"the page ({TARGET})")
    return parser


def main() -> None:
    """Measure and write the page."""
    parser = make_parser()
    options = parser.parse_args()
    if options.repeat < 1 or options.limit <= 0:
        parser.error("--repeat, --limit: expected more than 0")
    page = make_page(options, command_of(options, parser))
    options.out.write_text(page, "utf-8")
    tell(f"wrote {options.out}")


if __name__ == "__main__":
    main()
