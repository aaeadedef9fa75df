"""How well faces keep their numbers: IDF1 and id switches on films composed of real clips.

    python benchmarks/tracking.py --clips ../shared/data/clips --kdef ../shared/data/kdef

Heads cut out of clips of one person walk across a background on known paths, cross, and hide
each other, in front of a still and of a moving camera. The truth is where each head was put; one
that is hidden for the most part has no truth in that frame. In films with cuts, two people are
shown in turn at the same place, each in front of a background of their own. IDF1 after Ristani et
al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", ECCV workshops
2016. Needs scipy.

Heads that turn are composed of KDEF's pictures of a person at rest, from the front and turned by 45
degrees to either side, faded into each other with the face's box in its place. A head that is
turned away is of the colour of its hair, and has no truth.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.optimize import linear_sum_assignment

from mien.alignment import FRONT_NOSE_OFFSET, nose_offset
from mien.detection import FaceDetector
from mien.geometry import iou_matrix
from mien.pipeline import Analyzer
from mien.sources import first_frame, open_source
from mien.types import FaceResult, Frame, UInt8Array

SHOT_S = 1.0  # how long one is shown before a cut
WIDTH, HEIGHT, FPS, SECONDS = 1280, 720, 25, 6
FACE_PX = 110  # the longer side of a head's face, as it is put into the film
MARGIN = 1.7  # side of the head that is cut out, in sides of the face
VISIBLE = 0.5  # share of a face that must be seen for it to have a truth
SAME_IOU = 0.5
PEOPLE = ("single_face.mp4", "woman2.mp4", "mead_W036_level_3_happy_007.mp4", "1001_DFA_NEU_XX.flv")

SITTERS = ("0", "4")  # person-sessions of KDEF
HOLD_S = 0.4  # how long a head looks in one direction
TURN_S = 0.35  # and how long it takes to the next

Path2 = Callable[[float], tuple[float, float]]  # time in 0..1 to the face's centre, pixels


@dataclass(frozen=True)
class Head:
    """One frame of a person: pixels, opacity, and the face's box in them, if it can be seen."""

    pixels: UInt8Array
    opacity: npt.NDArray[np.float32]
    box: npt.NDArray[np.float32]
    visible: bool = True


def heads_of(clip: Path, detector: FaceDetector) -> list[Head]:
    """The head of every frame of a clip, all of one size."""
    heads = []
    with open_source(clip) as source:
        for frame in source:
            faces = detector.detect(frame)
            if len(faces):
                heads.append(cut_head(frame.image, faces.boxes[0]))
            if len(heads) == FPS * SECONDS:
                break
    return heads


