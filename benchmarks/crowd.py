"""Films of any size with any number of faces, whose places are known. Imports filming, tracking,
mien.

Every head has a cell of a grid for itself and wanders in it, so that no face hides another. The
face is at most two fifths of its cell, and three tenths of the picture's height. The truth is where
each face was put; its box in the portrait that it was cut from is mien's own detector's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filming import write_film
from PIL import Image
from tracking import cut_head, paste

from mien.alignment import FRONT_NOSE_OFFSET, nose_offset
from mien.datasets import load_pictures
from mien.detection import FaceDetector
from mien.picture import read_picture
from mien.types import Float32Array, Frame, UInt8Array

FPS = 30
QUALITY = {"crf": "18", "preset": "veryfast"}

Box = tuple[float, float, float, float]  # x, y, width, height


@dataclass(frozen=True)
class Portrait:
    """A picture and its one face, `xyxy`."""

    image: UInt8Array
    box: Float32Array


def portraits(data: Path | None, count: int) -> list[Portrait]:
    """So many portraits from the front, of a data set; of the sample portrait without one."""
    detector = FaceDetector()
    files = [Path("demo") / "astronaut.png"]
    if data is not None:
        by_person = {picture.group: picture.path for picture in reversed(load_pictures(data))}
        files = sorted(by_person.values())
        np.random.default_rng(0).shuffle(files)
    found: list[Portrait] = []
    for file in files:
        image = read_picture(file, str(file))
        faces = detector.detect(Frame(image))
        offset = abs(float(nose_offset(faces.landmarks)[0])) if len(faces) == 1 else 1.0
        if offset <= FRONT_NOSE_OFFSET:
            found.append(_padded(image, faces.boxes[0]))
        if len(found) == count:
            break
    if not found:
        raise SystemExit(f"{data}: no portrait from the front")
    return [found[i % len(found)] for i in range(count)]


def _padded(image: UInt8Array, box: Float32Array) -> Portrait:
    """With room around it for the whole head, in the colours of its edges."""
    room = round(float((box[2:] - box[:2]).max()))
    return Portrait(np.pad(image, ((room, room), (room, room), (0, 0)), mode="edge"), box + room)


def crowd(
    people: Sequence[Portrait], width: int, height: int, frames: int
) -> Iterator[tuple[UInt8Array, list[Box]]]:
    """Pictures, and the boxes of the faces in each."""
    columns = math.ceil(math.sqrt(len(people) * width / height))
    rows = math.ceil(len(people) / columns)
    cell = np.array([width / columns, height / rows])
    face_px = round(min(0.4 * float(cell.min()), 0.3 * height))
    heads = [cut_head(person.image, person.box, face_px=face_px) for person in people]
    coarse = np.random.default_rng(0).integers(100, 160, (9, 16), np.uint8)
    gray = np.asarray(Image.fromarray(coarse).resize((width, height)), np.uint8)
    scenery = np.repeat(gray[:, :, None], 3, axis=2)
    for i in range(frames):
        image = scenery.copy()
        owner = np.full((height, width), -1)
        boxes: list[Box] = []
        for number, head in enumerate(heads):
            room = np.maximum(cell - len(head.pixels), 0)
            phase = np.array([i / 20 + number, i / 25 + 2 * number])
            place = np.array([number % columns, number // columns]) * cell
            corner = np.round(place + room * (0.5 + 0.5 * np.sin(phase))).astype(int)
            paste(image, owner, head, corner, number)
            x0, y0, x1, y1 = (float(v) for v in head.box + np.tile(corner, 2))
            boxes.append((x0, y0, x1 - x0, y1 - y0))
        yield image, boxes


def write_crowd(
    target: Path, people: Sequence[Portrait], width: int, height: int, frames: int
) -> list[list[Box]]:
    """Write a film as H.264 and return the boxes of the faces of every frame."""
    truth = []

    def images() -> Iterator[UInt8Array]:
        for image, boxes in crowd(people, width, height, frames):
            truth.append(boxes)
            yield image

    write_film(target, images(), fps=FPS, options=QUALITY)
    return truth
