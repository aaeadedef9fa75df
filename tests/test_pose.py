"""The crops of benchmarks/pose.py lie where a known head says."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pose
import pytest

from mien.geometry import similarity_transform
from mien.preprocess import sample
from mien.shape import POINTS
from mien.types import UInt8Array

SIZE_PX = 44


@pytest.fixture
def head() -> npt.NDArray[np.float64]:
    """Points all over a crop, with the base of the nose below its middle."""
    points = np.random.default_rng(1).uniform([2, 0, -5], [42, 46, 5], (POINTS, 3))
    points[pose._NOSE_BASE] = 21, 29, -5
    return points


@pytest.fixture
def picture() -> UInt8Array:
    """Soft stripes along both axes: every place looks different from its surroundings."""
    y, x = np.indices((150, 200))
    return np.asarray((128 + 60 * np.sin(x / 25) + 60 * np.cos(y / 20)).round(), np.uint8)


def rotation(yaw_deg: float, roll_deg: float) -> npt.NDArray[np.float64]:
    y, r = np.radians([yaw_deg, roll_deg])
    side = [[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]]
    plane = [[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]]
    return np.array(plane) @ np.array(side)


def test_a_turned_head_keeps_its_size_and_angle(head: npt.NDArray[np.float64]) -> None:
    turned = 3 * head @ rotation(40, 10).T + [90, 70, 0]
    turned[head[:, 1] > 35] += [0, 12, 0]  # a jaw that drops says nothing of the head
    linear = pose.of_head(head, turned, SIZE_PX)[:, :2]
    r = np.radians(10)
    assert linear == pytest.approx(3 * np.array([[np.cos(r), -np.sin(r)], [np.sin(r), np.cos(r)]]))


@pytest.mark.parametrize("size", [1.5, 3])
def test_a_face_from_the_front_is_only_cut(
    head: npt.NDArray[np.float64], picture: UInt8Array, size: float
) -> None:
    mesh = size * head @ rotation(0, 5).T + [30, 5, 0]
    cut = pose.to_front(picture, head, mesh, SIZE_PX)
    expected = sample(picture, similarity_transform(head[:, :2], mesh[:, :2]), SIZE_PX)
    assert np.abs(cut.astype(int) - expected).max() <= 1


def test_a_turned_face_is_turned_back(head: npt.NDArray[np.float64]) -> None:
    """What is painted on a flat face looks from the front as it was painted."""
    head[:, 2] = 0
    turn = rotation(40, 0)
    x = np.indices((150, 200))[1]
    painted = np.clip(128 + 3 * (x - 100) / turn[0, 0], 0, 255).round().astype(np.uint8)
    mesh = head - [21.5, 21.5, 0]
    cut = pose.to_front(painted, head, mesh @ turn.T + [100, 75, 0], SIZE_PX)
    assert np.abs(cut[20, 5:40] - (128 + 3 * (np.arange(5, 40) - 21.5))).max() <= 2


def test_the_half_that_is_seen_better_stands_for_both() -> None:
    crop = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert pose.mirrored(crop, 40)[0].tolist() == [0, 1, 1, 0]
    assert pose.mirrored(crop, -40)[0].tolist() == [3, 2, 2, 3]
    assert pose.mirrored(crop, 10).tolist() == crop.tolist()


def test_area_by_hand() -> None:
    answers: Any = pose.Answers(
        found=None,  # type: ignore[arg-type]
        crops=np.zeros((4, 1, 1), np.uint8),
        wrong=np.array([True, True, False, False]),
        confidence=np.zeros(4),
        people=np.array([0, 1, 2, 3]),
    )
    # The first wrong one lies above both right ones, the second beside one and above the other.
    ranks = np.array([2, 1, 1, 0])
    assert pose.area(ranks, answers, np.ones(4)) == pytest.approx((2 + 1.5) / 4)
    assert pose.area(ranks, answers, np.array([1.0, 0, 1, 1])) == 1
