"""The training side: recipes, augmentation, learning, resuming, export and parity."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mien.classifier import ExpressionClassifier
from mien.datasets import FaceCrops
from mien.errors import ConfigError, DatasetError, ModelError
from mien.preprocess import network_input
from mien.training.augment import augment
from mien.training.export import export, load_trained
from mien.training.fit import EpochReport, fit, predict_logits
from mien.training.framing import whole_picture
from mien.training.recipe import (
    AugmentRecipe,
    Recipe,
    load_recipe,
    recipe_from_dict,
)
from mien.training.zoo import build_network, count_macs, count_parameters

REPOSITORY = Path(__file__).parents[1]
STILL = {name: type(value)() for name, value in vars(AugmentRecipe()).items()} | {
    "scale_min": 1.0,
    "scale_max": 1.0,
}


def tiny(**fitting: object) -> Recipe:
    return recipe_from_dict(
        {
            "name": "tiny",
            "network": {"widths": [8, 16], "depths": [1, 1], "dropout": 0.0},
            "data": {"aligned_share": 0.0, "input_px": 48},
            "augment": STILL,
            "fit": {"epochs": 2, "batch": 16, "resolutions": [[1.0, 48]], **fitting},
        }
    )


def drawn(n: int, seed: int = 0) -> FaceCrops:
    """Noise whose class is the distance between bright rows."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 7
    images = rng.integers(60, 120, (n, 48, 48)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:: label + 2] += 100
    votes = np.zeros((n, 10), np.uint8)
    votes[np.arange(n), labels] = 10
    return FaceCrops(images, labels.astype(np.int64), votes, tuple(map(str, range(n))))


def test_every_recipe_in_the_repository_loads() -> None:
    for file in (REPOSITORY / "recipes").glob("*.toml"):
        assert load_recipe(file).name == file.stem


