"""Whether the mesh helps to read expressions: crops laid by it, and pose as a warning.

    python benchmarks/pose.py --data ../shared/data --every 2

KDEF from the front, KDEF turned by 45 degrees and CK+'s apex frames, each face found once as the
pipeline finds it, and cut in every way below for the default model. Nothing was fitted to these
sets. Where a face's parts belong in a crop, and what a face from the front is, say those of `ROWS`
of FER2013's Training rows that are seen from the front, cut by the pipeline's rule. The ways:

- `turned upright by the mesh`: today's box; the angle from the mesh's eyes and mouth corners.
- `eyes and mouth in place`: the similarity that brings the eyes' centres and the mouth's centre
  where they belong, by the detector's landmarks, for comparison, and by the mesh.
- `size, place and angle of the head`: the mean face is fitted to the mesh in space, by the points
  above the base of the nose only, since mouth and jaw move with the expression. So a turned face
  is not enlarged because it looks narrow. Its yaw and pitch stay as they are.
- `turned to the front`: the same, with yaw and pitch undone: every triangle of the mesh is drawn
  where it lies once the head has been turned back. The face keeps its own mesh: on the mean one,
  all mouths would be equally open. Around the mesh the warp fades out over half a crop.
- `far half mirrored`: the same, and of faces that are turned by more than `FRONT_DEG`, the half
  that is seen better stands for both.

The second table: how well measures of a face, larger is worse, tell the model's wrong answers for
today's crops from its right ones, also on `2 * ROWS` rows of PublicTest. Intervals by draws of
people. What is found is kept in `runs/pose`. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from crop_rule import largest
from identity import interval
from matplotlib.tri import LinearTriInterpolator, Triangulation
from shape import FRONT_DEG

from mien.alignment import FRONT_NOSE_OFFSET, crop_transforms, nose_offset
from mien.classifier import ExpressionClassifier
from mien.datasets import crop_frame, load_crops, load_pictures
from mien.detection import FaceDetector
from mien.geometry import invert_transform, similarity_transform, transform_points
from mien.metrics import accuracy_interval, mcnemar_p
from mien.models import ModelSpec
from mien.picture import read_picture
from mien.preprocess import interpolate, resize, resize_crop, sample, surroundings, to_gray
from mien.quality import QualityGate
from mien.shape import POINTS, SCALE, FaceMesh, shape_of
from mien.types import Detections, Frame, UInt8Array

ROWS = 600  # drawn with seed 0
CACHE = Path("runs") / "pose"  # faces and their meshes
WAYS = (
    "today: the detector's box, upright by its landmarks",
    "today's box, turned upright by the mesh",
    "eyes and mouth in place, by the detector's landmarks",
    "eyes and mouth in place, by the mesh",
    "size, place and angle of the head",
    "the same, turned to the front",
    "the same, far half mirrored",
)
_EYES = ((33, 133), (362, 263))  # corners, left and right in the picture
_MOUTH = (61, 291)
_NOSE, _NOSE_BASE = 1, 2
_SMALL_PX, _MARGIN_PX = 128, 8  # FER2013's rows are shown to the detector as for the training

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """The largest face of each of N pictures; without a face, the score is 0.

    Attributes:
        faces: N of them.
        meshes: `(N, 468, 3)`, pixels of the pictures.
        presence: `(N,)`, of the meshes.
    """

    faces: Detections
    meshes: Array
    presence: Array

    @property
    def seen(self) -> Mask:
        """Which pictures show a face."""
        return np.asarray(self.faces.scores > 0)


def find(frames: Iterable[Frame], detect: Callable[[Frame], Detections], kept: Path) -> Found:
    """The faces in pictures, out of the file where they are kept, or found anew."""
    if not kept.is_file():
        mesh = FaceMesh()
        rows: list[tuple[Any, ...]] = []
        for frame in frames:
            face = largest(detect(frame))
            where = crop_transforms(face, scale=SCALE, upright=True, size_px=FaceMesh.INPUT_PX)
            shapes = mesh.shapes(frame, where)
            if shapes:
                box, score, marks = face.boxes[0], face.scores[0], face.landmarks[0]
                rows.append((box, score, marks, shapes[0].mesh, shapes[0].presence))
            else:
                rows.append((np.zeros(4), 0, np.zeros((5, 2)), np.zeros((POINTS, 3)), 0))
        boxes, scores, landmarks, meshes, presence = (
            np.array(column, np.float32) for column in zip(*rows, strict=True)
        )
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            kept, boxes=boxes, scores=scores, landmarks=landmarks, meshes=meshes, presence=presence
        )
    with np.load(kept) as saved:
        faces = Detections(saved["boxes"], saved["scores"], saved["landmarks"])
        return Found(faces, saved["meshes"].astype(float), saved["presence"].astype(float))


@dataclass(frozen=True)
class Front:
    """The mean face from the front, in pixels of a crop.

    Attributes:
        landmarks: the detector's `(5, 2)`.
        mesh: `(468, 3)`.
    """

    landmarks: Array
    mesh: Array

    @classmethod
    def of(cls, found: Found, spec: ModelSpec) -> Front:
        """The mean of those faces that are seen from the front."""
        ahead = np.abs(nose_offset(found.faces.landmarks)) <= FRONT_NOSE_OFFSET
        chosen = np.nonzero(found.seen & ahead)[0]
        marks, meshes = [], []
        for i, into in zip(chosen, _today(found.faces.select(chosen), spec), strict=True):
            back = invert_transform(into)
            marks.append(transform_points(back, found.faces.landmarks[i] - 0.5))
            flat = transform_points(back, found.meshes[i, :, :2])
            depth = found.meshes[i, :, 2] * np.hypot(*back[:, 0])
            meshes.append(np.column_stack([flat, depth]))
        print(f"the mean face is that of {len(chosen)} of FER2013's Training rows\n")
        return cls(np.mean(marks, axis=0), np.mean(meshes, axis=0))


def _today(faces: Detections, spec: ModelSpec) -> Array:
    return crop_transforms(
        faces, scale=spec.crop_scale, upright=spec.crop_upright, size_px=spec.input_px
    )


def five(mesh: Array) -> Array:
    """The detector's landmarks, by the mesh: `(5, 2)`."""
    eyes = [mesh[list(corners), :2].mean(0) for corners in _EYES]
    return np.stack([*eyes, mesh[_NOSE, :2], *mesh[list(_MOUTH), :2]])


