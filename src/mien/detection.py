"""Find faces in a frame: `FaceDetector` turns a `Frame` into `Detections`.

May import numpy, and from mien: types, geometry, preprocess, inference, weights.

The network is CenterFace (Xu et al., "CenterFace: Joint Face Detection and Alignment Using
Face as Point", Scientific Programming 2020): one convolutional pass gives, on a grid of
4-pixel cells, how likely a face centre is (heat map), its size (log scale), the offset of the
centre within its cell, and five landmarks. Its weights come in with the build (hatch_build.py); a
copy with numbers of 8 bits lies in the package (scripts/quantize_detector.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from mien.geometry import FloatArray, iou_matrix, non_maximum_suppression
from mien.inference import Network
from mien.preprocess import resize
from mien.types import Detections, Float32Array, Frame, UInt8Array
from mien.weights import PACKAGE, read_weights

WEIGHTS: Final = "centerface.onnx"
ROUNDED_WEIGHTS: Final = "centerface-int8.onnx"
_CELL_PX: Final = 4  # one cell of the heat map covers 4 x 4 pixels of the network's input
_MULTIPLE_PX: Final = 32  # the network halves its input five times
_LARGE_FACES_UP_TO_PX: Final = 512  # inputs above this are searched at half the size as well
_COARSE_FACE_PX: Final = 80  # smaller faces are left to the finer pass
_REGION: Final = 2.2  # of `detect_near`: side of what is looked at, in sides of the face
_SAME_IOU: Final = 0.3  # overlap from which a face is the expected one
_NMS_IOU: Final = 0.3  # overlap above which two boxes are the same face


class FaceDetector:
    """Finds faces of any size down to about 10 pixels in the resized frame.

    Args:
        long_side_px: the frame is scaled so that its longer side has this many pixels. 640 finds
            the most; 480 is half the work and misses only small faces in wide pictures.
        min_score: detector confidence in 0..1 below which a face is dropped.
        threads: ONNX Runtime threads. More than one rarely helps on small inputs.
        device: as of `mien.inference.Network`.

    Raises:
        ModelError: the weights are missing or altered.
        ConfigError: the device cannot be used.
    """

    #: Side in pixels to which `detect_near` resizes the surroundings of a face.
    REGION_PX: Final = 96

    def __init__(
        self,
        *,
        long_side_px: int = 640,
        min_score: float = 0.5,
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        if long_side_px < _MULTIPLE_PX:
            raise ValueError(f"long_side_px: expected at least {_MULTIPLE_PX}, got {long_side_px}")
        if not 0 < min_score < 1:
            raise ValueError(f"min_score: expected a number between 0 and 1, got {min_score}")
        self.long_side_px = long_side_px
        self.min_score = min_score
        self._network = Network(read_weights(WEIGHTS), WEIGHTS, threads=threads, device=device)
        self._rounded = self._network
        if self._network.device == "cpu":  # 8 bits save no work elsewhere
            rounded = read_weights(ROUNDED_WEIGHTS, PACKAGE)
            self._rounded = Network(rounded, ROUNDED_WEIGHTS, threads=threads)

    def find(
        self, frame: Frame, *, long_side_px: int | None = None, expected: int | None = None
    ) -> Detections:
        """The faces in `frame`, best score first; `Detections.empty()` when there is none.

        They are searched for with numbers of 8 bits (on the CPU) and then measured one by one by
        `detect_near`, as between the searches of a video: six tenths of the work of `detect`. Where
        there are so many that this does not pay, `detect` sees them all at once; and it has the
        last word on a picture in which none is found, such as a blurred or a very dark one.

        Args:
            frame: the frame.
            long_side_px: overrides the detector's own setting for this frame.
            expected: of a video, how many faces were there before; None for a picture.
        """
        side = long_side_px or self.long_side_px
        if not self.looking_near_pays(frame, expected or 0, side):
            return self.detect(frame, long_side_px=side)
        roughly = self.search(frame, long_side_px=side)
        none = expected is None and not len(roughly)
        if none or not self.looking_near_pays(frame, len(roughly), side):
            return self.detect(frame, long_side_px=side)
        near, owners = self.detect_near(frame, roughly.boxes)
        lost = [i for i in range(len(roughly)) if i not in owners]
        faces = Detections.concatenate([near, roughly.select(lost)])
        return faces.select(non_maximum_suppression(faces.boxes, faces.scores, _NMS_IOU))

    def looking_near_pays(self, frame: Frame, faces: int, long_side_px: int) -> bool:
        """Whether `detect_near` of so many faces is less work than `detect` at `long_side_px`."""
        whole = frame.width * frame.height * (long_side_px / max(frame.width, frame.height)) ** 2
        return faces * self.REGION_PX**2 < whole

    def detect(self, frame: Frame, *, long_side_px: int | None = None) -> Detections:
        """As `find`, by one look at the whole frame, in exact numbers."""
        return self._detect(frame, long_side_px or self.long_side_px, self._network)

    def search(self, frame: Frame, *, long_side_px: int) -> Detections:
        """As `detect`, in half the time and with boxes that are a few per cent off."""
        return self._detect(frame, long_side_px, self._rounded)

    def _detect(self, frame: Frame, side: int, network: Network) -> Detections:
        found = [self._detect_at(frame, side, network)]
        # A face that fills a large input is missed; at half the size it is an ordinary one.
        while side > _LARGE_FACES_UP_TO_PX:
            side //= 2
            coarse = self._detect_at(frame, side, network)
            large = coarse.sides * side / max(frame.width, frame.height) >= _COARSE_FACE_PX
            found.append(coarse.select(large))
        faces = Detections.concatenate(found)
        return faces.select(non_maximum_suppression(faces.boxes, faces.scores, _NMS_IOU))

    def detect_near(self, frame: Frame, boxes: Float32Array) -> tuple[Detections, list[int]]:
        """The faces at about `boxes (N, 4)`, xyxy, at most one for each, and whose they are.

        Only the surroundings of each box are looked at, all at once: for a few faces a fraction of
        the work of `detect`. What else is in the frame is not seen.

        Returns:
            M faces, and for each the row of its box.
        """
        if not len(boxes):
            return Detections.empty(), []
        regions = np.zeros((len(boxes), 3, self.REGION_PX, self.REGION_PX), np.float32)
        places = [_show(frame, *each) for each in zip(boxes, regions, strict=True)]
        heat, log_size, offset, points = self._network.run(regions)
        found, owners = [], []
        for i, (step, corner) in enumerate(places):
            faces = self._decode(heat[i, 0], log_size[i], offset[i], points[i])
            faces = _mapped(faces, step, corner, frame)
            overlap = iou_matrix(faces.boxes, boxes[i : i + 1])[:, 0]
            if len(faces) and overlap.max() >= _SAME_IOU:
                found.append(faces.select([int(overlap.argmax())]))
                owners.append(i)
        if not found:
            return Detections.empty(), []
        faces = Detections.concatenate(found)
        kept = non_maximum_suppression(faces.boxes, faces.scores, _NMS_IOU)
        return faces.select(kept), [owners[i] for i in kept]

    def _detect_at(self, frame: Frame, long_side_px: int, network: Network) -> Detections:
        """One pass over the frame, resized to `long_side_px`."""
        scale = long_side_px / max(frame.width, frame.height)
        width = _round_up(frame.width * scale)
        height = _round_up(frame.height * scale)
        resized = resize(frame.image, width, height, fast=True)
        heat, log_size, offset, points = network.run(pixels(resized))
        found = self._decode(heat[0, 0], log_size[0], offset[0], points[0])
        # Width and height are rounded to whole cells, so the two axes scale a little differently.
        step = np.array([frame.width / width, frame.height / height])
        return _mapped(found, step, np.zeros(2), frame)

    def _decode(
        self,
        heat: Float32Array,
        log_size: Float32Array,
        offset: Float32Array,
        points: Float32Array,
    ) -> Detections:
        """Heads `(h, w)`, `(2, h, w)`, `(2, h, w)`, `(10, h, w)` to faces in input pixels."""
        row, column = np.nonzero(heat > self.min_score)
        if not len(row):
            return Detections.empty()
        scores = heat[row, column]
        # Every head stores y before x.
        size_y, size_x = np.exp(log_size[:, row, column]) * _CELL_PX
        centre_y = (row + offset[0, row, column] + 0.5) * _CELL_PX
        centre_x = (column + offset[1, row, column] + 0.5) * _CELL_PX
        left, top = centre_x - size_x / 2, centre_y - size_y / 2
        boxes = np.stack([left, top, left + size_x, top + size_y], 1).astype(np.float32)
        y = points[0::2, row, column] * size_y + top
        x = points[1::2, row, column] * size_x + left
        landmarks = np.stack([x.T, y.T], 2).astype(np.float32)
        faces = Detections(boxes, scores, landmarks)
        return faces.select(non_maximum_suppression(boxes, scores, _NMS_IOU))


def pixels(image: UInt8Array) -> Float32Array:
    """A picture `(H, W, 3)` as the network's input `(1, 3, H, W)`."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)


