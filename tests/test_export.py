"""From a run to a model file, what that says of itself, and training that goes on from it."""

import shutil
import subprocess
from argparse import Namespace
from dataclasses import replace
from math import prod
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from mien.classifier import ExpressionClassifier
from mien.datasets import FaceCrops, load_crops
from mien.errors import ModelError
from mien.models import find_model
from mien.training import export as exporting
from mien.training.export import _rounded, export, load_trained
from mien.training.fit import fit, predict_logits
from mien.training.initial import load_weights
from mien.training.recipe import load_recipe, recipe_from_dict
from mien.training.zoo import build_network, count_macs, count_parameters
from mien.types import EXPRESSIONS
from tests.lessons import KilledError, die, drawn, saved, taught, tiny, write_splits
from tests.scripts import script

REPOSITORY = Path(__file__).parents[1]


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


def test_half_precision_keeps_running_averages(tmp_path: Path) -> None:
    """Which float16 may not be able to hold, and which are not rounded when it is calibrated."""
    data, recipe = drawn(14), tiny()
    recipe = replace(recipe, network=replace(recipe.network, widths=(4, 1024)))
    network = build_network(recipe.network).eval()
    dict(network.named_buffers())["features.5.running_var"].fill_(1e5)
    file = tmp_path / "half.onnx"
    export(recipe, network, data, file, data_sha256="", half=True)
    logits = ExpressionClassifier(file).predict(data.images).logits
    expected = predict_logits(_rounded(network), data.images, recipe, 48).numpy()
    assert logits == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["mien_vgg", "mien_attention", "mien_pooling"])
def test_half_precision_storage(tmp_path: Path, name: str) -> None:
    data = drawn(20)
    recipe = recipe_from_dict(
        tiny(epochs=1).to_dict()
        | {"network": {"name": name, "widths": [16, 32, 64], "depths": [1, 1, 1]}}
    )
    fit(recipe, data, data, tmp_path)
    _, network, fingerprint, _ = load_trained(tmp_path)
    file = tmp_path / "half.onnx"
    export(recipe, network, data, file, data_sha256=fingerprint, half=True)
    large = (32 * 16 + 64 * 32) * 9  # weights worth halving
    if name == "mien_pooling":
        large += 64 * 64
    numbers: dict[int, list[int]] = {onnx.TensorProto.FLOAT: [], onnx.TensorProto.FLOAT16: []}
    for weights in onnx.load(str(file)).graph.initializer:
        numbers.setdefault(weights.data_type, []).append(prod(weights.dims))
    assert sum(numbers[onnx.TensorProto.FLOAT16]) == pytest.approx(large, rel=0.1)
    assert max(numbers[onnx.TensorProto.FLOAT]) < 1024
    logits = ExpressionClassifier(file).predict(data.images).logits
    for original, tolerance in ((network, 0.02), (_rounded(network), 1e-4)):
        expected = predict_logits(original, data.images, recipe, 48).numpy()
        assert logits == pytest.approx(expected, abs=tolerance)


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


def test_a_head_that_learned_from_no_votes_is_not_exported(tmp_path: Path) -> None:
    """Votes that come beside fer2013.csv after a run cannot calibrate what is as it was made."""
    from mien.cli import main
    from mien.datasets import load_training

    faces = drawn(28)
    usages = ["Training"] * 21 + ["PublicTest"] * 7
    lines = [
        f"{label},{' '.join(map(str, image.ravel()))},{usage}"
        for label, image, usage in zip(faces.labels, faces.images, usages, strict=True)
    ]
    csv = tmp_path / "fer2013.csv"
    csv.write_text("\n".join(["emotion,pixels,Usage", *lines]))
    fit(tiny(epochs=1), *load_training(csv), tmp_path / "run")
    head = "Usage,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    ballots = [f"{usage},10,0,0,0,0,0,0,0,0,0" for usage in usages]
    (tmp_path / "fer2013new.csv").write_text("\n".join([head, *ballots]))
    file = tmp_path / "m.onnx"
    assert main(["export", str(tmp_path / "run"), "--data", str(csv), "--out", str(file)]) == 0
    assert not find_model(file).spec().ferplus_temperature


