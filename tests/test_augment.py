"""What a network is shown in training: framed, varied, mixed, and preprocessed as in use."""

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mien.preprocess import gaussian_blur, network_input, resize_crop
from mien.training.augment import Variations, draw_variations, mix_neighbours, vary
from mien.training.data import (
    augmented_samples,
    batch_rows,
    make_batch,
    network_pixels,
    standardized,
    training_rows,
)
from mien.training.distributed import my_rows
from mien.training.framing import whole_picture
from mien.training.jpeg import compress
from mien.training.recipe import AugmentRecipe, recipe_from_dict
from mien.types import UInt8Array
from tests.lessons import STILL, drawn, tiny

EVERYTHING = AugmentRecipe(turn_deg=20, blur=0.5, jpeg=0.5, occlude=0.5, mixup=0.5)


def varied(
    images: torch.Tensor, framing: torch.Tensor, size_px: int, recipe: AugmentRecipe, seed: int = 0
) -> torch.Tensor:
    dice = draw_variations(len(images), size_px, recipe, torch.Generator().manual_seed(seed))
    return vary(images, framing, size_px, dice)


def test_augmentation_switched_off_changes_nothing() -> None:
    images = torch.from_numpy(drawn(7).images)
    whole = torch.from_numpy(whole_picture(7))
    out = varied(images, whole, 48, AugmentRecipe(**STILL))
    assert torch.allclose(out[:, 0], images.float(), atol=1e-2)


