"""Networks averaged: the weights of the result lie between those of its models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from mien.card import model_card
from mien.classifier import ExpressionClassifier
from mien.cli import main
from mien.errors import ConfigError, ModelError
from mien.models import ModelEntry, file_sha256, find_model
from mien.training.average import average
from mien.training.data import network_pixels
from mien.training.export import save_model
from mien.training.fuse import fuse
from mien.training.initial import weights_of
from mien.training.quantize import quantize
from mien.training.recipe import Recipe
from tests.lessons import drawn, taught, tiny, write_splits

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """A network that has learned to tell drawn faces apart, and what it became afterwards."""
    folder = tmp_path_factory.mktemp("models")
    recipe = tiny(epochs=8, batch=8, ema=0.9, learning_rate=0.05, ferplus_weight=0.3)
    first = taught(folder / "first.onnx", recipe, drawn(112, 0), drawn(56, 1))
    later = tiny(epochs=2, batch=8, ema=0.9, learning_rate=0.02, ferplus_weight=0.3, seed=5)
    later = replace(later, name="later", init=str(first))
    return [first, taught(folder / "later.onnx", later, drawn(112, 2), drawn(56, 1))]


def numbers(file: Path) -> dict[str, torch.Tensor]:
    return weights_of(find_model(file))


def correct(file: Path) -> float:
    data = drawn(112, 7)
    probs = ExpressionClassifier(file).predict(data.images).probs
    return float((probs.argmax(1) == data.labels).mean())


def test_weights_are_the_mean_by_their_shares(models: Sequence[Path], tmp_path: Path) -> None:
    file = tmp_path / "mean.onnx"
    spec = average(
        models, drawn(112, 0), drawn(56, 1), file, name="mean", version="4", weights=[1, 3]
    )
    assert ExpressionClassifier(file).spec == spec
    assert (spec.name, spec.version) == ("mean", "4")
    assert spec.averaged_from == tuple(
        (file_sha256(model), share) for model, share in zip(models, (0.25, 0.75), strict=True)
    )
    mine, first, later = map(numbers, (file, *models))
    learned = [name for name in mine if name.endswith(".weight") and mine[name].ndim > 1]
    assert {"expression.weight", "ferplus.weight"} < set(learned)
    for name in learned:
        assert not torch.equal(first[name], later[name])
        torch.testing.assert_close(mine[name], 0.25 * first[name] + 0.75 * later[name])


def test_normalisation_is_measured_anew(models: Sequence[Path], tmp_path: Path) -> None:
    """By what the mean computes: that of its models' measures would be another."""
    file = tmp_path / "mean.onnx"
    average(models, drawn(112, 0), drawn(56, 1), file, name="mean")
    mine, first, later = map(numbers, (file, *models))
    measured = [name for name in mine if name.endswith("running_var")]
    assert measured
    deepest = measured[-1]
    assert not torch.allclose(mine[deepest], (first[deepest] + later[deepest]) / 2, rtol=1e-3)
    again = tmp_path / "again.onnx"
    average(models, drawn(112, 0), drawn(56, 1), again, name="mean")
    assert again.read_bytes() == file.read_bytes()


def test_normalisation_is_measured_at_the_size_that_the_network_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(epochs=1, batch=8, resolutions=[[1.0, 32]])
    recipe = replace(recipe, data=replace(recipe.data, input_px=32))
    files = [
        taught(tmp_path / f"{seed}.onnx", recipe, drawn(56, seed), drawn(56, 9)) for seed in (0, 1)
    ]
    shown = set()

    def noted(crops: torch.Tensor, recipe: Recipe) -> torch.Tensor:
        shown.add(crops.shape[1:])
        return network_pixels(crops, recipe)

    monkeypatch.setattr("mien.training.average.network_pixels", noted)
    average(files, drawn(56, 0), drawn(56, 9), tmp_path / "mean.onnx", name="mean")
    assert shown == {(1, 32, 32)}


def test_it_reads_as_well_as_its_models(models: Sequence[Path], tmp_path: Path) -> None:
    file = tmp_path / "mean.onnx"
    average(models, drawn(112, 0), drawn(56, 1), file, name="mean", half=True)
    assert correct(file) >= min(map(correct, models)) - 0.05
    assert file.stat().st_size < models[0].stat().st_size
    spec = find_model(file).spec()
    voters = ExpressionClassifier(file, classes="ferplus")
    assert voters.predict(drawn(7, 3).images).probs.shape == (7, 8)
    card = model_card(spec, file_sha256(file), [])
    assert f"`{file_sha256(models[1])}` (0.5)" in card
    assert "How much each of the averaged models counts" in card


def test_how_common_classes_are_lies_between_too(models: Sequence[Path], tmp_path: Path) -> None:
    """One has seen classes as they come, the other all alike: what is left is half of it."""
    rows = drawn(112, 0)
    uneven = rows.select((rows.labels > 2) | (np.arange(112) < 28))
    recipe = tiny(epochs=1, batch=16, ferplus_weight=0.3)
    alike = replace(recipe, data=replace(recipe.data, balance=1.0))
    other = taught(tmp_path / "alike.onnx", alike, uneven, drawn(14, 1))
    file = tmp_path / "mean.onnx"
    spec = average([models[0], other], uneven, drawn(56, 1), file, name="mean")
    kept = 1 - spec.metrics.get("shares_taken_back", 0.0)
    expected = (np.bincount(uneven.labels) ** 0.5) ** kept
    np.testing.assert_allclose(spec.class_shares, expected / expected.sum(), rtol=1e-6)