def test_training_goes_on_from_a_model_file(tmp_path: Path) -> None:
    """The file holds every weight: what is loaded from it answers as the file does."""
    data = drawn(35)
    fit(tiny(epochs=3), data, data, tmp_path)
    recipe, network, fingerprint, _ = load_trained(tmp_path)
    unvoted = replace(data, votes=None)  # the head that learned votes is left out without them
    for half, rows, fresh in (
        (False, unvoted, ["ferplus.weight", "ferplus.bias"]),
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
    start = taught(tmp_path / "start.onnx", tiny(epochs=1), data, data)
    mine = FaceCrops(data.images, data.labels % 2, None, data.names, classes=("bored", "focused"))
    folder = str(saved(mine, tmp_path / "mine"))
    slip = Path(folder) / "bord"  # whose pictures would be missing without a word
    slip.mkdir()
    Image.fromarray(data.images[0]).save(slip / "a.png")
    arguments = ["train", "--data", folder]  # by the recipe for fine-tuning, if not by another
    arguments += ["--init", str(start), "--out", str(tmp_path / "tuned")]
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


SAYS = {"training_data": "drawn stripes", "licence": "anybody's"}


def test_a_model_says_what_its_recipe_says_of_its_data(tmp_path: Path) -> None:
    """Even where the run began without a word of it."""
    data, recipe = drawn(20), tiny(epochs=2)
    with pytest.raises(KilledError):
        fit(recipe, data, data, tmp_path, report=die)
    for expected in (dict.fromkeys(SAYS, "not stated"), SAYS):
        learned, network, fingerprint, _ = load_trained(tmp_path)
        export(learned, network, data, tmp_path / "model.onnx", data_sha256=fingerprint)
        spec = ExpressionClassifier(tmp_path / "model.onnx").spec
        assert {"training_data": spec.training_data, "licence": spec.licence} == expected
        fit(recipe_from_dict(recipe.to_dict() | SAYS), data, data, tmp_path, resume=True)


@pytest.mark.parametrize("name", ["mien-fer", "mien-v", "resnet18"])
def test_published_models_say_what_their_recipes_say(name: str) -> None:
    spec = ExpressionClassifier(name).spec
    recipe = load_recipe(REPOSITORY / "recipes" / f"{name}.toml")
    assert (spec.training_data, spec.licence) == (recipe.training_data, recipe.licence)
    assert recipe_from_dict(spec.recipe).network == recipe.network


def publishing_into(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that publishes, in a repository of its own."""
    publish_model = script("publish_model")
    monkeypatch.setattr(publish_model, "MODELS", folder / "models")
    (folder / "models").mkdir()
    shutil.copytree(REPOSITORY / "recipes", folder / "recipes")
    return publish_model


@pytest.mark.parametrize("select", ["last", "best"])
def test_a_run_that_still_learns_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, select: str
) -> None:
    publish_model, run = publishing_into(tmp_path, monkeypatch), tmp_path / "run"
    with pytest.raises(KilledError):
        fit(tiny(select=select), drawn(20), drawn(7), run, report=die)
    with pytest.raises(SystemExit, match=r"has learned for 1 of 2 epochs\. Resume it"):
        publish_model.publish(run, Namespace(data=tmp_path, wheel=False, default=False))
    assert not any((tmp_path / "models").iterdir())


def test_the_default_model_stays_it_until_another_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_model, file = publishing_into(tmp_path, monkeypatch), tmp_path / "models" / "a.onnx"
    file.touch()

    def published(name: str, default: bool) -> list[str]:
        publish_model.register(file, name, wheel=True, default=default)
        return [name for name in "ab" if publish_model.is_default(name)]

    assert published("a", True) == ["a"]
    assert published("b", False) == ["a"]
    assert published("a", False) == ["a"]
    assert published("b", True) == ["b"]
    assert published("a", False) == ["b"]


@pytest.mark.parametrize("rows", ["FER2013's", "others"])
def test_a_run_that_says_nothing_is_published_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str
) -> None:
    publish_model = publishing_into(tmp_path, monkeypatch)
    write_splits(tmp_path / "fer2013", 14)
    data = load_crops(tmp_path / "fer2013", "Training")
    run, options = tmp_path / "run", Namespace(data=tmp_path, wheel=False, default=False)
    fit(tiny(epochs=1), data if rows == "FER2013's" else drawn(20), data, run)
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    for key in SAYS:
        del state["recipe"][key]
    torch.save(state, run / "checkpoint.pt")
    assert publish_model.publish(run, options) == "tiny"
    says = ExpressionClassifier(tmp_path / "models" / "tiny.onnx").spec.training_data
    assert says.startswith("FER2013 (ICML" if rows == "FER2013's" else "not stated")


def test_the_commit_is_that_of_mien_and_of_no_repository_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Installed into a folder of somebody's repository, mien knows no commit of its own."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    for place, known in (("venv/lib/mien/training", False), ("src/mien/training", True)):
        (tmp_path / place).mkdir(parents=True)
        monkeypatch.setattr(exporting, "__file__", str(tmp_path / place / "export.py"))
        assert bool(exporting.current_commit()) == known
    monkeypatch.setattr(exporting, "__file__", str(tmp_path.parent / "src/mien/training/export.py"))
    assert exporting.current_commit() == ""
