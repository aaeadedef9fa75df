"""What counts as a change of the scenery, and where."""

import numpy as np
import pytest
from PIL import Image

from mien.scenery import Scenery, coarse_levels, is_other_scene
from mien.types import Float32Array, UInt8Array

NOBODY = np.zeros((0, 4), np.float32)
FACE = np.array([[500, 200, 600, 320]], np.float32)


def picture(height: int = 720, width: int = 1280, noise: float = 0) -> UInt8Array:
    rng = np.random.default_rng(int(noise * 10))
    plain = np.full((height, width, 3), 100) + rng.normal(0, noise, (height, width, 3))
    return plain.clip(0, 255).astype(np.uint8)


def changed(before: UInt8Array, after: UInt8Array, boxes: Float32Array = NOBODY) -> bool:
    return Scenery.of(after, boxes).differs(Scenery.of(before, boxes))


def test_noise_is_no_change_and_a_small_face_is_one() -> None:
    calm, noisy, visited = picture(noise=3), picture(noise=4), picture(noise=3.5)
    assert not changed(calm, noisy)
    visited[300:330, 900:930] = 130  # a face that the search would just find
    assert changed(calm, visited)


def test_what_moves_with_a_known_face_is_no_change() -> None:
    before, after = picture(), picture()
    after[180:340, 480:620] = 200
    assert changed(before, after)
    assert not changed(before, after, FACE)
    after[180:340, 480:700] = 200
    assert changed(before, after, FACE)


def test_a_place_that_was_hidden_by_a_face_is_not_compared() -> None:
    before, after = picture(), picture()
    before[200:320, 500:600] = 200
    assert not Scenery.of(after, FACE + 400).differs(Scenery.of(before, FACE))


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (31, 33), (1, 5000), (321, 4)])
def test_any_size_will_do(shape: tuple[int, int]) -> None:
    dark = np.zeros((*shape, 3), np.uint8)
    light = np.full((*shape, 3), 90, np.uint8)
    boxes = np.array([[-50, -50, -20, -20], [1e4, 1e4, 2e4, 2e4]], np.float32)
    assert not changed(dark, dark, boxes)
    assert changed(dark, light, boxes)
    assert Scenery.of(dark, NOBODY).differs(Scenery.of(np.zeros((700, 100, 3), np.uint8), NOBODY))


def room(seed: int) -> UInt8Array:
    """A picture with things in it, some 60 pixels large."""
    coarse = np.random.default_rng(seed).integers(40, 200, (12, 22, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((1280, 720)), np.uint8)


def test_a_cut_is_told_from_what_moves_and_from_light() -> None:
    here, there = room(0), room(1)

    def is_cut(before: UInt8Array, after: UInt8Array) -> bool:
        return is_other_scene(coarse_levels(after), coarse_levels(before))

    assert is_cut(here, there)
    assert not is_cut(here, np.roll(here, 20, axis=1))  # 500 pixels a second, at 25 frames
    assert not is_cut(here, (here * 0.4 + 60).astype(np.uint8))  # the light goes down
    visited = here.copy()
    visited[100:600, 300:700] = 90  # somebody walks close by
    assert not is_cut(here, visited)
    assert is_cut(here, picture())  # to black, or white
    assert not is_cut(picture(noise=3), picture())
    assert is_cut(here, here[:, :600])
