"""Hides faces in copies: those that were found, and those that may be there.

May import numpy, and from mien: annotate, detection, geometry, types.

A result holds faces that are sure enough to be read. Whom a copy is to hide, it must not show where
the detector is unsure, nor for the few frames in which it sees nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from math import inf
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.annotate import hide_boxes
from mien.detection import FaceDetector
from mien.geometry import best_pairs, iou_matrix
from mien.types import FaceResult, Float32Array, Frame, UInt8Array

#: Detector confidence from which something is hidden, however sure results are to be.
_LEAST_SCORE: Final = 0.2
#: A face that is not seen any more is hidden for so long, as the tracker waits for it; and in one
#: frame more, however seldom they come.
_LINGER_S: Final = 1.5
#: By so much its place grows on every side, in its own sides a second, and at most.
_GROWTH_PER_S: Final = 1.0
_GROWTH_MOST: Final = 0.5
_SAME_IOU: Final = 0.3


class FaceHider:
    """Hides the faces of pictures, or of the frames of a video in order.

    Args:
        detector: the analyzer's; pictures are searched once more, for what it is less sure of.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = copy(detector)  # the networks are opened once
        self._detector.min_score = min(_LEAST_SCORE, detector.min_score)
        self._source, self._index, self._now_s = "", -1, -inf
        self._seen: list[tuple[float, Float32Array]] = []  # when, and where: xyxy

    def hide(self, frame: Frame, faces: Sequence[FaceResult]) -> UInt8Array:
        """A copy of the frame, RGB `uint8 (H, W, 3)`, in which faces are a few flat squares.

        Args:
            frame: of another source, or an earlier one, nothing is remembered.
            faces: its result's.
        """
        # By its number: two frames of a video may be shown at the same time.
        if frame.source != self._source or frame.index <= self._index:
            self._seen = []
        since_s = min(self._now_s, frame.time_s - _LINGER_S)
        self._source, self._index, self._now_s = frame.source, frame.index, frame.time_s
        found = np.array([face.box for face in faces], np.float32).reshape(-1, 4)
        found[:, 2:] += found[:, :2]
        more = self._detector.find(frame).boxes
        here = np.concatenate([found, more[_apart(more, found)]])
        late = [each for each in self._seen if each[0] >= since_s]
        lost = _lost(np.array([box for _, box in late], np.float32).reshape(-1, 4), here)
        late = [each for each, is_lost in zip(late, lost, strict=True) if is_lost]
        self._seen = [*late, *((frame.time_s, box) for box in here)]
        grown = [_grown(box, frame.time_s - then_s) for then_s, box in late]
        # Results may say where a face should be, the detector where one is: both are hidden.
        boxes = [(x, y, right - x, low - y) for x, y, right, low in [*found, *more, *grown]]
        return hide_boxes(frame.image, boxes)


def _apart(boxes: Float32Array, others: Float32Array) -> npt.NDArray[np.bool_]:
    """Which of the boxes `(N, 4)`, xyxy, none of the others is."""
    if not len(boxes) or not len(others):
        return np.ones(len(boxes), np.bool_)
    return np.asarray(iou_matrix(boxes, others).max(1) < _SAME_IOU)


def _lost(before: Float32Array, now: Float32Array) -> npt.NDArray[np.bool_]:
    """Which of the boxes `(N, 4)`, xyxy, are nowhere now: one face now is one face before."""
    lost = np.ones(len(before), np.bool_)
    if len(before) and len(now):
        overlaps = iou_matrix(before, now)
        for row, _ in best_pairs(np.where(overlaps < _SAME_IOU, inf, 1 - overlaps)):
            lost[row] = False
    return lost


def _grown(box: Float32Array, gap_s: float) -> Float32Array:
    """A box, xyxy, that holds where a face may have gone since."""
    most = float((box[2:] - box[:2]).max()) * min(_GROWTH_PER_S * gap_s, _GROWTH_MOST)
    return box + np.array([-most, -most, most, most], np.float32)