def _eyes_and_mouth(landmarks: Array) -> Array:
    return np.stack([*landmarks[:2], landmarks[3:].mean(0)])


def fit(front: Array, mesh: Array) -> tuple[float, Array, Array]:
    """Size, rotation and shift that bring `front (N, 3)` nearest to `mesh (N, 3)`.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    IEEE PAMI 13 (4), 1991; by the points above the base of the nose.
    """
    above = front[:, 1] < front[_NOSE_BASE, 1]
    a, b = front[above] - front[above].mean(0), mesh[above] - mesh[above].mean(0)
    u, values, v = np.linalg.svd(b.T @ a)
    proper = np.array([1, 1, np.sign(np.linalg.det(u @ v))])
    rotation = u @ np.diag(proper) @ v
    size = float((values * proper).sum() / (a**2).sum())
    return size, rotation, mesh[above].mean(0) - size * rotation @ front[above].mean(0)


def of_head(front: Array, mesh: Array, size_px: int) -> Array:
    """From a crop's pixels to the picture's `(2, 3)`, with the head's size, place and angle."""
    size, rotation, shift = fit(front, mesh)
    across = rotation[:2, 0] / np.hypot(*rotation[:2, 0])
    linear = size * np.array([[across[0], -across[1]], [across[1], across[0]]])
    middle = np.full(2, (size_px - 1) / 2)
    centre = size * rotation @ np.append(middle, front[:, 2].mean()) + shift
    return np.column_stack([linear, centre[:2] - linear @ middle])


def to_front(gray: UInt8Array, front: Array, mesh: Array, size_px: int) -> UInt8Array:
    """The crop of `of_head`, yaw and pitch undone: `(S, S)`."""
    size, rotation, shift = fit(front, mesh)
    ahead = (mesh - shift) @ rotation / size
    edge = (np.stack(np.meshgrid(*[[-0.5, 0.5, 1.5]] * 2), 2).reshape(-1, 2)) * size_px
    edge = np.delete(edge, 4, axis=0)  # not the crop's middle
    places = np.concatenate([ahead[:, :2], edge])
    outside = transform_points(of_head(front, mesh, size_px), edge)
    origins = np.concatenate([mesh[:, :2], outside])
    triangles = Triangulation(*places.T)
    rows, columns = np.indices((size_px, size_px), float)
    moved = [LinearTriInterpolator(triangles, o)(columns, rows).data.ravel() for o in origins.T]
    points = np.stack(moved, 1)
    if size > 2:  # as `sample`: shrunk by averages first
        old = np.array(gray.shape[::-1])
        new = np.round(old / (size / 1.25)).astype(int)
        gray = resize(gray, int(new[0]), int(new[1]))
        points = (points + 0.5) * (new / old) - 0.5
    return np.asarray(interpolate(gray, points).round().reshape(size_px, size_px), np.uint8)