def _show(frame: Frame, box: Float32Array, region: Float32Array) -> tuple[FloatArray, FloatArray]:
    """Draw the surroundings of a face's box, xyxy, into the black `region (3, S, S)`.

    Returns:
        where they come from: `step` and `corner` of `_mapped`.
    """
    side = max(_REGION * float((box[2:] - box[:2]).max()), 8.0)
    low = (box[:2] + box[2:] - side) / 2
    left, top = (int(value) for value in np.floor(low).clip(0))
    right = min(frame.width, int(np.ceil(low[0] + side)))
    bottom = min(frame.height, int(np.ceil(low[1] + side)))
    size_px = region.shape[1]
    width = min(size_px, round((right - left) * (size_px / side)))
    height = min(size_px, round((bottom - top) * (size_px / side)))
    if width < 1 or height < 1:  # it has left the picture
        return np.ones(2), np.zeros(2)
    patch = resize(frame.image[top:bottom, left:right], width, height, fast=True)
    region[:, :height, :width] = patch.transpose(2, 0, 1)
    return np.array([right - left, bottom - top]) / [width, height], np.array([left, top], float)


def _mapped(faces: Detections, step: FloatArray, corner: FloatArray, frame: Frame) -> Detections:
    """Faces found in a resized part of a frame, in the frame's pixels; boxes end at its edge.

    Args:
        faces: in pixels of the part.
        step: size of the part's pixels in the frame's, (x, y).
        corner: the part's upper left corner in the frame, (x, y).
        frame: the frame.
    """
    boxes = faces.boxes * np.tile(step, 2) + np.tile(corner, 2)
    landmarks = faces.landmarks * step + corner
    mapped = Detections(boxes.astype(np.float32), faces.scores, landmarks.astype(np.float32))
    return mapped.inside(frame.width, frame.height)


def _round_up(length: float) -> int:
    return max(_MULTIPLE_PX, int(np.ceil(length / _MULTIPLE_PX)) * _MULTIPLE_PX)
