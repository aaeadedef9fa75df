"""Soft targets: what other models think of the training rows, and which rows they may be asked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from onnxruntime import InferenceSession
from PIL import Image

from mien.classifier import ExpressionClassifier, Predictions
from mien.datasets import FaceCrops
from mien.errors import ConfigError, ModelError
from mien.models import find_model
from mien.preprocess import network_input
from mien.training import fit as fitting
from mien.training import teachers
from mien.training.augment import draw_variations, varied_views
from mien.training.data import Batch, make_batch, training_rows
from mien.training.recipe import AugmentRecipe, FitRecipe, Recipe, recipe_from_dict
from mien.training.teachers import fold_numbers, make_panel, opinions
from mien.types import EXPRESSIONS, UInt8Array, Views
from tests.lessons import tiny

Crops = UInt8Array | Sequence[UInt8Array]


def rows(n: int = 20, seed: int = 0) -> FaceCrops:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (n, 48, 48)).astype(np.uint8)
    return FaceCrops(images, np.arange(n) % 7, None, tuple(map(str, range(n))))


def recipe(**sections: dict[str, object]) -> Recipe:
    return recipe_from_dict({"name": "r", **sections})


def test_identical_pictures_share_a_fold() -> None:
    data = rows(200)
    twice = FaceCrops(
        np.concatenate([data.images, data.images]),
        np.concatenate([data.labels, data.labels]),
        None,
        data.names * 2,
    )
    folds = fold_numbers(twice, 5)
    assert (folds[:200] == folds[200:]).all()
    assert set(folds) == set(range(5))
    assert np.bincount(folds).min() > 40  # of 400, dealt evenly


def test_a_fold_is_not_learned_from(tmp_path: Path) -> None:
    data = rows(50)
    held = fold_numbers(data, 5) == 2
    kept = training_rows(
        recipe(data={"left_out": [2, 5], "aligned_share": 0.0}), data, tmp_path, lambda text: None
    )
    assert len(kept) == (~held).sum()
    assert torch.equal(kept.images, torch.from_numpy(data.images[~held]))
    for wrong in ([5, 5], [1], [-1, 5]):
        with pytest.raises(ConfigError, match="left_out"):
            recipe(data={"left_out": wrong})


def test_opinions_are_those_of_the_teachers(tmp_path: Path, portrait_file: Path) -> None:
    face = Image.open(portrait_file).convert("L").crop((180, 60, 270, 180)).resize((48, 48))
    data = rows(6)
    data.images[0] = np.asarray(face)
    found = opinions(["mien-s"], data, tmp_path)
    assert found.shape == (6, 7)
    assert found.sum(1) == pytest.approx(1, abs=2e-3)
    assert EXPRESSIONS[found[0].argmax()] == "happy"
    assert len(list(tmp_path.glob("opinions-*.npz"))) == 1
    again = opinions(["mien-s"], data, tmp_path)  # now out of the file
    assert np.array_equal(again, found)
    with pytest.raises(ModelError, match="no model of that name"):
        opinions(["nobody"], data, tmp_path)
    with pytest.raises(ConfigError, match=r"mien-s: expected data .* found a, b$"):
        opinions(["mien-s"], replace(data, labels=data.labels % 2, classes=("a", "b")), tmp_path)


def test_only_teachers_that_have_not_seen_a_row_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two copies of a model, one of which says it was trained without fold 0 of 2."""
    data = rows(12)
    honest, file = fold_numbers(data, 2) == 0, tmp_path / "other.onnx"
    file.write_bytes(find_model().path.read_bytes())
    answers = {str(file): honest}

    def unseen(_spec: object, train: FaceCrops, _note: object) -> np.ndarray:
        return answers[calls.pop(0)] if calls else np.zeros(len(train), bool)

    asked: list[int] = []

    class Teacher(ExpressionClassifier):
        def predict(self, crops: Crops, *, views: Views = "single") -> Predictions:
            asked.append(len(crops))
            return super().predict(crops, views=views)

    calls = [str(file)]
    monkeypatch.setattr(teachers, "_unseen", unseen)
    monkeypatch.setattr(teachers, "ExpressionClassifier", Teacher)
    opinions([str(file), "mien-s"], data, tmp_path)
    # The first answers for its own fold, both for the rest.
    assert asked == [12] * 4 + [int((~honest).sum())] * 4
    asked.clear()
    answers[str(file)], calls = np.ones(12, bool), [str(file)]
    said: list[str] = []
    opinions([str(file), "mien-s"], data, tmp_path / "all", said.append)
    assert asked == [12] * 4  # of no row is the second asked
    assert any("is not asked" in line for line in said)