def views_of(kdef: Path, session: str, detector: FaceDetector) -> dict[str, Head]:
    """A person from the front, turned to the left and to the right, and turned away."""
    views: dict[str, Head] = {}
    for file in sorted((kdef / "neutral").glob(f"{session}_*.jpg")):
        frame = first_frame(file)
        faces = detector.detect(frame)
        offset = float(nose_offset(faces.landmarks)[0])
        front = abs(offset) <= FRONT_NOSE_OFFSET
        side = "front" if front else "left" if offset < 0 else "right"
        views[side] = cut_head(frame.image, faces.boxes[0])
    if len(views) < 3:
        raise SystemExit(f"{kdef}: expected three directions of {session}, found {len(views)}")
    front_view = views["front"]
    size = len(front_view.pixels)
    hair = front_view.pixels[size // 8 : size // 5, 2 * size // 5 : 3 * size // 5]
    colour = np.median(hair, axis=(0, 1)).astype(np.uint8)
    away = np.broadcast_to(colour, front_view.pixels.shape)
    return views | {"away": replace(front_view, pixels=away, visible=False)}


def turning(views: dict[str, Head], turns: Sequence[str], begin: int) -> list[Head]:
    """The frames of a head that turns on and on, from the so many-th direction."""
    heads = []
    for i in range(FPS * SECONDS):
        step, since_s = divmod(i / FPS, HOLD_S + TURN_S)
        now, then = (views[turns[(begin + int(step) + k) % len(turns)]] for k in (0, 1))
        share = max(0.0, (since_s - HOLD_S) / TURN_S)
        pixels = now.pixels + share * (then.pixels.astype(np.float32) - now.pixels)
        box = (now.box + share * (then.box - now.box)).astype(np.float32)
        visible = (now if share < 0.5 else then).visible
        heads.append(Head(pixels.astype(np.uint8), now.opacity, box, visible))
    return heads


def cut_head(image: UInt8Array, box: npt.NDArray[np.float32], *, face_px: int = FACE_PX) -> Head:
    """The head around a face, resized so that the longer side of the face has `face_px`."""
    centre, side = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
    reach = MARGIN * side / 2
    left, top, right, bottom = (round(float(v)) for v in (*(centre - reach), *(centre + reach)))
    size = round(MARGIN * face_px)
    patch = Image.fromarray(image).crop((left, top, right, bottom)).resize((size, size))
    y, x = (np.indices((size, size)) + 0.5) / size * 2 - 1
    opacity = 1 / (1 + np.exp((np.hypot(x, y) - 0.9) * 40))
    scale = size / (2 * reach)
    mapped = (box - np.tile(centre - reach, 2)) * scale
    return Head(np.asarray(patch, np.uint8), opacity.astype(np.float32), mapped)


SCENES: dict[str, tuple[list[Path2], bool]] = {
    "two cross": (
        [lambda t: (150 + 980 * t, 350), lambda t: (1130 - 980 * t, 370)],
        False,
    ),
    "two meet and turn back": (
        [
            lambda t: (200 + 440 * np.sin(np.pi * t), 350),
            lambda t: (1080 - 400 * np.sin(np.pi * t), 360),
        ],
        False,
    ),
    "four mill about": (
        [
            lambda t: (640 + 420 * np.cos(6.3 * t), 360 + 150 * np.sin(6.3 * t)),
            lambda t: (640 - 420 * np.cos(6.3 * t), 360 + 150 * np.sin(9 * t)),
            lambda t: (640 + 300 * np.sin(5 * t), 360 + 180 * np.cos(7 * t)),
            lambda t: (200 + 800 * t, 250 + 200 * t),
        ],
        False,
    ),
    "two cross, camera moves": (
        [lambda t: (150 + 980 * t, 350), lambda t: (1130 - 980 * t, 370)],
        True,
    ),
}

#: Of two people side by side: how each turns, over and over, the second half a round behind.
TURNS = {
    "two turn to both sides": ("front", "left", "front", "right"),
    "two turn away and back": ("front", "right", "away", "right"),
    "two turn round": ("front", "right", "away", "left"),
}
SIDE_BY_SIDE: list[Path2] = [
    lambda t: (500 + 40 * np.sin(6.3 * t), 350),
    lambda t: (780 + 40 * np.sin(9 * t), 360),
]


#: Who is shown in turn, by their places among PEOPLE.
CUTS = {"cuts between two": (0, 1), "cuts between two others": (2, 3)}
#: Where everyone is in a film with cuts: nearly in one place, as whoever films a talk has them.
SHOWN_IN_TURN: list[Path2] = [
    lambda t: (640 + 30 * np.sin(6.3 * t), 350),
    lambda t: (650 + 30 * np.sin(9 * t), 360),
]


def film(
    people: list[list[Head]],
    paths: list[Path2],
    *,
    moving: bool = False,
    cut: bool = False,
    seconds: int = SECONDS,
) -> Iterator[tuple[Frame, dict[int, npt.NDArray[np.float64]]]]:
    """Frames, and for each the boxes of the people who can be seen."""
    rng = np.random.default_rng(0)
    sceneries = [_scenery(rng) for _ in paths]
    count = FPS * seconds
    for i in range(count):
        t = i / count
        shown = int(i / FPS / SHOT_S) % len(paths) if cut else 0
        scenery = sceneries[shown]
        pan = np.array([0, 0])
        if moving:
            pan = np.array([200 + 200 * np.sin(12 * t), 50 + 50 * np.sin(23 * t)]).astype(int)
        image = scenery[pan[1] : pan[1] + HEIGHT, pan[0] : pan[0] + WIDTH].copy()
        owner = np.full((HEIGHT, WIDTH), -1)
        boxes = {}
        for number, (heads, path) in enumerate(zip(people, paths, strict=False)):
            if cut and number != shown:
                continue
            head = heads[i % len(heads)]
            middle = np.array(path(t)) - pan * 0.5
            corner = np.round(middle - (head.box[:2] + head.box[2:]) / 2).astype(int)
            paste(image, owner, head, corner, number)
            if head.visible:
                boxes[number] = head.box + np.tile(corner, 2)
        truth = {n: box for n, box in boxes.items() if _share_seen(owner, box, n) >= VISIBLE}
        yield Frame(image, "film", i, i / FPS), truth


def _scenery(rng: np.random.Generator) -> UInt8Array:
    coarse = rng.integers(60, 200, (18, 40, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((WIDTH + 400, HEIGHT + 100)), np.uint8)


def paste(
    image: UInt8Array,
    owner: npt.NDArray[np.int64],
    head: Head,
    corner: npt.NDArray[np.int64],
    number: int,
) -> None:
    """Put a head into a picture at `corner` (x, y), and its number where it can be seen."""
    size, height, width = len(head.pixels), *owner.shape
    x0, y0 = np.maximum(corner, 0)
    x1, y1 = np.minimum(corner + size, (width, height))
    if x1 <= x0 or y1 <= y0:
        return
    part = np.s_[y0 - corner[1] : y1 - corner[1], x0 - corner[0] : x1 - corner[0]]
    alpha = head.opacity[part][:, :, None]
    target = image[y0:y1, x0:x1]
    target[:] = (target + alpha * (head.pixels[part].astype(np.float32) - target)).astype(np.uint8)
    owner[y0:y1, x0:x1][head.opacity[part] > 0.5] = number


def _share_seen(owner: npt.NDArray[np.int64], box: npt.NDArray[np.float64], number: int) -> float:
    x0, y0, x1, y1 = box.round().astype(int)
    area = max(1, (x1 - x0) * (y1 - y0))
    seen = (owner[max(y0, 0) : y1, max(x0, 0) : x1] == number).sum()
    return float(seen) / float(area)


def matched(
    truth: dict[int, npt.NDArray[np.float64]], faces: Sequence[FaceResult]
) -> Iterator[tuple[int, FaceResult]]:
    """Whose face was found: the people of a film's frame, each with the face in their place."""
    if not truth or not faces:
        return
    found = np.array([(x, y, x + w, y + h) for x, y, w, h in (face.box for face in faces)])
    overlap = iou_matrix(np.stack(list(truth.values())), found)
    for row, column in zip(*linear_sum_assignment(-overlap), strict=True):
        if overlap[row, column] >= SAME_IOU:
            yield list(truth)[row], faces[column]


def measure(
    analyzer: Analyzer,
    people: list[list[Head]],
    paths: list[Path2],
    *,
    moving: bool = False,
    cut: bool = False,
) -> tuple[float, int, float]:
    """IDF1, id switches, and the share of true faces that were found."""
    following = analyzer.following()
    pairs: dict[tuple[int, int], int] = {}
    true_count, found_count, hits, switches = 0, 0, 0, 0
    last: dict[int, int] = {}
    for frame, truth in film(people, paths, moving=moving, cut=cut):
        faces = analyzer.analyze_frame(frame, following=following).faces
        true_count += len(truth)
        found_count += len(faces)
        for person, face in matched(truth, faces):
            number = face.track_id
            assert number is not None
            pairs[person, number] = pairs.get((person, number), 0) + 1
            hits += 1
            switches += last.get(person, number) != number
            last[person] = number
    persons, numbers = (sorted({pair[k] for pair in pairs}) for k in (0, 1))
    table = np.array([[pairs.get((p, n), 0) for n in numbers] for p in persons])
    agreed = table[linear_sum_assignment(-table)].sum()
    return float(2 * agreed / (true_count + found_count)), switches, hits / true_count


def main() -> None:
    """Measure every scene and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, help="folder with " + PEOPLE[0])
    parser.add_argument("--kdef", type=Path, help="KDEF, for heads that turn")
    options = parser.parse_args()
    detector, analyzer = FaceDetector(), Analyzer()
    print("| scene | people | IDF1 | id switches | faces found |\n|---|---|---|---|---|")

    def row(name: str, people: list[list[Head]], paths: list[Path2], **kind: bool) -> None:
        idf1, switches, recall = measure(analyzer, people, paths, **kind)
        print(f"| {name} | {len(paths)} | {idf1:.3f} | {switches} | {recall:.1%} |", flush=True)

    if options.clips:
        people = [heads_of(options.clips / name, detector) for name in PEOPLE]
        for name, (paths, moving) in SCENES.items():
            row(name, people, paths, moving=moving)
        for name, pair in CUTS.items():
            row(name, [people[i] for i in pair], SHOWN_IN_TURN, cut=True)
    if options.kdef:
        sitters = [views_of(options.kdef, session, detector) for session in SITTERS]
        for name, turns in TURNS.items():
            heads = [turning(views, turns, 2 * i) for i, views in enumerate(sitters)]
            row(name, heads, SIDE_BY_SIDE)


if __name__ == "__main__":
    main()