def test_a_class_without_rows_is_left_alone_in_the_mean(
    models: Sequence[Path], tmp_path: Path
) -> None:
    rows = drawn(112, 0)
    six = rows.select(rows.labels != 1)
    spec = average(models, six, drawn(56, 1), tmp_path / "mean.onnx", name="mean")
    assert spec.class_shares[1] == 0


def test_a_mean_has_left_out_what_all_of_its_models_have(tmp_path: Path) -> None:
    """Else it would teach rows as if it had not learned from them."""
    rows, recipe = drawn(56), tiny(epochs=1, batch=16)
    without = replace(recipe, data=replace(recipe.data, left_out=(0, 2)))
    started = replace(without, init="mien-s")
    files = {}
    for name, theirs, data in (
        ("one", without, rows), ("same", without, rows), ("all", recipe, rows),
        ("other", without, drawn(56, 3)),
    ):  # fmt: skip
        files[name] = taught(tmp_path / f"{name}.onnx", theirs, data, drawn(14, 1))
    files["started"] = tmp_path / "started.onnx"
    network = onnx.load(files["same"])
    spec = replace(find_model(files["same"]).spec(), recipe=started.to_dict())
    save_model(network, spec, files["started"])
    for name, kept in (("same", [0, 2]), ("all", []), ("other", []), ("started", [])):
        both = [files["one"], files[name]]
        spec = average(both, rows, drawn(14, 1), tmp_path / "mean.onnx", name="mean")
        assert spec.recipe["data"]["left_out"] == kept, name


def test_training_goes_on_from_a_mean(models: Sequence[Path], tmp_path: Path) -> None:
    mean = tmp_path / "mean.onnx"
    average(models, drawn(112, 0), drawn(56, 1), mean, name="mean")
    recipe = replace(tiny(epochs=1, batch=8), init=str(mean))
    on = taught(tmp_path / "on.onnx", recipe, drawn(56, 0), drawn(28, 1))
    assert find_model(on).spec().averaged_from == ()


@pytest.mark.parametrize(
    ("weights", "said"),
    [([1.0], "one for each of 2"), ([1.0, 0.0], "positive"), ([1.0, float("nan")], "positive")],
)
def test_impossible_weights_are_refused(
    models: Sequence[Path], tmp_path: Path, weights: list[float], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        average(models, drawn(7), drawn(7), tmp_path / "m.onnx", name="m", weights=weights)
    with pytest.raises(ConfigError, match="at least two"):
        average(models[:1], drawn(7), drawn(7), tmp_path / "m.onnx", name="m")
    assert not (tmp_path / "m.onnx").exists()


def test_models_that_do_not_fit_are_refused(models: Sequence[Path], tmp_path: Path) -> None:
    out = tmp_path / "m.onnx"
    recipe = tiny(epochs=1, batch=16)
    wider = replace(recipe, network=replace(recipe.network, widths=(8, 24)))
    other = taught(tmp_path / "wider.onnx", wider, drawn(28), drawn(14, 1))
    with pytest.raises(ConfigError, match=r"wider\.onnx: has another network than .*mien fuse"):
        average([models[0], other], drawn(7), drawn(7), out, name="m")
    upright = replace(recipe, data=replace(recipe.data, crop_scale=1.2))
    other = taught(tmp_path / "looser.onnx", upright, drawn(28), drawn(14, 1))
    with pytest.raises(ConfigError, match="another preprocessing or size"):
        average([models[0], other], drawn(7), drawn(7), out, name="m")
    rounded, fusion = tmp_path / "int8.onnx", models[0].parent / "fusion.onnx"
    quantize(models[0], drawn(112), drawn(56, 1), rounded)
    with pytest.raises(ModelError, match="8 bits"):
        average([models[0], rounded], drawn(7), drawn(7), out, name="m")
    fuse(models, "logprob", drawn(56), drawn(56, 1), fusion, name="fusion")
    for both in ([fusion, models[0]], [models[0], fusion]):
        with pytest.raises(ModelError, match="is a fusion"):
            average(both, drawn(7), drawn(7), out, name="m")
    assert not out.exists()


def test_a_model_without_votes_leaves_the_mean_without(
    models: Sequence[Path], tmp_path: Path
) -> None:
    recipe = replace(tiny(epochs=1, batch=16, ferplus_weight=0.0), name="plain")
    plain = taught(tmp_path / "plain.onnx", recipe, drawn(28), drawn(14, 1))
    spec = average([models[0], plain], drawn(56), drawn(28, 1), tmp_path / "mean.onnx", name="mean")
    assert spec.ferplus_temperature == 0


def test_the_command(models: Sequence[Path], tmp_path: Path, capsys: Capture) -> None:
    data, out = tmp_path / "data", tmp_path / "mean.onnx"
    write_splits(data, 56)
    given = ["average", *map(str, models), "--data", str(data), "--out", str(out)]
    assert main([*given, "--weight", "0.3", "--weight", "0.7", "--name", "mean"]) == 0
    assert "mean of 2, PublicTest, n = 56: " in capsys.readouterr().err
    entry: ModelEntry = find_model(out)
    assert entry.spec().name == "mean"
    assert np.allclose([share for _, share in entry.spec().averaged_from], [0.3, 0.7])
    assert main([*given, "--weight", "0.3"]) == 2
    assert "one for each of 2 models" in capsys.readouterr().err
