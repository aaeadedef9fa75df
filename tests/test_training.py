"""The training side: recipes, augmentation, learning, resuming, export and parity."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric
from PIL import Image

from mien.classifier import ExpressionClassifier
from mien.datasets import FaceCrops, load_crops
from mien.errors import ConfigError, DatasetError, ModelError
from mien.models import find_model
from mien.preprocess import network_input, resize_crop
from mien.training.augment import draw_variations, mix_neighbours, vary
from mien.training.checkpoint import EpochReport
from mien.training.data import augmented_samples, batch_rows, network_pixels, training_rows
from mien.training.distributed import my_rows, processes, sync_batch_norms
from mien.training.export import _rounded, export, load_trained
from mien.training.fit import _require_finite, fit, make_fabric, predict_logits
from mien.training.folds import cross_validate
from mien.training.framing import whole_picture
from mien.training.initial import load_weights
from mien.training.recipe import (
    AugmentRecipe,
    Recipe,
    load_recipe,
    recipe_from_dict,
)
from mien.training.zoo import build_network, count_macs, count_parameters
from mien.training.zoo.transfer import FaceFeatures, load_face_features
from mien.types import EXPRESSIONS, UInt8Array

REPOSITORY = Path(__file__).parents[1]
STILL: dict[str, Any] = {name: type(value)() for name, value in vars(AugmentRecipe()).items()} | {
    "scale_min": 1.0,
    "scale_max": 1.0,
}

EVERYTHING = AugmentRecipe(blur=0.5, jpeg=0.5, occlude=0.5, mixup=0.5)


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


def write_splits(folder: Path, n: int) -> None:
    """`drawn(n)` as a data set with rows to learn from and rows to watch."""
    for split, seed in (("train", 0), ("val", 1)):
        crops = drawn(n, seed)
        for i, (image, label) in enumerate(zip(crops.images, crops.labels, strict=True)):
            file = folder / split / EXPRESSIONS[label] / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)


def test_every_recipe_in_the_repository_loads() -> None:
    for file in (REPOSITORY / "recipes").glob("*.toml"):
        assert load_recipe(file).name == file.stem


def test_recipes_are_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mien.cli import main

    monkeypatch.chdir(tmp_path)  # not where the repository is
    assert main(["train", "mien-s", "--dry-run", "--set", "fit.epochs=3"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["fit"]["muon_rate"] == 0.02
    assert "164.1 MMAC at 44 px, 3 epochs" in err
    for words, expected in (
        (["mien-x", "--dry-run"], "Give a recipe: a file, or one of ckplus, fine-tune, mien-s"),
        (["--dry-run"], "no recipe: give one, or by --init"),
        (["mien-s", "--data", "x"], "--data and --out: each is needed"),
    ):
        assert main(["train", *words]) == 2
        assert expected in capsys.readouterr().err


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
    for line, says in (
        ("widths = ['a', 2, 3, 4]", r"network\.widths: expected int, found 'a'"),
        ("widths = 32", r"network\.widths: expected tuple, found 32"),
    ):
        file.write_text(f"name = 'x'\n[network]\n{line}\n")
        with pytest.raises(ConfigError, match=says):
            load_recipe(file)
    for line, says in (
        ("resolutions = [[0.5, 32], 1.0]", r"fit\.resolutions: expected tuple, found 1\.0"),
        ("resolutions = [[0.5, 32, 4]]", r"fit\.resolutions: expected 2 values"),
        ("batch = 0", r"fit\.batch: expected at least 1, found 0"),
        ("epochs = -1", r"fit\.epochs: expected at least 1, found -1"),
    ):
        file.write_text(f"name = 'x'\n[fit]\n{line}\n")
        with pytest.raises(ConfigError, match=says):
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
    with pytest.raises(ConfigError, match=r"data\.input_px: expected 44, at which .* found 96"):
        load_recipe(file, ["data.input_px=96"])
    larger = load_recipe(file, ["data.input_px=96", "fit.resolutions=[[1.0, 96]]"])
    assert larger.data.input_px == 96
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        load_recipe(file, ["fit.epochs"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("network.dropout=30", "0 to 1, found 30.0"),
        ("network.widths=[8, 0, 8, 8]", "at least 1, found [8, 0, 8, 8]"),
        ("augment.scale_min=0", "more than 0, found 0.0"),
        ("augment.scale_min=1.5", "at most augment.scale_max"),
        ("augment.rotate_deg=-5", "at least 0, found -5.0"),
        ("augment.blur=nan", "0 to 1, found nan"),
        ("fit.learning_rate=0", "more than 0, found 0.0"),
        ("fit.momentum=0", "more than 0, found 0.0"),
        ("fit.teacher_weight=2", "0 to 1, found 2.0"),
        ("fit.ferplus_share=-1", "0 to 1, found -1.0"),
        ("fit.seed=-1", "at least 0, found -1"),
        ("data.input_px=0", "16 to 1024, found 0"),
        ("fit.resolutions=[[1.0, 2]]", "pairs [share, px]"),
    ],
)
def test_numbers_that_no_run_could_use_are_named(change: str, expected: str) -> None:
    key = change.split("=")[0]
    with pytest.raises(ConfigError, match=re.escape(f"{key}: expected {expected}")):
        load_recipe(REPOSITORY / "recipes" / "mien-s.toml", [change])


def test_a_recipe_survives_its_own_dictionary() -> None:
    assert recipe_from_dict(tiny().to_dict()) == tiny()


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


@given(n=st.integers(1, 300), processes=st.integers(1, 9))
def test_every_row_has_one_process(n: int, processes: int) -> None:
    parts = [range(n)[my_rows(n, rank, processes)] for rank in range(processes)]
    assert [row for part in parts for row in part] == list(range(n))
    assert all(part.start % 2 == 0 for part in parts if part)  # pairs stay together


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


@pytest.mark.parametrize("name", ["mien_vgg", "mien_attention", "vgg19", "resnet18", "transfer"])
def test_every_network_keeps_the_promises(name: str) -> None:
    recipe = recipe_from_dict({"name": "x", "network": {"name": name}}).network
    network = build_network(recipe, classes=5).eval()
    assert network(torch.randn(1, 1, 24, 24)).expression.shape == (1, 5)
    out = network(torch.randn(2, 1, 44, 44))
    assert out.expression.shape == (2, 5)
    assert out.ferplus.shape == (2, 8)
    assert out.embedding.shape == (2, network.expression.in_features)
    if name == "mien_attention":
        assert out.attention is not None
        assert out.attention.shape == (2, 11, 11)
        assert ((out.attention >= 0) & (out.attention <= 1)).all()
    else:
        assert out.attention is None
    loss = out.expression.square().sum() + out.ferplus.square().sum()
    torch.autograd.backward(loss)
    assert all(parameter.grad is not None for parameter in network.parameters())


def face_manifest(folder: Path, seed: int = 0) -> Path:
    """A made-up set of weights in the layout of face-api's files, every other one quantised."""
    import json

    rng = np.random.default_rng(seed)
    features = FaceFeatures()
    rows: list[dict[str, Any]] = []
    data = b""

    def add(name: str, shape: list[int]) -> None:
        nonlocal data
        row: dict[str, Any] = {"name": name, "shape": shape, "dtype": "float32"}
        if len(rows) % 2:
            row["quantization"] = {"dtype": "uint8", "scale": 0.001, "min": -0.1}
            data += rng.integers(0, 256, shape).astype(np.uint8).tobytes()
        else:
            data += rng.normal(0, 0.05, shape).astype(np.float32).tobytes()
        rows.append(row)

    for name, module in features.named_modules():
        if type(module).__name__ == "ScaledConvolution":
            outputs, inputs, height, width = module.convolution.weight.shape
            path = name.replace(".first", "/conv1").replace(".second", "/conv2")
            add(f"{path}/conv/filters", [height, width, inputs, outputs])
            for part in ("conv/bias", "scale/weights", "scale/biases"):
                add(f"{path}/{part}", [outputs])
    add("fc", [256, 128])
    (folder / "m.bin").write_bytes(data)
    manifest = folder / "m-weights_manifest.json"
    manifest.write_text(json.dumps([{"paths": ["m.bin"], "weights": rows}]))
    return manifest