def mirrored(crop: UInt8Array, yaw_deg: float) -> UInt8Array:
    """The half that is seen better, and its mirror image; a face from the front as it is."""
    if abs(yaw_deg) <= FRONT_DEG:
        return crop
    left = np.arange(crop.shape[1]) < crop.shape[1] / 2
    return np.where(left == (yaw_deg > 0), crop, crop[:, ::-1])


def cut(image: UInt8Array, face: Detections, mesh: Array, front: Front, spec: ModelSpec) -> Array:
    """A face in all of `WAYS`: `uint8 (7, S, S)`."""
    gray, px = to_gray(image), spec.input_px
    by_mesh = five(mesh)
    places = (
        _today(face, spec)[0],
        _today(replace(face, landmarks=by_mesh[None].astype(np.float32)), spec)[0],
        similarity_transform(
            _eyes_and_mouth(front.landmarks), _eyes_and_mouth(face.landmarks[0] - 0.5)
        ),
        similarity_transform(_eyes_and_mouth(five(front.mesh)), _eyes_and_mouth(by_mesh)),
        of_head(front.mesh, mesh, px),
    )
    crops = [sample(*surroundings(gray, place, px), px) for place in places]
    turned = to_front(gray, front.mesh, mesh, px)
    return np.stack([*crops, turned, mirrored(turned, shape_of(mesh, 1).yaw_deg)])


# --- the tables ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answers:
    """What the model said of N faces: which answers are wrong, how sure it was, whose they are."""

    found: Found
    crops: UInt8Array  # today's
    wrong: Mask
    confidence: Array
    people: Ints

    def where(self, mask: Mask) -> Answers:
        """Some of them."""
        return Answers(
            replace(
                self.found,
                faces=self.found.faces.select(mask),
                meshes=self.found.meshes[mask],
                presence=self.found.presence[mask],
            ),
            self.crops[mask],
            self.wrong[mask],
            self.confidence[mask],
            np.unique(self.people[mask], return_inverse=True)[1],
        )


def read(
    folder: Path, every: int, front: Front, model: ExpressionClassifier
) -> tuple[Mask, Answers]:
    """Which pictures of a set each of `WAYS` reads rightly `(7, N)`, and today's answers."""
    pictures = load_pictures(folder)[::every]
    frames = (Frame(read_picture(p.path, str(p.path))) for p in pictures)
    found = find(frames, FaceDetector().find, CACHE / f"{folder.name}-{every}.npz")
    px = model.spec.input_px
    crops = np.zeros((len(WAYS), len(pictures), px, px), np.uint8)
    for i in (int(row) for row in np.nonzero(found.seen)[0]):
        image = read_picture(pictures[i].path, str(pictures[i].path))
        crops[:, i] = cut(image, found.faces.select([i]), found.meshes[i], front, model.spec)
    labels = np.array([picture.label for picture in pictures])
    said = [model.predict(way).probs for way in crops]
    right = np.stack([(probs.argmax(1) == labels) & found.seen for probs in said])
    people = np.unique([picture.group for picture in pictures], return_inverse=True)[1]
    return right, Answers(found, crops[0], ~right[0], said[0].max(1), people)


def accuracies(sets: dict[str, Mask]) -> None:
    """Print how often each way is right, and how likely chance makes it differ from the first."""
    heads = " | ".join(f"{name}, n = {right.shape[1]:,}" for name, right in sets.items())
    print(f"| crop | {heads} |\n|---|" + "---|" * len(sets))
    for w, way in enumerate(WAYS):
        cells = []
        for right in sets.values():
            low, high = accuracy_interval(int(right[w].sum()), right.shape[1])
            p = f", p = {mcnemar_p(right[0], right[w]):.2g}" if w else ""
            cells.append(f"{right[w].mean():.1%} ({low:.1%} to {high:.1%}){p}")
        print(f"| {way} | {' | '.join(cells)} |")


