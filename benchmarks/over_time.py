"""Single frames, smoothing and the temporal model on the same videos: who is right, calm and quick.

    python benchmarks/over_time.py --data ../shared/data

Three examinations, one table.

- Acted clips (CREMA-D's and MEAD's names in `clips/`; one person, one expression each). Read
  rightly is a clip whose dominant segment, by probability times duration, is the acted expression;
  a neutral clip is read rightly if it has no segment but neutral ones. Changes of the answer are
  counted per second.
- Neutral speech (`clips/lrs3_speech.mp4`): changes a second, and the share of the time in which
  something else than neutral is answered.
- CK+ sequences of the subjects that the temporal model has not seen, from rest to the peak, 30
  frames a second: whether the last frame is read rightly, and how late the onset is seen: from that
  frame on, the last frame's answer never stops leading. A person would put the onset where the face
  visibly begins to change; the mesh is asked instead: the first frame after which the mean distance
  of its points from those of the first frame (both brought onto each other by a similarity
  transform) stays above a quarter of its greatest value. Only sequences whose last frame is read
  rightly have an onset.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.datasets import load_clips, load_pictures
from mien.events import dominant_expression
from mien.geometry import similarity_transform, transform_points
from mien.pipeline import Analyzer
from mien.sources import open_source
from mien.types import EXPRESSIONS, FaceResult, Frame, FrameResult

FPS = 30
VISIBLE = 0.25  # of the greatest displacement
#: CK+'s subjects of whom there are whole sequences; the temporal recipe leaves them out.
SUBJECTS = ("S052", "S055", "S074", "S106", "S111", "S113", "S124", "S125", "S130", "S132")


@dataclass(frozen=True)
class Played:
    """Frames from rest to the peak, and what the peak shows."""

    frames: list[Path]
    label: int


def sequences(ckplus: Path) -> list[Played]:
    """CK+'s whole sequences of the subjects that were left out."""
    found = []
    for picture in load_pictures(ckplus):
        frames = sorted(picture.path.parent.glob(f"*{picture.path.suffix}"))
        if picture.group in SUBJECTS and len(frames) > 1:
            found.append(Played(frames, picture.label))
    return found


def play(analyzer: Analyzer, frames: Sequence[Path]) -> list[FaceResult | None]:
    """The largest face of every frame."""
    following = analyzer.following()
    shown: list[FaceResult | None] = []
    for i, file in enumerate(frames):
        (picture,) = open_source(str(file))
        frame = Frame(picture.image, str(file.parent), i, i / FPS)
        faces = analyzer.analyze_frame(frame, following=following).faces
        shown.append(max(faces, key=lambda face: face.box[2] * face.box[3], default=None))
    return shown


def visible_onset(frames: Sequence[Path]) -> int:
    """The frame from which the mesh has left its rest for good."""
    faces = play(Analyzer(shape=True, smooth_s=0), frames)
    shapes = [face.shape for face in faces if face is not None]
    meshes = [shape.mesh[:, :2] for shape in shapes if shape and shape.mesh is not None]
    rest = meshes[0].astype(np.float64)
    moved = []
    for mesh in meshes:
        onto = similarity_transform(mesh, rest)
        moved.append(float(np.linalg.norm(transform_points(onto, mesh) - rest, axis=1).mean()))
    return _for_good(np.array(moved) >= VISIBLE * max(moved))


def _for_good(true: npt.NDArray[np.bool_]) -> int:
    """The first index from which on all are true."""
    false = np.nonzero(~true)[0]
    return int(false[-1]) + 1 if len(false) else 0


def calm(results: Iterable[FrameResult]) -> tuple[int, float, float]:
    """Changes of the answer, seconds, and the share of frames that are not neutral."""
    seen = [result for result in results if result.faces]
    shown = [result.faces[0].expression for result in seen]
    changes = sum(a != b for a, b in pairwise(shown))
    share = float(np.mean([expression != "neutral" for expression in shown]))
    return changes, seen[-1].time_s - seen[0].time_s, share


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="clips/ and ckplus/ in it")
    parser.add_argument("--model", help="expression model")
    parser.add_argument("--temporal", help="temporal model, where it is not the installed one")
    options = parser.parse_args()
    clips = load_clips(options.data / "clips")
    played = sequences(options.data / "ckplus")
    onsets = [visible_onset(sequence.frames) for sequence in played]
    print(
        "| answers | clips read rightly | changes a second, clips | changes a second, speech "
        "| speech not neutral | CK+ peaks read rightly | onset late, median | within 150 ms |"
    )
    print("|---|---|---|---|---|---|---|---|")
    ways: list[tuple[str, dict[str, Any]]] = [
        ("single frames", {"smooth_s": 0.0}),
        ("averaged over 0.2 s", {"smooth_s": 0.2}),
        ("averaged over 0.4 s", {"smooth_s": 0.4}),
        ("temporal model", {"temporal": options.temporal}),
    ]
    for name, how in ways:
        analyzer = Analyzer(options.model, **how)
        right, changes, seconds = 0, 0, 0.0
        for clip in clips:
            results = list(analyzer.stream(clip.path))
            right += dominant_expression(results) == EXPRESSIONS[clip.label]
            some, lasting, _ = calm(results)
            changes, seconds = changes + some, seconds + lasting
        speech = calm(analyzer.stream(options.data / "clips" / "lrs3_speech.mp4"))
        peaks, late = 0, []
        for sequence, onset in zip(played, onsets, strict=True):
            faces = play(analyzer, sequence.frames)
            shown = [None if face is None else face.expression for face in faces]
            if shown[-1] == EXPRESSIONS[sequence.label]:
                peaks += 1
                seen = _for_good(np.array([s == shown[-1] for s in shown]))
                late.append((seen - onset) / FPS)
        within = float(np.mean(np.abs(late) <= 0.15))
        print(
            f"| {name} | {right} of {len(clips)} | {changes / seconds:.2f} "
            f"| {speech[0] / speech[1]:.2f} | {speech[2]:.0%} "
            f"| {peaks} of {len(played)} | {1000 * float(np.median(late)):.0f} ms | {within:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