def test_a_model_says_which_rows_it_has_not_seen() -> None:
    data, said = rows(40), list[str]()
    published = replace(find_model().spec(), data_sha256=data.fingerprint())

    def unseen(recipe: Mapping[str, object], train: FaceCrops = data) -> np.ndarray:
        return teachers._unseen(replace(published, recipe=recipe), train, said.append)

    assert not unseen({}).any()
    assert not unseen({"data": {"left_out": []}}).any()
    without = {"data": {"left_out": [1, 4]}}
    assert (unseen(without) == (fold_numbers(data, 4) == 1)).all()
    assert not unseen({**without, "init": "mien-s"}).any()  # which knows that fold
    assert (unseen({**without, "init": ""}) == unseen(without)).all()
    assert not said
    larger = replace(data, images=data.images.repeat(2, 1).repeat(2, 2))
    assert (fold_numbers(larger, 4) != fold_numbers(data, 4)).any()
    assert not unseen(without, larger).any()  # nobody can tell
    assert "crops of another size" in said[0]


def test_targets_lean_towards_the_opinions(tmp_path: Path) -> None:
    data = rows(4)
    taught = recipe(
        data={"aligned_share": 0.0},
        fit={"teachers": ["mien-s"], "teacher_weight": 0.25, "label_smoothing": 0.0},
    )
    kept = training_rows(taught, data, tmp_path, lambda text: None)
    assert kept.opinions is not None
    chosen, generator = torch.arange(4), torch.Generator().manual_seed(0)
    dice = draw_variations(4, 32, AugmentRecipe(), generator)
    batch = make_batch(kept, chosen, torch.zeros(4, dtype=torch.bool), 32, dice, taught)
    expected = 0.75 * torch.eye(7)[kept.labels] + 0.25 * kept.opinions
    assert torch.allclose(batch.targets, expected)
    with pytest.raises(ConfigError, match="teacher_weight"):
        recipe(fit={"teacher_weight": 1.5})


def test_a_panel_looks_at_what_the_network_is_shown(portrait_file: Path) -> None:
    """The same answers as the model file's own, at its own size and enlarged to it."""
    face = Image.open(portrait_file).convert("L").crop((180, 60, 270, 180))
    data, taught = rows(3), recipe(fit={"teachers": ["mien-s", "mien-v"], "teachers_see": "views"})
    panel = make_panel(taught, data, np.ones(3, bool), torch.device("cpu"))
    models = [ExpressionClassifier(name) for name in ("mien-s", "mien-v")]
    shown = [np.asarray(face.resize((px, px)), np.uint8) for px in (44, 32)]
    for view in shown:
        pixels = torch.from_numpy(network_input(view[None]))
        found = panel.opinions(pixels, torch.tensor([2]))
        large = F.interpolate(pixels, 44, mode="bilinear") if len(view) < 44 else pixels
        each = [
            torch.from_numpy(_raw_logits(model, large) / model.spec.temperature).log_softmax(0)
            for model in models
        ]
        expected = (torch.stack(each).mean(0)).softmax(0).numpy()
        assert found.shape == (1, 7)
        assert found[0].numpy() == pytest.approx(expected, abs=2e-3)
        assert EXPRESSIONS[int(found[0].argmax())] == "happy"


