"""Boxes, overlaps, pairs and similarity transforms in the plane. Imports numpy only.

Coordinates are pixels; x grows to the right, y downwards. A box is `xyxy`: its left,
top, right and bottom edge. A transform is a `(2, 3)` matrix that maps (x, y, 1).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


def iou_matrix(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of every box in `a (N, 4)` with every box in `b (M, 4)`: `(N, M)`.

    Boxes without area overlap nothing (0, never NaN).
    """
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.prod(np.clip(bottom_right - top_left, 0, None), axis=2)
    area_a = np.prod(np.clip(a[:, 2:] - a[:, :2], 0, None), axis=1)
    area_b = np.prod(np.clip(b[:, 2:] - b[:, :2], 0, None), axis=1)
    union = area_a[:, None] + area_b[None, :] - intersection
    iou = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return np.asarray(iou)


def non_maximum_suppression(boxes: FloatArray, scores: FloatArray, iou: float) -> list[int]:
    """Indices of the boxes to keep, best score first; drops overlaps above `iou` (0..1)."""
    keep: list[int] = []
    alive = np.ones(len(scores), bool)
    for i in np.argsort(-scores, kind="stable"):
        if alive[i]:
            keep.append(int(i))
            # One row at a time: all overlaps of tens of thousands of boxes would fill the memory.
            alive &= iou_matrix(boxes[i : i + 1], boxes)[0] <= iou
    return keep


def best_pairs(costs: FloatArray) -> Iterator[tuple[int, int]]:
    """Rows and columns of `costs (N, M)` that go together, the cheapest pair first.

    Each row and each column is in one pair at most; none costs infinitely much.
    """
    taken = np.zeros(costs.shape, bool)
    for flat in np.argsort(costs, axis=None, kind="stable"):
        row, column = divmod(int(flat), costs.shape[1])
        if not np.isfinite(costs[row, column]):
            return
        if not taken[row, column]:
            taken[row], taken[:, column] = True, True
            yield row, column


def similarity_transform(source: FloatArray, target: FloatArray) -> npt.NDArray[np.float64]:
    """The `(2, 3)` rotation, uniform scale and shift that best maps `source (N, 2)` to `target`.

    Least squares without reflection: Umeyama, "Least-squares estimation of transformation
    parameters between two point patterns", IEEE PAMI 13 (4), 1991.

    Raises:
        ValueError: fewer than two points, or all source points in one place.
    """
    source = np.asarray(source, np.float64)
    target = np.asarray(target, np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[0] < 2:
        raise ValueError(f"expected two (N>=2, 2) arrays, got {source.shape} and {target.shape}")
    source_mean, target_mean = source.mean(0), target.mean(0)
    s, t = source - source_mean, target - target_mean
    variance = (s**2).sum()
    if variance == 0:
        raise ValueError("all source points lie in one place: no transform is defined")
    # In the plane a similarity is multiplication by one complex number a + bi.
    a = (s * t).sum() / variance
    b = (s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum() / variance
    matrix = np.array([[a, -b], [b, a]])
    return np.column_stack([matrix, target_mean - matrix @ source_mean])


def transform_points(matrix: FloatArray, points: FloatArray) -> FloatArray:
    """Apply a `(2, 3)` transform to points `(..., 2)`."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def invert_transform(matrix: FloatArray) -> npt.NDArray[np.float64]:
    """The `(2, 3)` transform that undoes `matrix`.

    Raises:
        ValueError: the matrix flattens the plane and cannot be undone.
    """
    linear = np.asarray(matrix[:, :2], np.float64)
    if abs(np.linalg.det(linear)) < 1e-12:
        raise ValueError("the transform flattens the plane and has no inverse")
    inverse = np.linalg.inv(linear)
    return np.column_stack([inverse, -inverse @ matrix[:, 2]])