def test_recipe_mistakes_are_named(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(file)
    file.write_text("name = 'x'\n[fit]\nepohcs = 3\n")
    with pytest.raises(ConfigError, match=r"unknown key 'fit\.epohcs'"):
        load_recipe(file)
    file.write_text("name = 'x'\n[fit]\nepochs = 'many'\n")
    with pytest.raises(ConfigError, match=r"fit\.epochs: expected int"):
        load_recipe(file)
    file.write_text("name = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_recipe(file)
    file.write_text("version = '1'")
    with pytest.raises(ConfigError, match="lacks `name`"):
        load_recipe(file)


def test_overrides(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text("name = 'x'\n")
    recipe = load_recipe(file, ["fit.epochs=3", "fit.learning_rate=1", "version=two"])
    assert (recipe.fit.epochs, recipe.fit.learning_rate, recipe.version) == (
        3,
        1.0,
        "two",
    )
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        load_recipe(file, ["fit.epochs"])


def test_a_recipe_survives_its_own_dictionary() -> None:
    assert recipe_from_dict(tiny().to_dict()) == tiny()


def test_augmentation_switched_off_changes_nothing() -> None:
    images = torch.from_numpy(drawn(7).images)
    out = augment(
        images,
        torch.from_numpy(whole_picture(7)),
        48,
        AugmentRecipe(**STILL),
        torch.Generator().manual_seed(0),
    )
    assert torch.allclose(out[:, 0], images.float(), atol=1e-2)


def test_augmentation_is_repeatable_and_stays_in_range() -> None:
    images = torch.from_numpy(drawn(32).images)
    framing = torch.from_numpy(whole_picture(32))

    def once(seed: int) -> torch.Tensor:
        return augment(images, framing, 40, AugmentRecipe(), torch.Generator().manual_seed(seed))

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
    spread = [
        float(augment(images, framing, 48, recipe, torch.Generator().manual_seed(0)).std())
        for recipe in (full, calm)
    ]
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
    trained = augment(
        torch.from_numpy(image[None]),
        torch.from_numpy(_normalized(matrix, 48)),
        48,
        AugmentRecipe(**STILL),
        torch.Generator(),
    )[0, 0].numpy()
    assert np.abs(trained - cut.astype(float)).max() < 2.0  # OpenCV rounds coordinates to 1/32 px


def test_it_can_learn(tmp_path: Path) -> None:
    """32 pictures are learned by heart: loss, gradients, schedule and averaging all work."""
    data = drawn(32)
    reports: list[EpochReport] = []
    fit(
        tiny(epochs=25, batch=8, ema=0.9, learning_rate=0.05, label_smoothing=0.0),
        data,
        data,
        tmp_path,
        report=reports.append,
    )
    assert reports[-1].accuracy == 1.0
    assert reports[-1].loss < reports[0].loss
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 26


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    data = drawn(40)
    recipe = tiny(epochs=3)

    class KilledError(Exception):
        pass

    def die(done: EpochReport) -> None:
        if done.epoch == 2:
            raise KilledError

    whole = fit(recipe, data, data, tmp_path / "whole", threads=1)
    with pytest.raises(KilledError):
        fit(recipe, data, data, tmp_path / "broken", threads=1, report=die)
    resumed = fit(recipe, data, data, tmp_path / "broken", threads=1, resume=True)
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_knows_its_recipe_and_data(tmp_path: Path) -> None:
    fit(tiny(epochs=1), drawn(20), drawn(7), tmp_path)
    with pytest.raises(ConfigError, match="another recipe"):
        fit(tiny(epochs=2), drawn(20), drawn(7), tmp_path, resume=True)
    with pytest.raises(DatasetError, match="other data"):
        fit(tiny(epochs=1), drawn(21), drawn(7), tmp_path, resume=True)
    with pytest.raises(ModelError, match="no checkpoint"):
        load_trained(tmp_path / "elsewhere")


def test_rows_that_are_no_face_are_left_out(tmp_path: Path) -> None:
    data = drawn(20)
    assert data.votes is not None
    data.votes[:, 9] = 10
    with pytest.raises(DatasetError, match="not a face"):
        fit(tiny(), data, data, tmp_path)


def test_export_agrees_with_torch(tmp_path: Path) -> None:
    data = drawn(70)
    recipe = tiny(epochs=1)
    fit(recipe, data, data, tmp_path)
    loaded, network, fingerprint, epochs = load_trained(tmp_path)
    assert (loaded, fingerprint, epochs) == (recipe, data.fingerprint(), 1)
    file = tmp_path / "tiny.onnx"
    spec = export(loaded, network, data, file, data_sha256=fingerprint)
    assert (spec.parameters, spec.macs) == (
        count_parameters(network),
        count_macs(network, 48),
    )

    classifier = ExpressionClassifier(file)
    assert classifier.spec == spec
    together = classifier.predict(data.images)
    expected = predict_logits(network, data.images, recipe, 48).numpy()
    assert together.logits == pytest.approx(expected, abs=1e-4)
    alone = np.concatenate([classifier.predict(image[None]).logits for image in data.images])
    assert alone == pytest.approx(together.logits, abs=1e-5)
    assert together.probs.sum(1) == pytest.approx(1)
    mirrored = classifier.predict(data.images[:, :, ::-1], tta=True)
    assert mirrored.logits == pytest.approx(classifier.predict(data.images, tta=True).logits)


def test_training_sees_what_inference_sees() -> None:
    """One preprocessing: an unvaried training picture equals inference's input, byte for byte."""
    from mien.training.fit import _network_pixels

    data = drawn(7)
    crops = torch.from_numpy(data.images)[:, None].float()
    assert _network_pixels(crops, tiny()).numpy().tobytes() == network_input(data.images).tobytes()


def test_macs_by_hand() -> None:
    recipe = tiny()
    network = build_network(recipe.network)
    stage1 = 48 * 48 * 8 * 1 * 9
    stage2 = 24 * 24 * 16 * 8 * 9
    heads = 16 * 7 + 16 * 8
    assert count_macs(network, 48) == stage1 + stage2 + heads


def test_an_unknown_network_is_named() -> None:
    recipe = recipe_from_dict({"name": "x", "network": {"name": "nonesuch"}})
    with pytest.raises(ConfigError, match="mien_vgg"):
        build_network(recipe.network)