def _raw_logits(model: ExpressionClassifier, pixels: torch.Tensor) -> np.ndarray:
    session = InferenceSession(model.entry.path.read_bytes())
    logits = session.run(["logits"], {"pixels": pixels.numpy()})[0][0]
    return np.asarray(logits, np.float64)


def test_of_each_row_a_panel_asks_those_that_have_not_seen_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = rows(40)
    honest = fold_numbers(data, 2) == 0
    answers = [honest, np.zeros(40, bool)]
    monkeypatch.setattr(teachers, "_unseen", lambda *_: answers.pop(0))
    taught = recipe(fit={"teachers": ["mien-s", "mien-v"], "teachers_see": "views"})
    usable = np.arange(40) > 4
    panel = make_panel(taught, data, usable, torch.device("cpu"))
    assert panel.asked.shape == (2, 35)
    assert (panel.asked[0].numpy() == (honest | ~honest)[usable]).all()
    assert (panel.asked[1].numpy() == ~honest[usable]).all()
    seen: list[int] = []
    for network in panel.networks:
        network.register_forward_hook(lambda _module, inputs, _out: seen.append(len(inputs[0])))
    chosen = torch.tensor([0, 3, 3, 30])
    found = panel.opinions(torch.zeros(4, 1, 44, 44), chosen)
    assert found.sum(1).tolist() == pytest.approx([1.0] * 4, abs=1e-5)
    others = int((~honest[usable])[chosen.numpy()].sum())
    assert seen == ([4, others] if others else [4])
    assert not found.requires_grad


def test_a_panel_refuses_what_cannot_look_at_the_same_views() -> None:
    def panel(*names: str, **data: object) -> None:
        fit: dict[str, object] = {"teachers": list(names), "teachers_see": "views"}
        make_panel(recipe(fit=fit, data=data), rows(3), np.ones(3, bool), torch.device("cpu"))

    with pytest.raises(ConfigError, match=r"data\.illumination: expected clahe.*found none"):
        panel("mien-s", illumination="clahe")
    for name in ("mien-m", "mien-s-int8"):
        with pytest.raises(ConfigError, match=rf"{name}: has no network .*teachers_see to rows"):
            panel(name)
    with pytest.raises(ConfigError, match=r"teachers_see: expected rows or views"):
        recipe(fit={"teachers_see": "faces"})


def test_a_network_learns_from_a_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing but the panel's opinions it is taught those, whatever the labels say."""
    data = rows(70)
    taught = tiny(
        epochs=1, teachers=["mien-s"], teachers_see="views", teacher_weight=1.0, label_smoothing=0.0
    )
    loss, targets = fitting.batch_loss, list[torch.Tensor]()

    def watched(network: torch.nn.Module, batch: Batch, rule: FitRecipe) -> torch.Tensor:
        targets.append(batch.targets)
        return loss(network, batch, rule)

    def always_happy(_panel: object, pixels: torch.Tensor, _rows: torch.Tensor) -> torch.Tensor:
        return torch.eye(7)[EXPRESSIONS.index("happy")].repeat(len(pixels), 1)

    monkeypatch.setattr(fitting, "batch_loss", watched)
    monkeypatch.setattr(teachers.Panel, "opinions", always_happy)
    said: list[str] = []
    fitting.fit(taught, data, data, tmp_path, note=said.append)
    assert any("asking 1 teachers about 70 rows, 0.0%" in line for line in said)
    assert torch.cat(targets).argmax(1).tolist() == [EXPRESSIONS.index("happy")] * 70
    batch = Batch(torch.zeros(2, 1, 8, 8), torch.eye(2), None)
    opinions = torch.full((2, 2), 0.5)
    assert torch.allclose(batch.taught(opinions, 0.5).targets, torch.eye(2) / 2 + 0.25)


def test_views_differ_and_follow_from_their_seed() -> None:
    images = torch.from_numpy(rows(3).images)
    first, second = varied_views(images, 2, AugmentRecipe(), seed=0)
    again, _ = varied_views(images, 2, AugmentRecipe(), seed=0)
    assert first.shape == images.shape
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