def test_face_weights_are_read_by_name(tmp_path: Path) -> None:
    manifest = face_manifest(tmp_path)
    features = FaceFeatures()
    last = load_face_features(features, manifest)
    assert last.shape == (256, 128)
    assert features(torch.zeros(1, 3, 150, 150)).shape[:2] == (1, 256)
    # The first tensor is plain, the second quantised: both by hand.
    raw = (tmp_path / "m.bin").read_bytes()
    first = np.frombuffer(raw[: 7 * 7 * 3 * 32 * 4], np.float32).reshape(7, 7, 3, 32)
    assert features.conv32_down.convolution.weight[5, 2, 3, 4].item() == first[3, 4, 2, 5]
    bias = features.conv32_down.convolution.bias
    assert bias is not None
    assert bias[7].item() == pytest.approx(raw[7 * 7 * 3 * 32 * 4 + 7] * 0.001 - 0.1)
    (tmp_path / "m.bin").write_bytes(raw[:1000])
    with pytest.raises(ModelError, match="cut off before conv32_down/conv/filters"):
        load_face_features(features, manifest)
    with pytest.raises(ModelError, match="not a weights manifest"):
        load_face_features(features, tmp_path / "nowhere.json")


def test_a_frozen_network_learns_with_its_heads_alone(tmp_path: Path) -> None:
    manifest = face_manifest(tmp_path)
    table = tiny(epochs=1).to_dict()
    table["network"] = {
        "name": "transfer", "weights": str(manifest), "frozen": True, "enlarged_px": 131
    }  # fmt: skip
    recipe = recipe_from_dict(table)
    start = build_network(recipe.network)
    fit(recipe, drawn(20), drawn(7), tmp_path / "run")
    manifest.unlink()  # a finished run does not need it
    _, network, _, _ = load_trained(tmp_path / "run")
    before, after = start.state_dict(), network.state_dict()
    for name, value in after.items():
        assert torch.equal(value, before[name]) == name.startswith("features"), name


