"""The crop rule: what lands where, worked out on drawn faces."""

import cv2
import numpy as np
import pytest

from mien.alignment import align_faces, crop_transforms, roll_rad
from mien.geometry import transform_points
from mien.preprocess import (
    even_light,
    gaussian_blur,
    network_input,
    resize,
    resize_crop,
    to_gray,
)
from mien.types import Detections, Float32Array, UInt8Array

UPRIGHT = np.array([[40, 40], [60, 40], [50, 50], [42, 62], [58, 62]], np.float32)


def face(landmarks: Float32Array, box: tuple[float, float, float, float]) -> Detections:
    return Detections(
        np.array([box], np.float32),
        np.ones(1, np.float32),
        landmarks[None].astype(np.float32),
    )


def turned(degrees: float) -> Float32Array:
    a = np.deg2rad(degrees)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return np.asarray((UPRIGHT - 50) @ turn.T + 50, np.float32)


@pytest.mark.parametrize("degrees", [-170, -45, 0, 10, 90, 135])
def test_roll_is_read_from_the_landmarks(degrees: float) -> None:
    assert np.rad2deg(roll_rad(turned(degrees))) == pytest.approx(degrees, abs=1e-3)


def test_crop_of_scale_one_is_the_square_around_the_box() -> None:
    faces = face(UPRIGHT, (40, 20, 60, 80))  # 20 x 60: the longer side rules
    matrix = crop_transforms(faces, scale=1.0, upright=False, size_px=30)[0]
    corners = transform_points(matrix, np.array([[-0.5, -0.5], [29.5, 29.5]]))
    assert corners == pytest.approx(np.array([[19.5, 19.5], [79.5, 79.5]]))


def test_upright_levels_the_eyes() -> None:
    faces = face(turned(30), (20, 20, 80, 80))
    matrix = crop_transforms(faces, scale=1.0, upright=True, size_px=60)[0]
    linear = np.linalg.inv(matrix[:, :2])
    eyes = (turned(30)[1] - turned(30)[0]) @ linear.T
    assert eyes[1] == pytest.approx(0, abs=1e-4)
    assert eyes[0] == pytest.approx(20, abs=1e-3)


def test_a_crop_that_fits_is_the_picture_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    faces = face(np.float32(0.5) * UPRIGHT, (0, 0, 48, 48))
    crops = align_faces(image, faces, scale=1.0, upright=False, size_px=48)
    assert (crops[0] == image).all()


def test_large_faces_shrink_without_aliasing() -> None:
    checker = (np.indices((480, 480)).sum(0) % 2 * 255).astype(np.uint8)
    faces = face(UPRIGHT * 4.8, (0, 0, 480, 480))
    crop = align_faces(checker, faces, scale=1.0, upright=False, size_px=48)[0]
    assert abs(crop.astype(float) - 127.5).max() < 16  # the average, not a stray pattern


