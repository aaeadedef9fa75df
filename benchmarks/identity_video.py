"""Whether people who leave and return are recognized, in one video and from one to the next, and
what that costs.

    python scripts/sample_portrait.py
    python benchmarks/identity_video.py --clips ../shared/data/clips

Composes two films out of real clips of eight people (see tracking.py). Three at a time walk through
the picture, leave, and return some seconds later in another place, where there are several clips of
them with another expression. Then half of them are in a gallery, each with one picture. Prints
Markdown tables. Speed is that of video_speed.py's film, one face, with and without.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from PIL import Image
from tracking import FPS, HEIGHT, WIDTH, Head, Path2, film, heads_of, matched
from video_speed import write_video

from mien.detection import FaceDetector
from mien.pipeline import Analyzer
from mien.types import FaceResult

#: Each person's clips, for one visit after the other.
PEOPLE = (
    ("1001_DFA_ANG_XX.flv", "1001_DFA_HAP_XX.flv", "1001_DFA_SAD_XX.flv"),
    ("mead_W036_level_3_happy_007.mp4",),
    ("mead_M003_level_1_disgusted_015.mp4",),
    ("woman2.mp4",),
    ("mead_W023_level_2_surprised_010.mp4",),
    ("mead_M026_level_3_disgusted_018.mp4",),
    ("single_face.mp4",),
    ("mead_W040_level_3_happy_029.mp4",),
)
LANES = (150, 360, 570)  # pixels from the top
VISITS, VISIT_S = 6, 4  # in each lane, and how long
OUTSIDE = 150  # how far beyond the edge a path begins


def visits(first: int) -> list[tuple[int, Path2]]:
    """The person and the path of every visit of a film that begins with this person."""
    found = []
    for turn in range(VISITS):
        for lane, y in enumerate(LANES):
            person = (first + turn * len(LANES) + lane) % len(PEOPLE)
            found.append((person, _path(turn, y, backwards=(turn + lane) % 2 == 1)))
    return found


def _path(turn: int, y: int, *, backwards: bool) -> Path2:
    def place(t: float) -> tuple[float, float]:
        share = t * VISITS - turn
        if not 0 <= share < 1:
            return -1000.0, -1000.0
        x = (WIDTH + 2 * OUTSIDE) * (1 - share if backwards else share) - OUTSIDE
        return x, y

    return place


def seen(
    analyzer: Analyzer, people: list[list[list[Head]]], first: int, *, moving: bool
) -> Iterator[tuple[int, int, float, FaceResult]]:
    """Every face that was found in a film: person, visit, time, and what was said of it."""
    plan, count = visits(first), Counter[int]()
    heads = []
    for person, _ in plan:
        clips, begin = people[person], count[person]
        clip = clips[begin % len(clips)]
        half = (begin % 2) * len(clip) // 2
        heads.append(clip[half:] + clip[:half])
        count[person] += 1
    following = analyzer.following()
    frames = film(heads, [path for _, path in plan], moving=moving, seconds=VISITS * VISIT_S)
    for frame, truth in frames:
        faces = analyzer.analyze_frame(frame, following=following).faces
        for visit, face in matched(truth, faces):
            yield plan[visit][0], visit, frame.time_s, face


def measure(
    analyzer: Analyzer, people: list[list[list[Head]]], names: dict[int, str]
) -> Iterator[str]:
    """A row for each film. `names` are those of people in the gallery; others have none yet."""
    names = dict(names)
    for number, (first, moving) in enumerate(((0, False), (5, True)), 1):
        told: dict[int, Counter[str | None]] = defaultdict(Counter)
        tracks, waited = set(), dict[int, float]()
        began: dict[int, float] = {}
        right = wrong = unnamed = 0
        for person, visit, time_s, face in seen(analyzer, people, first, moving=moving):
            began.setdefault(visit, time_s)
            tracks.add(face.track_id)
            told[visit][face.person] += 1
            if face.person is None:
                unnamed += 1
                continue
            waited.setdefault(visit, time_s - began[visit])
            right += face.person == names.setdefault(person, face.person)
            wrong += face.person != names[person]
        kept = sum(
            max(told[visit], key=lambda name: told[visit][name]) == names.get(person, "nobody's")
            for visit, (person, _) in enumerate(visits(first))
            if visit in told
        )
        several = len(set(names.values())) < len(names)
        yield (
            f"| {number} | {len(told)} | {len(tracks)} | {kept} | {right:,} | {wrong:,} | "
            f"{unnamed:,} | {median(waited.values()):.2f} s | {'yes' if several else 'no'} |"
        )


def gallery_of(people: list[list[list[Head]]], folder: Path) -> dict[int, str]:
    """A picture of every second person, from the middle of their first clip."""
    names = {}
    for person in range(0, len(people), 2):
        clip = people[person][0]
        head = clip[len(clip) // 2]
        names[person] = f"name {person}"
        canvas = Image.new("RGB", (3 * head.pixels.shape[1], 3 * head.pixels.shape[0]), "grey")
        canvas.paste(Image.fromarray(head.pixels), head.pixels.shape[:2])
        canvas.save(folder / f"{names[person]}.png")
    return names


def speed() -> Iterator[str]:
    """Frames a second of a film with one face, without and with, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        write_video(Path("demo") / "astronaut.png", video)
        for identity in (False, True) * 3:
            analyzer = Analyzer(identity=identity)
            began = time.perf_counter()
            frames = sum(1 for _ in analyzer.stream(video))
            rate = frames / (time.perf_counter() - began)
            seconds = analyzer.times.seconds
            share = seconds.get("identity", 0.0) / sum(seconds.values())
            yield f"| {'on' if identity else 'off'} | {rate:.1f} | {share:.1%} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True, help="folder with " + PEOPLE[0][0])
    options = parser.parse_args()
    detector = FaceDetector(long_side_px=320)
    people = [[heads_of(options.clips / clip, detector) for clip in clips] for clips in PEOPLE]
    head = (
        "| film | visits | tracks | visits with the right person | faces named rightly | wrongly | "
        "not yet | named after, median | two people under one name |\n" + "|---" * 9 + "|"
    )
    print(f"{VISITS * VISIT_S} s each, {FPS} frames a second, {WIDTH} x {HEIGHT}; nobody known")
    print(head)
    for row in measure(Analyzer(identity=True), people, {}):
        print(row, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        names = gallery_of(people, Path(folder))
        analyzer = Analyzer(gallery=folder)
    print(f"\n{len(names)} of {len(people)} people in a gallery, one picture each\n{head}")
    for row in measure(analyzer, people, names):
        print(row, flush=True)
    print("\n| identity | frames a second | its share of all work |\n|---|---|---|")
    for row in speed():
        print(row, flush=True)


if __name__ == "__main__":
    main()