def test_augmentation_is_repeatable_and_stays_in_range() -> None:
    images = torch.from_numpy(drawn(32).images)
    framing = torch.from_numpy(whole_picture(32))

    def once(seed: int) -> torch.Tensor:
        return varied(images, framing, 40, EVERYTHING, seed)

    first, again, other = once(1), once(1), once(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (32, 1, 40, 40)
    assert first.min() >= 0
    assert first.max() <= 255


def test_the_end_of_a_run_is_calm() -> None:
    full = AugmentRecipe()
    calm = full.calmed()
    assert (calm.erase, calm.rotate_deg, calm.shift) == (0.0, 6.0, 0.05)
    assert calm.scale_min**2 == pytest.approx(full.scale_min)
    images = torch.full((64, 48, 48), 128, dtype=torch.uint8)
    framing = torch.from_numpy(whole_picture(64))
    spread = [float(varied(images, framing, 48, recipe).std()) for recipe in (full, calm)]
    assert spread[1] < 0.7 * spread[0]  # no noise, less brightness


def test_framing_agrees_with_the_crop_that_inference_cuts() -> None:
    """Training resamples by a normalised transform, inference by pixels: the same crop."""
    import cv2

    from mien.alignment import align_faces, crop_transforms
    from mien.training.framing import _normalized
    from mien.types import Detections

    noise = np.random.default_rng(3).integers(0, 256, (48, 48), np.uint8)
    image = np.asarray(cv2.GaussianBlur(noise, (9, 9), 3), np.uint8)
    points = np.array([[15, 18], [30, 22], [22, 28], [14, 34], [26, 37]], np.float32)
    face = Detections(np.array([[6, 4, 40, 46]], np.float32), np.ones(1, np.float32), points[None])
    matrix = crop_transforms(face, scale=0.9, upright=True, size_px=48)
    cut = align_faces(image, face, scale=0.9, upright=True, size_px=48)[0]
    framing = torch.from_numpy(_normalized(matrix, 48))
    trained = varied(torch.from_numpy(image[None]), framing, 48, AugmentRecipe(**STILL))[
        0, 0
    ].numpy()
    assert np.abs(trained - cut.astype(float)).max() < 2.0  # OpenCV rounds coordinates to 1/32 px


def test_large_crops_are_shown_small_without_skipping_pixels() -> None:
    fine = torch.zeros(1, 96, 96, dtype=torch.uint8)
    fine[:, :, ::3] = 240
    small = varied(fine, torch.from_numpy(whole_picture(1)), 32, AugmentRecipe(**STILL))
    assert set(small.round().flatten().tolist()) == {80.0}
    large = varied(fine, torch.from_numpy(whole_picture(1)), 96, AugmentRecipe(**STILL))
    assert (large[0, 0] - fine[0].float()).abs().max() < 0.1


def test_dice_shared_by_several_processes_fall_the_same() -> None:
    """A batch varied whole equals its parts varied apart: two processes see what one would."""
    images, framing = torch.from_numpy(drawn(30).images), torch.from_numpy(whole_picture(30))
    dice = draw_variations(30, 40, EVERYTHING, torch.Generator().manual_seed(3))
    together = mix_neighbours(vary(images, framing, 40, dice), dice.mix)
    apart = []
    for rank in range(4):
        mine = my_rows(30, rank, 4)
        part = dice.rows(mine)
        apart.append(mix_neighbours(vary(images[mine], framing[mine], 40, part), part.mix))
    assert torch.allclose(torch.cat(apart), together, atol=1e-3)


def test_mixing_neighbours_by_hand() -> None:
    values = torch.tensor([[0.0], [10.0], [20.0], [40.0], [7.0]])
    mixed = mix_neighbours(values, torch.tensor([0.1, 0.1, 0.5, 0.5, 0.4]))
    assert mixed.flatten().tolist() == pytest.approx([1.0, 9.0, 30.0, 30.0, 7.0])


@pytest.mark.parametrize("kind", ["blur", "jpeg", "occlude", "low_resolution", "erase"])
def test_every_degradation_shows_and_spares_the_rest(kind: str) -> None:
    images = torch.from_numpy(drawn(40).images)
    whole = torch.from_numpy(whole_picture(40))
    recipe = AugmentRecipe(**(STILL | {kind: 0.5}))
    out = varied(images, whole, 48, recipe)[:, 0]
    touched = ((out - images.float()).abs().amax((1, 2)) > 2).sum().item()
    assert 8 <= touched <= 32


@pytest.mark.parametrize("size_px", [32, 44])
@pytest.mark.parametrize("quality", [15, 49, 50, 69])
def test_jpeg_loses_what_pillow_loses(portrait: UInt8Array, size_px: int, quality: int) -> None:
    face = Image.fromarray(portrait).convert("L").crop((160, 40, 300, 180))
    plain = np.array(face.resize((size_px, size_px)), np.uint8)
    file = io.BytesIO()
    Image.fromarray(plain).save(file, "jpeg", quality=quality)
    expected = np.asarray(Image.open(file)).astype(float)
    crop = torch.from_numpy(plain).float()[None, None]
    found = compress(crop, torch.tensor([quality]))[0, 0].numpy()
    # A frequency that lies between two steps is now and then rounded the other way.
    assert np.abs(found - expected).mean() < 0.1 * np.abs(expected - plain).mean()
    assert found.min() >= 0
    assert found.max() <= 255


def still(n: int, size_px: int) -> Variations:
    return draw_variations(n, size_px, AugmentRecipe(**STILL), torch.Generator())


def test_blur_and_lost_resolution_are_those_of_single_pictures() -> None:
    """Done at once to some crops of a batch: as if each had been taken alone."""
    images = torch.from_numpy(drawn(4).images)
    whole = torch.from_numpy(whole_picture(4))
    sigma = torch.tensor([0.0, 0.5, 1.4, 0.0])
    small = torch.tensor([0, 0, 20, 14])
    dice = replace(still(4, 48), blur_sigma=sigma, small_px=small)
    found = vary(images, whole, 48, dice)[:, 0]
    assert (found[0] - images[0].float()).abs().max() < 0.1
    for row in (1, 2, 3):
        expected = images[row].float()
        if sigma[row]:
            expected = torch.from_numpy(gaussian_blur(expected.numpy(), float(sigma[row])))
        if px := int(small[row]):
            coarse = torch.nn.functional.interpolate(expected[None, None], (px, px), mode="area")
            expected = torch.nn.functional.interpolate(coarse, (48, 48), mode="bilinear")[0, 0]
        assert (found[row] - expected).abs().max() < 0.1


def test_batches_are_made_where_the_network_learns(tmp_path: Path) -> None:
    """On `meta`, which computes nothing but refuses to mix with what lies on the CPU."""
    augment = {"turn_deg": 20, "blur": 0.5, "jpeg": 0.5, "occlude": 0.5, "mixup": 0.5}
    recipe = recipe_from_dict(
        {
            "name": "x",
            "data": {"aligned_share": 0.0},
            "augment": augment,
            "fit": {"ferplus_share": 0.2},
        }
    )
    data = replace(drawn(60), votes=np.ones((60, 10), np.uint8))
    rows = training_rows(recipe, data, tmp_path, lambda text: None)
    n = len(rows)
    dice = draw_variations(n, 40, recipe.augment, torch.Generator().manual_seed(0))
    framed = torch.arange(n) % 2 == 0
    meta = torch.device("meta")
    batch = make_batch(rows, torch.arange(n), framed, 40, dice, recipe, meta)
    assert [tuple(value.shape) for value in batch if value is not None] == [
        (n, 1, 40, 40),
        (n, 7),
        (n, 8),
    ]
    assert all(value is not None and value.device == meta for value in batch)


def test_an_accelerator_standardizes_as_inference_does() -> None:
    data = drawn(7)
    data.images[3] = 90  # flat
    crops = torch.from_numpy(data.images)[:, None].float()
    assert torch.allclose(
        standardized(crops), torch.from_numpy(network_input(data.images)), atol=1e-5
    )


def test_samples_are_what_the_network_sees(portrait: UInt8Array) -> None:
    def shown(images: UInt8Array, augment: dict[str, Any], **data: object) -> UInt8Array:
        recipe = recipe_from_dict(
            {
                "name": "x",
                "augment": STILL | augment,
                "data": {"input_px": 96, "aligned_share": 0.0, **data},
            }
        )
        return augmented_samples(images, recipe, seed=0)

    face = np.asarray(Image.fromarray(portrait).convert("L").crop((160, 40, 300, 180)), np.uint8)
    faces = np.stack([resize_crop(face, 96)] * 4)
    plain = shown(faces, {})
    assert (plain == faces).all()
    oval = shown(faces, {}, background="oval")
    assert len(np.unique(oval[:, 0, 0])) == 1
    assert (oval[:, 48, 48] == faces[:, 48, 48]).all()
    assert not (shown(faces, {}, illumination="equalize") == faces).all()
    assert not (shown(faces, {}, aligned_share=1.0) == faces).all()
    # Rows of a sheet are of one class each; a batch mixes others.
    shades = np.repeat(np.array([0] * 8 + [240] * 8, np.uint8), 96 * 96).reshape(16, 96, 96)
    mixed = shown(shades, {"mixup": 1.0})
    assert ((mixed > 5) & (mixed < 235)).any()


def test_balanced_sampling_shows_rare_classes(tmp_path: Path) -> None:
    data = drawn(70)
    data = data.select((data.labels != 1) | (np.arange(70) == 1))  # one picture of class 1
    rows = training_rows(tiny(), data, tmp_path, lambda text: None)
    shown = {
        balance: torch.cat(list(batch_rows(rows, 8, balance, torch.Generator().manual_seed(0))))
        for balance in (0.0, 1.0)
    }
    assert sorted(shown[0.0].tolist()) == list(range(len(rows)))
    rare = int((rows.labels == 1).nonzero()[0, 0])
    assert (shown[0.0] == rare).sum() == 1
    assert (shown[1.0] == rare).sum() >= 4


def test_training_sees_what_inference_sees() -> None:
    """One preprocessing: an unvaried training picture equals inference's input, byte for byte."""
    data = drawn(7)
    crops = torch.from_numpy(data.images)[:, None].float()
    assert network_pixels(crops, tiny()).numpy().tobytes() == network_input(data.images).tobytes()


def test_a_turned_head_moves_its_middle_and_keeps_what_is_beside_it() -> None:
    """A line down the middle of a cylinder of radius r goes to r * sin(turn)."""
    image = torch.zeros((1, 48, 48), dtype=torch.uint8)
    image[:, :, 23:25] = 255
    for degrees in (-40, 20, 40):
        dice = replace(still(1, 48), turn=torch.tensor([math.radians(degrees)]))
        out = vary(image, torch.from_numpy(whole_picture(1)), 48, dice)[0, 0]
        weights = out.sum(0)
        middle = float((weights * ((torch.arange(48) + 0.5) / 24 - 1)).sum() / weights.sum())
        assert middle == pytest.approx(0.9 * math.sin(math.radians(degrees)), abs=0.03)
        assert torch.allclose(out, out[:1].expand(48, 48), atol=1e-2)  # nothing moves up or down
    shade = torch.arange(48, dtype=torch.uint8).mul(5).expand(1, 48, 48)
    turned = vary(shade, torch.from_numpy(whole_picture(1)), 48, dice)[0, 0, 0]
    assert torch.all(turned.diff() >= -1e-3)  # no part of the face is seen twice, or mirrored


def test_heads_are_turned_both_ways_and_only_when_asked() -> None:
    asked = draw_variations(200, 48, AugmentRecipe(turn_deg=30), torch.Generator().manual_seed(0))
    angles = asked.turn.rad2deg()
    assert -30 <= float(angles.min()) < -25
    assert 25 < float(angles.max()) <= 30
    plain = draw_variations(200, 48, AugmentRecipe(), torch.Generator().manual_seed(0))
    assert not plain.turn.any()
    assert torch.equal(plain.geometry, asked.geometry)  # the other dice stay as they were
    assert torch.equal(plain.mix, asked.mix)