def measures(answers: Answers) -> dict[str, Array]:
    """Of each face, larger is worse; the first is what the gate goes by today."""
    found = answers.found
    shapes = [shape_of(m, p) for m, p in zip(found.meshes, found.presence, strict=True)]
    yaw = np.radians([shape.yaw_deg for shape in shapes])
    pitch = np.radians([shape.pitch_deg for shape in shapes])
    rated = QualityGate().rate(found.faces, answers.crops)
    return {
        "nose beside the middle (the gate's `turned`)": np.abs(nose_offset(found.faces.landmarks)),
        "the gate's score, low": -np.array([quality.score for quality in rated]),
        "yaw": np.abs(yaw),
        "pitch": np.abs(pitch),
        "yaw and pitch: angle from straight ahead": np.arccos(np.cos(yaw) * np.cos(pitch)),
        "presence, low": -found.presence,
        "eyes, little open": -np.array([np.mean(shape.eye_opening) for shape in shapes]),
        "brows, low": -np.array([np.mean(shape.brow_height) for shape in shapes]),
        "mouth, little open": -np.array([shape.mouth_opening for shape in shapes]),
        "the model's confidence, low": -answers.confidence,
    }


def area(ranks: Ints, answers: Answers, weights: Array) -> float:
    """Area under the curve: how often a wrong answer has a higher rank than a right one has.

    People count as often as `weights` say.
    """
    each = weights[answers.people]
    wrong = np.bincount(ranks, each * answers.wrong)
    right = np.bincount(ranks, each * ~answers.wrong)
    below = right.cumsum() - right / 2
    return float((wrong * below).sum() / max(wrong.sum() * right.sum(), 1))


def _more(ranks: Ints, first: Ints, answers: Answers, weights: Array) -> float:
    return area(ranks, answers, weights) - area(first, answers, weights)


def signs(sets: dict[str, Answers]) -> None:
    """Print how well each measure tells wrong answers, and how much better than the first does."""
    heads, columns, names = [], [], []
    for name, answers in sets.items():
        people = int(answers.people.max()) + 1
        values = measures(answers)
        names = list(values)
        ranks = [np.unique(value, return_inverse=True)[1] for value in values.values()]
        columns.append([interval(partial(area, r, answers), people) for r in ranks])
        columns.append([interval(partial(_more, r, ranks[0], answers), people) for r in ranks])
        heads += [f"{name}, {answers.wrong.sum():,} of {len(answers.wrong):,} wrong", "more"]
    print(f"\n| area under the curve of | {' | '.join(heads)} |\n|---|" + "---|" * len(heads))
    for name, *cells in zip(names, *columns, strict=True):
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with fer2013, ckplus, kdef"
    )
    parser.add_argument("--every", type=int, default=1, help="only every so many-th of KDEF")
    options = parser.parse_args()
    model, small = ExpressionClassifier(), FaceDetector(long_side_px=_SMALL_PX)

    def crops(split: str, chosen: slice) -> tuple[UInt8Array, Ints, Found]:
        data = load_crops(options.data / "fer2013", split)
        rows = np.random.default_rng(0).permutation(len(data))[chosen]
        images = data.images[rows]
        frames = (crop_frame(np.pad(image, _MARGIN_PX, mode="edge")) for image in images)
        found = find(frames, small.detect, CACHE / f"{split}-{len(rows)}.npz")
        return images, data.labels[rows], found

    front = Front.of(crops("Training", slice(ROWS))[2], model.spec)
    apex_right, apex = read(options.data / "ckplus", 1, front, model)
    posed_right, posed = read(options.data / "kdef", options.every, front, model)
    turned = np.abs(nose_offset(posed.found.faces.landmarks)) > FRONT_NOSE_OFFSET
    missed = ~posed.found.seen  # wrong in both
    accuracies(
        {
            "KDEF from the front": posed_right[:, ~turned | missed],
            "KDEF turned": posed_right[:, turned | missed],
            "CK+": apex_right,
        }
    )
    images, labels, found = crops("PublicTest", slice(2 * ROWS))
    cuts = np.stack([resize_crop(image, model.spec.input_px) for image in images])
    probs = model.predict(cuts).probs
    wild = Answers(found, cuts, probs.argmax(1) != labels, probs.max(1), np.arange(len(labels)))
    posed, apex, wild = (some.where(some.found.seen) for some in (posed, apex, wild))
    given = posed.where(posed.confidence >= model.spec.uncertain_below)
    signs({"KDEF": posed, "KDEF, answers given": given, "CK+": apex, "PublicTest": wild})


if __name__ == "__main__":
    main()
