"""Boxes and transforms against values worked out by hand, and against their inverses."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.geometry import (
    best_pairs,
    invert_transform,
    iou_matrix,
    non_maximum_suppression,
    similarity_transform,
    transform_points,
)


def test_iou_by_hand() -> None:
    a = np.array([[0, 0, 2, 2]], float)
    b = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [2, 0, 4, 2], [0, 0, 0, 0]], float)
    assert iou_matrix(a, b) == pytest.approx(np.array([[1, 1 / 7, 0, 0]]))


def test_iou_of_nothing() -> None:
    assert iou_matrix(np.zeros((0, 4)), np.ones((3, 4))).shape == (0, 3)


def test_suppression_keeps_the_best_of_each_cluster() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60]], float)
    assert non_maximum_suppression(boxes, np.array([0.5, 0.9, 0.7]), 0.3) == [1, 2]


def test_suppression_of_many_boxes_takes_little_memory() -> None:
    """A low threshold makes candidates of nearly all places of a picture."""
    at = np.arange(4000) % 20 * 50.0
    boxes = np.stack([at, at, at + 40, at + 40], 1).astype(np.float32)
    scores = np.linspace(1, 0.5, len(boxes), dtype=np.float32)
    tracemalloc.start()
    try:
        kept = non_maximum_suppression(boxes, scores, 0.3)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept == list(range(20))
    assert most < 4_000_000  # all overlaps are 64 million bytes


def test_pairs_by_hand() -> None:
    """The cheapest goes first, though both together would cost less the other way round."""
    costs = np.array([[1, 2, np.inf], [2, 9, np.inf]], float)
    assert list(best_pairs(costs)) == [(0, 0), (1, 1)]
    assert list(best_pairs(costs[:, 2:])) == []
    assert list(best_pairs(np.zeros((2, 0)))) == list(best_pairs(np.zeros((0, 2)))) == []


@given(
    angle=st.floats(-3, 3),
    scale=st.floats(0.1, 10),
    shift=st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
)
def test_similarity_is_recovered_and_undone(
    angle: float, scale: float, shift: tuple[float, float]
) -> None:
    points = np.array([[0, 0], [4, 1], [2, 5], [-3, 2]], float)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    truth = np.column_stack([turn, shift])
    moved = transform_points(truth, points)
    found = similarity_transform(points, moved)
    assert found == pytest.approx(truth, abs=1e-6)
    assert transform_points(invert_transform(found), moved) == pytest.approx(points, abs=1e-5)


def test_similarity_needs_two_places() -> None:
    with pytest.raises(ValueError, match="one place"):
        similarity_transform(np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="N>=2"):
        similarity_transform(np.ones((1, 2)), np.ones((1, 2)))


def test_a_flat_transform_has_no_inverse() -> None:
    with pytest.raises(ValueError, match="no inverse"):
        invert_transform(np.array([[1, 1, 0], [1, 1, 0]], float))