@pytest.mark.parametrize("degrees", [0, 17, 90, -130])
def test_a_crop_is_cut_as_opencv_would(portrait: UInt8Array, degrees: float) -> None:
    gray, points = to_gray(portrait), UPRIGHT - UPRIGHT.mean(0)
    turn = np.radians(degrees)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    faces = face((points + np.array([227, 120])).astype(np.float32), (190, 80, 264, 160))
    transform = crop_transforms(faces, scale=0.9, upright=True, size_px=48)[0]
    expected = cv2.warpAffine(
        gray, transform, (48, 48), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    crop = align_faces(portrait, faces, scale=0.9, upright=True, size_px=48)[0]
    # OpenCV rounds places to a 32nd of a pixel.
    assert np.abs(crop.astype(int) - expected).max() <= 6
    assert np.abs(crop.astype(int) - expected).mean() < 0.6


def test_shrinking_keeps_the_place() -> None:
    image = np.zeros((400, 400), np.uint8)
    cv2.circle(image, (300, 100), 20, 255, -1)
    crop = align_faces(
        image, face(UPRIGHT * 4, (0, 0, 400, 400)), scale=1, upright=False, size_px=40
    )
    rows, columns = np.nonzero(crop[0] > 127)
    assert (columns.mean(), rows.mean()) == pytest.approx((29.6, 9.6), abs=0.3)


def test_a_face_over_the_edge_repeats_it() -> None:
    image: UInt8Array = np.full((50, 50, 3), 77, np.uint8)
    crops = align_faces(
        image,
        face(UPRIGHT - 45, (-30, -30, 30, 30)),
        scale=1.2,
        upright=True,
        size_px=48,
    )
    assert (crops == 77).all()


def test_no_face_no_crop() -> None:
    image = np.zeros((50, 50, 3), np.uint8)
    crops = align_faces(image, Detections.empty(), scale=1.0, upright=True, size_px=48)
    assert crops.shape == (0, 48, 48)


def test_standardized_input_ignores_exposure() -> None:
    crop = np.random.default_rng(0).integers(50, 100, (1, 48, 48)).astype(np.uint8)
    brighter = crop + np.uint8(60)
    assert network_input(crop) == pytest.approx(network_input(brighter), abs=1e-4)
    assert network_input(crop).shape == (1, 1, 48, 48)
    assert np.isfinite(network_input(np.zeros((1, 48, 48), np.uint8))).all()


def test_fixed_input_by_hand() -> None:
    crop = np.full((1, 2, 2), 255, np.uint8)
    assert network_input(crop, normalization="fixed")[0, 0, 0, 0] == pytest.approx(2.0)


@pytest.mark.parametrize("method", ["equalize", "clahe", "gamma", "local"])
def test_evening_out_light_makes_lightings_alike(portrait: UInt8Array, method: str) -> None:
    face = resize_crop(to_gray(portrait[62:178, 168:284]), 48)[None]
    dark = (face * 0.4).astype(np.uint8)
    evened = even_light(face, method)
    assert evened.shape == face.shape
    assert evened.dtype == np.uint8
    before = np.abs(face.astype(float) - dark).mean()
    after = np.abs(evened.astype(float) - even_light(dark, method)).mean()
    assert after < 0.75 * before


def test_evening_out_light_agrees_with_opencv(portrait: UInt8Array) -> None:
    face = resize_crop(to_gray(portrait[62:178, 168:284]), 48)
    equalized = even_light(face[None], "equalize")[0].astype(int)
    assert np.abs(equalized - cv2.equalizeHist(face)).max() <= 1
    ours = even_light(face[None], "clahe")[0].astype(int)
    # OpenCV's tiles share out what they cut off in whole pixels, ours in fractions.
    theirs = cv2.createCLAHE(clipLimit=4.0, tileGridSize=(4, 4)).apply(face)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("sigma", [0.5, 1.6, 7.2])
def test_blurring_agrees_with_opencv(sigma: float) -> None:
    crops = np.random.default_rng(0).random((2, 40, 40)).astype(np.float32)
    blurred = gaussian_blur(crops, sigma)
    for crop, soft in zip(crops, blurred, strict=True):
        assert np.abs(soft - cv2.GaussianBlur(crop, (0, 0), sigma)).max() < 1e-3


def test_one_single_grey_stays_what_it_is() -> None:
    flat = np.full((1, 47, 47), 90, np.uint8)
    assert (even_light(flat, "equalize") == 90).all()
    for method in ("clahe", "gamma", "local"):
        assert len(np.unique(even_light(flat, method))) == 1


def test_local_evening_sees_to_light_from_the_side(portrait: UInt8Array) -> None:
    face = resize_crop(to_gray(portrait[62:178, 168:284]), 48)[None]
    shade = np.linspace(1.0, 0.3, 48)
    shaded = (face * shade).astype(np.uint8)

    def distance(method: str) -> float:
        lit, dim = (network_input(crop, illumination=method) for crop in (face, shaded))
        return float(np.abs(lit - dim).mean())

    assert distance("local") < 0.6 * distance("none")


def test_the_oval_hides_the_corners_and_keeps_the_face() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (1, 48, 48), np.uint8)
    other = crop.copy()
    other[:, :5, :5] = 255 - other[:, :5, :5]
    kept, hidden = (
        np.abs(network_input(crop, background=b) - network_input(other, background=b))
        for b in ("keep", "oval")
    )
    assert kept[0, 0, :5, :5].mean() > 0.5
    assert hidden.max() < 0.1
    face = network_input(crop, normalization="fixed", background="oval")[0, 0, 15:35, 15:35]
    assert face == pytest.approx(
        network_input(crop, normalization="fixed")[0, 0, 15:35, 15:35], abs=0.05
    )


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8 crops"):
        network_input(np.zeros((1, 48, 47), np.uint8))
    with pytest.raises(ValueError, match="normalization"):
        network_input(np.zeros((1, 4, 4), np.uint8), normalization="magic")
    with pytest.raises(ValueError, match="illumination"):
        network_input(np.zeros((1, 4, 4), np.uint8), illumination="sunny")
    with pytest.raises(ValueError, match="background"):
        network_input(np.zeros((1, 4, 4), np.uint8), background="beach")
    with pytest.raises(ValueError, match="shape"):
        to_gray(np.zeros((4, 4, 4), np.uint8))
    for other in (np.float32, np.uint16, bool):  # 0..1 would come out as 0 and 1, silently
        with pytest.raises(ValueError, match="expected an image of uint8, 0 to 255"):
            to_gray(np.ones((4, 4), other))


def test_resize_leaves_a_fitting_crop_alone() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    assert resize_crop(crop, 48) is crop
    assert resize_crop(crop, 24).shape == (24, 24)
    assert resize_crop(np.zeros((30, 60), np.uint8), 48).shape == (48, 48)


def test_a_crop_that_is_not_square_shrinks_as_far_as_each_side_needs() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (440, 44), np.uint8)
    tall = resize_crop(noise, 44)
    wide = resize_crop(np.ascontiguousarray(noise.T), 44)
    assert np.abs(tall.astype(int) - wide.T).max() <= 1
    # Ten rows have become one: averages of eight and more have a third of the contrast.
    assert tall.std() < noise.std() / 2.5


@pytest.mark.parametrize("size", [(13, 20), (96, 60), (48, 24)])
def test_resizing_agrees_with_opencv(portrait: UInt8Array, size: tuple[int, int]) -> None:
    image = portrait[80:160, 190:264][:48, :48]
    method = cv2.INTER_AREA if min(size) < 48 else cv2.INTER_LINEAR
    difference = resize(image, *size).astype(int) - cv2.resize(image, size, interpolation=method)
    assert np.abs(difference).mean() < 1.5