def test_any_model_may_be_frozen_to_teach_its_heads_alone(tmp_path: Path) -> None:
    recipe, data = tiny(epochs=1), drawn(20)
    first = fit(recipe, data, data, tmp_path / "first").state_dict()
    _, network, fingerprint, _ = load_trained(tmp_path / "first")
    export(recipe, network, data, tmp_path / "first.onnx", data_sha256=fingerprint)
    heads = replace(recipe, network=replace(recipe.network, frozen=True))
    with pytest.raises(ConfigError, match=r"network\.frozen: .*--init"):
        fit(heads, data, data, tmp_path / "heads")
    heads = replace(heads, init=str(tmp_path / "first.onnx"))
    learned = fit(heads, data, data, tmp_path / "heads").state_dict()
    assert any("running_mean" in name for name in learned)
    for name, value in learned.items():
        same = torch.allclose(value.float(), first[name].float(), atol=1e-3)  # files hold 16 bits
        assert same == name.startswith("features"), name


def test_attention_starts_as_the_network_without_it() -> None:
    plain = build_network(tiny().network).eval()
    attentive = build_network(replace(tiny().network, name="mien_attention")).eval()
    assert count_parameters(attentive) > count_parameters(plain)
    gates = attentive(torch.randn(1, 1, 48, 48)).attention
    assert gates is not None
    assert torch.allclose(gates, torch.full_like(gates, 0.5))  # passes everything on unchanged


def test_sizes_of_the_classics() -> None:
    """As published: 20.0 and 11.2 million weights with their heads' sizes changed to ours."""
    for name, stride, size, last_px in (
        ("vgg19", 1, 20.03e6, 2),
        ("vgg19", 2, 20.03e6, 2),
        ("resnet18", 1, 11.18e6, 4),
        ("resnet18", 2, 11.18e6, 2),
    ):
        settings = {"name": name, "stem_stride": stride}
        network = build_network(recipe_from_dict({"name": "x", "network": settings}).network)
        assert count_parameters(network) == pytest.approx(size, rel=0.01)
        assert network.features(torch.randn(2, 1, 32, 32)).shape == (2, 512, last_px, last_px)


def test_synced_statistics_equal_plain_ones_for_one_process(tmp_path: Path) -> None:
    import torch.distributed as dist

    plain = build_network(tiny().network)
    synced = build_network(tiny().network)
    synced.load_state_dict(plain.state_dict())
    sync_batch_norms(synced)
    meeting = f"file://{tmp_path}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    try:
        pixels = torch.randn(6, 1, 48, 48)
        outputs = [network.train()(pixels).expression for network in (plain, synced)]
        assert torch.allclose(outputs[0], outputs[1], atol=1e-4)
        for output in outputs:
            torch.autograd.backward(output.square().sum())
        for a, b in zip(plain.parameters(), synced.parameters(), strict=True):
            if a.grad is not None and b.grad is not None:
                assert torch.allclose(a.grad, b.grad, atol=1e-3, rtol=1e-3)
        for key, value in plain.state_dict().items():
            assert torch.allclose(value.float(), synced.state_dict()[key].float(), atol=1e-4), key
    finally:
        dist.destroy_process_group()


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
    for content in (b"", b"no checkpoint"):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(ModelError, match=r"checkpoint\.pt: not a checkpoint of `mien train`"):
            fit(tiny(epochs=1), drawn(20), drawn(7), tmp_path, resume=True)
    with pytest.raises(ModelError, match="no checkpoint"):
        load_trained(tmp_path / "elsewhere")


def test_a_loss_that_explodes_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"loss became nan in epoch 1.*Lower fit\.learning_rate"):
        fit(tiny(learning_rate=1e30, epochs=1), drawn(32), drawn(7), tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()
    (tmp_path / "checkpoint.pt").touch()  # of an epoch that went well
    with pytest.raises(ConfigError, match=r"train again into another --out; the last checkpoint"):
        _require_finite(torch.tensor(torch.inf), tmp_path, 1, 0)


def test_the_best_epoch_can_be_selected(tmp_path: Path) -> None:
    reports: list[EpochReport] = []
    data = drawn(32)
    fit(tiny(epochs=6, select="best"), data, data, tmp_path, report=reports.append)
    best = max(reports, key=lambda done: done.accuracy)
    _, network, _, _ = load_trained(tmp_path)
    logits = predict_logits(network, data.images, tiny(), 48)
    assert float((logits.argmax(1).numpy() == data.labels).mean()) == best.accuracy


def test_the_log_of_a_resumed_run_has_every_epoch_once(tmp_path: Path) -> None:
    from mien.training.checkpoint import read_log

    data = drawn(20)
    fit(tiny(epochs=2), data, data, tmp_path)
    with (tmp_path / "log.csv").open("a") as file:  # killed between log and checkpoint
        file.write("3,2,48,0.1,1.0,0.5,10.0,1.0,1.0\n")
    fit(tiny(epochs=2), data, data, tmp_path, resume=True)
    assert [row.epoch for row in read_log(tmp_path / "log.csv")] == [1, 2]


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    """The same recipe by the command line, alone and under torchrun: the same weights."""
    import os
    import subprocess
    import sys

    data, recipe = tmp_path / "data", tmp_path / "r.toml"
    write_splits(data, 42)
    recipe.write_text(
        "name = 'shared'\n[network]\nwidths = [8, 16]\ndepths = [1, 1]\ndropout = 0.0\n"
        "[data]\ninput_px = 48\naligned_share = 0.0\n[augment]\nmixup = 0.5\n"
        "[fit]\nepochs = 2\nbatch = 14\nlearning_rate = 0.02\nresolutions = [[1.0, 48]]\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    weights = []
    for launcher in ([], ["-m", "torch.distributed.run", "--nproc-per-node", "2"]):
        out = tmp_path / f"out{len(launcher)}"
        command = [sys.executable, *launcher, "-m", "mien.cli", "train", str(recipe)]
        command += ["--data", str(data), "--out", str(out), "--precision", "32-true"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("epoch   2/2") == 1  # only the first process speaks
        assert (out / "curves.png").is_file()
        _, network, _, _ = load_trained(out)
        weights.append(network.state_dict())
    for name, value in weights[0].items():
        assert torch.allclose(value.float(), weights[1][name].float(), atol=2e-3), name


TASK = {  # as srun starts the fourth of four, on the second of two machines
    "NTASKS": "4", "NTASKS_PER_NODE": "2", "NNODES": "2", "PROCID": "3", "LOCALID": "1",
    "NODEID": "1", "STEP_ID": "0", "JOB_NAME": "learn", "JOB_ID": "1", "NODELIST": "n[1-2]",
}  # fmt: skip
TORCHRUN = {
    "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3", "RANK": "2", "LOCAL_RANK": "2",
    "TORCHELASTIC_RUN_ID": "learn",
}  # fmt: skip


@pytest.mark.parametrize(
    ("slurm", "torchrun", "found"),
    [
        (TASK, {}, (2, 4)),
        (TASK, TORCHRUN, (3, 6)),  # started by SLURM, once on each machine
        (TASK | {"JOB_NAME": "interactive"}, {}, (1, 1)),  # a shell, not a task
        ({"NTASKS": "1", "NNODES": "1", "JOB_NAME": "learn"}, {}, (1, 1)),
        ({}, {}, (1, 1)),
        (TASK | {"NTASKS": "3"}, {}, "expected equally many tasks on each of 2 machines, found 3"),
        ({"NTASKS": "4", "NNODES": "2"}, {}, "found 4 in all and no --ntasks-per-node"),
        ({k: v for k, v in TASK.items() if k != "STEP_ID"}, {}, "Put srun in front"),
    ],
)
def test_processes_are_counted_as_they_were_started(
    monkeypatch: pytest.MonkeyPatch,
    slurm: dict[str, str],
    torchrun: dict[str, str],
    found: tuple[int, int] | str,
) -> None:
    """And Fabric, which finds the others by the same variables, agrees."""
    import os

    for name in [*os.environ]:
        if name.startswith("SLURM_") or name in TORCHRUN:
            monkeypatch.delenv(name)
    for name, value in {**{f"SLURM_{k}": v for k, v in slurm.items()}, **torchrun}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Fabric, "launch", lambda self: None)  # would wait for the others
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if isinstance(found, str):
        with pytest.raises(ConfigError, match=found):
            make_fabric("32-true")
        return
    assert processes() == found
    fabric = make_fabric("32-true")
    assert fabric.world_size == found[1]
    if found == (2, 4):
        assert (fabric.node_rank, fabric.local_rank) == (1, 1)


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
    mirrored = classifier.predict(data.images[:, :, ::-1], views="flip")
    assert mirrored.logits == pytest.approx(classifier.predict(data.images, views="flip").logits)


def saved(data: FaceCrops, folder: Path) -> Path:
    """The crops as a folder per class."""
    for i, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        file = folder / data.classes[label] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return folder


def test_training_goes_on_from_a_model_file(tmp_path: Path) -> None:
    """The file holds every weight: what is loaded from it answers as the file does."""
    data = drawn(35)
    fit(tiny(epochs=3), data, data, tmp_path)
    recipe, network, fingerprint, _ = load_trained(tmp_path)
    unvoted = replace(data, votes=None)  # the head that learned votes is left out without them
    for half, rows, fresh in (
        (False, unvoted, ["ferplus.weight", "ferplus.bias"]),
        (False, data, []),
        (True, data, []),
    ):
        file = tmp_path / "start.onnx"
        export(recipe, network, rows, file, data_sha256=fingerprint, half=half)
        other = build_network(recipe.network)
        assert load_weights(other, find_model(file), EXPRESSIONS) == fresh
        logits = predict_logits(other, data.images, recipe, 48).numpy()
        assert logits == pytest.approx(
            ExpressionClassifier(file).predict(data.images).logits, abs=1e-4
        )
    # Classes of the same name begin as the model's, wherever they stand; others are not mistaken
    # for them because there are as many.
    classes = ("bored", "happy", "b", "c", "d", "e", "angry")
    seven = build_network(recipe.network)
    own = seven.expression.weight.detach().clone()
    assert "expression.weight" in load_weights(seven, find_model(file), classes)
    for i, name in enumerate(classes):
        known = name in EXPRESSIONS
        begun = other.expression.weight[EXPRESSIONS.index(name)] if known else own[i]
        assert torch.allclose(seven.expression.weight[i], begun, atol=1e-6), name
    wider = build_network(replace(recipe.network, widths=(8, 32)))
    with pytest.raises(ModelError, match=r"another network.*lacks features\.4\.weight"):
        load_weights(wider, find_model(file), EXPRESSIONS)


def test_fine_tuning_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mien.cli import main

    data = drawn(35)
    fit(tiny(epochs=1), data, data, tmp_path / "first")
    recipe, network, fingerprint, _ = load_trained(tmp_path / "first")
    export(recipe, network, data, tmp_path / "start.onnx", data_sha256=fingerprint)
    mine = FaceCrops(data.images, data.labels % 2, None, data.names, classes=("bored", "focused"))
    folder = str(saved(mine, tmp_path / "mine"))
    slip = Path(folder) / "bord"  # whose pictures would be missing without a word
    slip.mkdir()
    Image.fromarray(data.images[0]).save(slip / "a.png")
    arguments = ["train", "--data", folder]  # by the recipe for fine-tuning, if not by another
    arguments += ["--init", str(tmp_path / "start.onnx"), "--out", str(tmp_path / "tuned")]
    arguments += ["--set", 'data.classes=["bored", "focused"]', "--set", "fit.epochs=1"]
    for change in (
        "network.stem_stride=2",
        "data.illumination=clahe",
        "fit.resolutions=[[1.0, 32]]",
    ):
        assert main([*arguments, "--set", change]) == 2
        key = change.split("=")[0]
        assert f"{key} is that of the model to start from" in capsys.readouterr().err
    assert main(arguments) == 0
    said = capsys.readouterr().err
    assert "fresh: expression.weight" in said
    assert "left out, as none of the classes bored, focused: bord (1)" in said
    out = str(tmp_path / "tuned.onnx")
    assert main(["export", str(tmp_path / "tuned"), "--data", folder, "--out", out]) == 0
    tuned = ExpressionClassifier(out)
    assert tuned.spec.labels == ("bored", "focused")
    assert tuned.spec.recipe["network"]["widths"] == [8, 16]
    assert tuned.predict(data.images).probs.shape == (35, 2)


@pytest.mark.parametrize("name", ["mien_vgg", "mien_attention"])
def test_half_precision_storage(tmp_path: Path, name: str) -> None:
    data = drawn(20)
    recipe = recipe_from_dict(
        tiny(epochs=1).to_dict()
        | {"network": {"name": name, "widths": [16, 32, 64], "depths": [1, 1, 1]}}
    )
    fit(recipe, data, data, tmp_path)
    _, network, fingerprint, _ = load_trained(tmp_path)
    sizes, logits = [], []
    for half in (False, True):
        file = tmp_path / f"{half}.onnx"
        export(recipe, network, data, file, data_sha256=fingerprint, half=half)
        sizes.append(file.stat().st_size)
        logits.append(ExpressionClassifier(file).predict(data.images).logits)
    large = (32 * 16 + 64 * 32) * 9  # weights worth halving
    assert sizes[0] - sizes[1] == pytest.approx(2 * large, rel=0.1)
    assert logits[1] == pytest.approx(logits[0], abs=0.02)
    expected = predict_logits(_rounded(network), data.images, recipe, 48).numpy()
    assert logits[1] == pytest.approx(expected, abs=1e-4)


def test_training_sees_what_inference_sees() -> None:
    """One preprocessing: an unvaried training picture equals inference's input, byte for byte."""
    data = drawn(7)
    crops = torch.from_numpy(data.images)[:, None].float()
    assert network_pixels(crops, tiny()).numpy().tobytes() == network_input(data.images).tobytes()


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


def test_the_benchmark_measures_what_it_says() -> None:
    from mien.training.benchmark import benchmark_training, format_speed

    speed = benchmark_training(tiny(), steps=2, rounds=2, precision="32-true")
    assert speed.macs == count_macs(build_network(tiny().network), 48)
    assert speed.whole < speed.bare * 1.5
    assert speed.gmacs == pytest.approx(speed.whole * speed.macs * 3 / 1e9)
    assert "all around it costs" in format_speed(speed)


def test_folds_by_subject(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row is answered by a network that has not seen its subject, and counts once."""
    from mien.cli import main

    data = drawn(48)
    for i, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        if label < 2:
            file = tmp_path / "data" / EXPRESSIONS[label] / f"S{i % 12:03}_001_{i:08}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
    n = int((data.labels < 2).sum())
    (tmp_path / "r.toml").write_text(
        "name = 'folds'\n[network]\nwidths = [8, 16]\ndepths = [1, 1]\n"
        "[data]\naligned_share = 0.0\nclasses = ['angry', 'disgust', 'fear']\ninput_px = 32\n"
        "[fit]\nepochs = 1\nbatch = 8\nresolutions = [[1.0, 32]]\n"
    )
    arguments = ["evaluate", "--data", str(tmp_path / "data"), "--folds", "subject", "--json"]
    arguments += ["--recipe", str(tmp_path / "r.toml"), "--out", str(tmp_path / "runs")]
    two = ["--set", 'data.classes=["angry", "disgust"]']
    assert main([*arguments, *two]) == 0
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert figures["n"] == n
    assert list(figures["per_class"]) == ["angry", "disgust"]
    assert err.count("fold ") == 10
    assert main([*arguments[:5]]) == 2
    assert "say how to train by --recipe" in capsys.readouterr().err
    assert main(["evaluate", "--data", "x", "--recipe", "ckplus"]) == 2
    assert "--recipe: goes with --folds only" in capsys.readouterr().err
    assert main([*arguments[:3], *two]) == 2
    assert "--set: goes with --folds only" in capsys.readouterr().err


def test_a_run_is_not_replaced_by_another(tmp_path: Path) -> None:
    fit(tiny(epochs=1), drawn(20), drawn(7), tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match="holds a run, which would be lost"):
        fit(tiny(epochs=1), drawn(21), drawn(7), tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def of_subjects(folder: Path) -> Path:
    """28 crops of four people."""
    for i, (image, label) in enumerate(zip(drawn(28).images, drawn(28).labels, strict=True)):
        file = folder / EXPRESSIONS[label] / f"S{i % 4:03}_001_{i:08}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return folder


def test_folds_that_were_killed_go_on(tmp_path: Path) -> None:
    data, recipe = of_subjects(tmp_path / "data"), tiny(epochs=1)

    class KilledError(Exception):
        pass

    def die(text: str) -> None:
        if "fold 1" in text:
            raise KilledError

    def examine(runs: str, **more: Any) -> Any:
        return cross_validate(recipe, data, tmp_path / runs, folds=2, threads=1, **more)[1]

    with pytest.raises(KilledError):
        examine("broken", note=die)
    finished = tmp_path / "broken" / "fold0" / "checkpoint.pt"
    before = finished.stat().st_mtime_ns
    assert (examine("broken", resume=True) == examine("whole")).all()
    assert finished.stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="another recipe"):
        cross_validate(tiny(epochs=2), data, tmp_path / "broken", folds=2, resume=True)


def test_folds_replace_those_of_an_earlier_time(tmp_path: Path) -> None:
    of_subjects(tmp_path / "data")
    for recipe in (tiny(epochs=1), tiny(epochs=1, batch=8)):
        cross_validate(recipe, tmp_path / "data", tmp_path / "runs", folds=2)


def test_a_run_from_before_a_key_was_introduced_goes_on(tmp_path: Path) -> None:
    """Its recipe lacks the key; what the key's default says is what it did."""
    recipe = tiny(epochs=1)
    fit(recipe, drawn(20), drawn(7), tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del state["recipe"]["fit"]["muon_rate"]
    torch.save(state, tmp_path / "checkpoint.pt")
    fit(recipe, drawn(20), drawn(7), tmp_path, resume=True)
    with pytest.raises(ConfigError, match="another recipe"):
        fit(tiny(epochs=1, muon_rate=0.1), drawn(20), drawn(7), tmp_path, resume=True)


SAYS = {"training_data": "drawn stripes", "licence": "anybody's"}


def test_a_model_says_what_its_recipe_says_of_its_data(tmp_path: Path) -> None:
    """Even where the run began without a word of it."""

    class KilledError(Exception):
        pass

    def die(_done: EpochReport) -> None:
        raise KilledError

    data, recipe = drawn(20), tiny(epochs=2)
    with pytest.raises(KilledError):
        fit(recipe, data, data, tmp_path, report=die)
    for expected in (dict.fromkeys(SAYS, "not stated"), SAYS):
        learned, network, fingerprint, _ = load_trained(tmp_path)
        export(learned, network, data, tmp_path / "model.onnx", data_sha256=fingerprint)
        spec = ExpressionClassifier(tmp_path / "model.onnx").spec
        assert {"training_data": spec.training_data, "licence": spec.licence} == expected
        fit(recipe_from_dict(recipe.to_dict() | SAYS), data, data, tmp_path, resume=True)


@pytest.mark.parametrize("name", ["mien-s", "mien-v", "resnet18"])
def test_published_models_say_what_their_recipes_say(name: str) -> None:
    spec = ExpressionClassifier(name).spec
    recipe = load_recipe(REPOSITORY / "recipes" / f"{name}.toml")
    assert (spec.training_data, spec.licence) == (recipe.training_data, recipe.licence)
    # The recipes in them are from before recipes could say so, and can be read.
    assert recipe_from_dict(spec.recipe).network == recipe.network


@pytest.mark.parametrize("rows", ["FER2013's", "others"])
def test_a_run_that_says_nothing_is_published_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str
) -> None:
    import shutil
    from argparse import Namespace
    from importlib.util import module_from_spec, spec_from_file_location

    place = spec_from_file_location("publish", REPOSITORY / "scripts" / "publish_model.py")
    assert place is not None
    assert place.loader is not None
    script = module_from_spec(place)
    place.loader.exec_module(script)
    monkeypatch.setattr(script, "MODELS", tmp_path / "models")
    (tmp_path / "models").mkdir()
    shutil.copytree(REPOSITORY / "recipes", tmp_path / "recipes")
    write_splits(tmp_path / "fer2013", 14)
    data = load_crops(tmp_path / "fer2013", "Training")
    run, options = tmp_path / "run", Namespace(data=tmp_path, wheel=False, default=False)
    fit(tiny(epochs=1), data if rows == "FER2013's" else drawn(20), data, run)
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    for key in SAYS:
        del state["recipe"][key]
    torch.save(state, run / "checkpoint.pt")
    assert script.publish(run, options) == "tiny"
    says = ExpressionClassifier(tmp_path / "models" / "tiny.onnx").spec.training_data
    assert says.startswith("FER2013 (ICML" if rows == "FER2013's" else "not stated")


def test_export_wants_the_data_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture more deals out anew which rows are watched."""
    from mien.cli import main
    from mien.datasets import load_training

    folder = saved(drawn(28), tmp_path / "mine")
    fit(tiny(epochs=1), *load_training(folder), tmp_path / "run")
    out = tmp_path / "mine.onnx"
    export = ["export", str(tmp_path / "run"), "--data", str(folder), "--out", str(out)]
    picture = next(folder.rglob("*.png"))
    (picture.parent / "more.png").write_bytes(picture.read_bytes())
    assert main(export) == 2
    assert "is not the set that" in (said := capsys.readouterr().err)
    assert "`mien calibrate`" in said
    assert not out.exists()
    (picture.parent / "more.png").unlink()
    assert main(export) == 0


def test_what_a_model_left_out_is_not_left_out_again(tmp_path: Path) -> None:
    """Nor are the weights wanted that it started from (its file holds them all), nor frozen."""
    from mien.training.initial import of_the_same_network

    learned = tiny(epochs=1)
    learned = replace(learned, data=replace(learned.data, left_out=(0, 5)))
    data, run = drawn(20), tmp_path / "run"
    fit(learned, data, data, run)
    _, network, fingerprint, _ = load_trained(run)
    start = replace(learned.network, weights="gone.json", frozen=True)
    started = replace(learned, network=start)
    export(started, network, data, tmp_path / "start.onnx", data_sha256=fingerprint)
    mine = of_the_same_network(tiny(), find_model(tmp_path / "start.onnx"))
    assert mine.network == learned.network
    assert mine.data == tiny().data
    heads = replace(tiny(), network=replace(tiny().network, frozen=True))
    assert of_the_same_network(heads, find_model(tmp_path / "start.onnx")).network.frozen


def test_only_epochs_of_the_exported_size_can_be_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien.training import fit as loop

    seen = iter([0.9, 0.0, 0.5, 0.4])  # of 32 px, then 48, 48, 48
    monkeypatch.setattr(loop, "_accuracy", lambda *_: next(seen))
    recipe = tiny(epochs=4, select="best", resolutions=[[0.25, 32], [1.0, 48]])

    class KilledError(Exception):
        pass

    def die(done: EpochReport) -> None:
        chosen.append(load_trained(tmp_path)[3])
        raise KilledError

    chosen: list[int] = []
    for epoch in range(4):
        with pytest.raises(KilledError):
            fit(recipe, drawn(20), drawn(7), tmp_path, resume=bool(epoch), report=die)
    assert chosen == [1, 2, 3, 3]  # the last, while there is none of 48 px


def test_what_scales_gradients_goes_on_too(tmp_path: Path) -> None:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision

    class KilledError(Exception):
        pass

    def die(_done: EpochReport) -> None:
        raise KilledError

    def half(scale: float) -> tuple[Fabric, torch.amp.GradScaler]:
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        precision = MixedPrecision("16-mixed", "cpu", scaler)
        return Fabric(accelerator="cpu", devices=1, plugins=precision), scaler

    first, second = half(8.0), half(4.0)
    data, recipe = drawn(20), tiny(epochs=2)
    with pytest.raises(KilledError):
        fit(recipe, data, data, tmp_path, fabric=first[0], report=die)
    fit(recipe, data, data, tmp_path, fabric=second[0], resume=True)
    assert second[1].get_scale() == 8.0
