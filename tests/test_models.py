"""Model files describe themselves; altered ones and strangers are refused."""

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.classifier import ExpressionClassifier
from mien.classifier.model import _Answer
from mien.cli import main
from mien.errors import ModelError
from mien.models import METADATA_KEY, ModelEntry, ModelSpec, find_model, list_models, registry
from mien.onnx_metadata import read_metadata
from mien.temporal import TemporalModel

LARGEST_BYTES = 12_000_000  # of a model in the wheel


def test_the_registry_is_sound() -> None:
    entries = list_models()
    assert [entry.default for entry in entries].count(True) == 1
    for entry in entries:
        assert entry.available
        entry.read()  # checks the hash
        if entry.continues:
            spec = TemporalModel(entry).spec
            assert spec.classifier_sha256 == entry.continues == find_model(spec.classifier).sha256
            assert spec.labels == ExpressionClassifier(spec.classifier).spec.labels
        else:
            assert ExpressionClassifier(entry.name).spec.name == entry.name
        assert entry.path.with_suffix(".md").is_file(), "every model has a card"
        assert list(entry.to_dict()) == [
            "name", "default", "file", "sha256", "size", "members", "size_with_members", "terms",
        ]  # fmt: skip
        metadata = onnx.load(str(entry.path)).metadata_props
        assert read_metadata(entry.path) == {each.key: each.value for each in metadata}


def test_the_default_is_small_enough_to_ship() -> None:
    assert find_model().path.stat().st_size <= LARGEST_BYTES


def test_the_card_says_what_the_file_says() -> None:
    entry = find_model()
    card = entry.path.with_suffix(".md").read_text("utf-8")
    spec = ExpressionClassifier().spec
    assert entry.sha256 is not None
    assert entry.sha256 in card
    assert f"{spec.parameters:,} parameters" in card
    assert f"{spec.temperature:.3f}" in card
    for heading in ("Intended use", "Excluded use", "Limits", "Figures"):
        assert heading in card


def test_a_spec_survives_its_own_json() -> None:
    spec = ExpressionClassifier().spec
    assert ModelSpec.from_metadata({METADATA_KEY: spec.to_json()}, "x") == spec


def test_a_wrong_hash_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(find_model().path.read_bytes()[:-1] + b"!")
    with pytest.raises(ModelError, match="expected SHA-256"):
        ModelEntry("m", file, find_model().sha256).read()


def test_strangers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model of that name.*mien-s"):
        ExpressionClassifier("nonesuch")
    with pytest.raises(ModelError, match="cannot be read"):
        ExpressionClassifier(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match="not a usable ONNX model"):
        ExpressionClassifier(tmp_path / "text.onnx")
    model = onnx.load(str(find_model().path))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "bare.onnx"))
    with pytest.raises(ModelError, match="without a mien ModelSpec"):
        ExpressionClassifier(tmp_path / "bare.onnx")
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps({"name": "x", "magic": 1, "labels": []})
    onnx.save(model, str(tmp_path / "odd.onnx"))
    with pytest.raises(ModelError, match=r"unknown keys \['magic'\]"):
        ExpressionClassifier(tmp_path / "odd.onnx")


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"input_px": 60}, r"expected 'pixels' to be float\[n,1,60,60\], found float\[n,1,44,44\]"),
        ({"labels": ["a", "b", "c"], "class_shares": []}, r"'logits' to be float\[n,3\]"),
        ({"labels": ["a"] * 7}, "different names"),
        ({"labels": []}, "different names"),
        ({"labels": list(range(7))}, "labels: expected names"),
        ({"class_shares": [0.5, 0.5]}, "one for each of 7"),
        ({"class_shares": [math.nan] * 7}, "class_shares: expected 0 to 1, got nan"),
        ({"input_px": -1}, "input_px: expected 1 to 1024, got -1"),
        ({"input_px": 60_000}, "input_px: expected 1 to 1024"),
        ({"input_px": 44.0}, "input_px|integer"),
        ({"input_px": "44"}, "integer"),
        ({"temperature": 0}, "temperature: expected 0.001 to 1000, got 0"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"temperature": "warm"}, "cannot be read"),
        ({"ferplus_temperature": -1}, "ferplus_temperature"),
        ({"std": 0}, "std"),
        ({"mean": math.inf}, "mean"),
        ({"crop_scale": 1e9}, "crop_scale"),
        ({"uncertain_below": 2}, "uncertain_below"),
        ({"background": "beach"}, "background to be one of keep, oval, found 'beach'"),
    ],
)
def test_a_network_that_is_not_what_it_says(
    tmp_path: Path, said: dict[str, Any], says: str
) -> None:
    """A file from anywhere may say anything; each of these would end in an exception, in answers
    that are no numbers, or in all of the memory."""
    model = onnx.load(str(find_model("mien-s").path))
    (entry,) = (each for each in model.metadata_props if each.key == METADATA_KEY)
    entry.value = json.dumps(json.loads(entry.value) | said)
    onnx.save(model, str(tmp_path / "odd.onnx"))
    with pytest.raises(ModelError, match=rf"odd\.onnx: .*{says}") as caught:
        ExpressionClassifier(tmp_path / "odd.onnx")
    assert "\n" not in str(caught.value)


def test_outputs_are_what_they_are_said_to_be(tmp_path: Path) -> None:
    def opened(without: str = "", forget: bool = False) -> ExpressionClassifier:
        model = onnx.load(str(find_model("mien-s").path))
        outputs = model.graph.output
        for output in [each for each in outputs if each.name == without]:
            outputs.remove(output)
        if forget:
            for dim in model.graph.input[0].type.tensor_type.shape.dim:
                dim.dim_param = "any"
        onnx.save(model, str(tmp_path / "odd.onnx"))
        return ExpressionClassifier(tmp_path / "odd.onnx")

    for name in ("logits", "embedding", "ferplus"):
        with pytest.raises(ModelError, match=f"{name!r} to be float.*, found nothing"):
            opened(without=name)
    with pytest.raises(ModelError, match=r"found float\[n,n,n,n\]"):
        opened(forget=True)
    assert opened().predict(np.zeros((1, 44, 44), np.uint8)).probs.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "answer", [np.full((1, 7), np.nan), np.zeros((1, 6)), np.zeros((2, 7)), np.zeros((0, 7))]
)
def test_answers_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    classifier = ExpressionClassifier()
    monkeypatch.setattr(
        classifier, "_answer", lambda _crops: _Answer(answer, np.zeros((1, 1), np.float32), None)
    )
    with pytest.raises(ModelError, match="does not answer with 7 finite numbers"):
        classifier.predict(np.zeros((1, 44, 44), np.uint8))


def test_a_folder_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.onnx").write_bytes(find_model().path.read_bytes())
    (tmp_path / ".mine.part.onnx").write_bytes(b"")  # of an export that was killed
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path))
    assert [entry.name for entry in list_models()][-1] == "mine"
    assert len(list_models()) == len(registry._shipped()) + 1
    assert find_model("mine").sha256 is None
    assert ExpressionClassifier("mine").spec.name == find_model().name


def test_a_published_model_may_lie_in_a_folder_of_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = find_model("mien-v")
    elsewhere = replace(published, path=tmp_path / "not in the wheel.onnx", default=False)
    monkeypatch.setattr(registry, "_shipped", lambda: (elsewhere,))
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path))
    file = tmp_path / "mien-v.onnx"
    assert not find_model("mien-v").available
    shutil.copy(published.path, file)
    found = find_model("mien-v")
    assert (found.path, found.sha256) == (file, published.sha256)
    assert list_models() == [found]
    file.write_bytes(find_model("mien-v").path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="altered or incomplete"):
        ExpressionClassifier("mien-v")


def test_a_fusion_takes_what_its_members_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fusion, *members = (find_model(name) for name in ("mien-m", "mien-taught", "mien-fer"))
    sizes = [entry.path.stat().st_size for entry in (fusion, *members)]
    described = fusion.to_dict()
    assert described["members"] == ["mien-taught", "mien-fer"]
    assert (described["size"], described["size_with_members"]) == (sizes[0], sum(sizes))
    alone = members[0].to_dict()
    assert (alone["members"], alone["size_with_members"]) == ([], sizes[1])

    shutil.copy(fusion.path, tmp_path / "mine.onnx")
    (tmp_path / "no-network.onnx").write_bytes(b"\xff" * 20)
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path))
    assert find_model("mine").size_with_members == sum(sizes)  # by their names, wherever they lie
    assert find_model("no-network").size_with_members == 20
    shutil.copy(members[0].path, tmp_path)
    monkeypatch.setattr(registry, "_shipped", tuple)
    assert find_model("mine").size_with_members is None
    assert main(["models", "list"]) == 0
    assert re.search(r"mine +in part +fusion", capsys.readouterr().out)
    for member in members[1:]:
        shutil.copy(member.path, tmp_path)
    assert find_model("mine").size_with_members == sum(sizes)


def test_a_file_is_read_once_for_all_that_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def reading(path: Path) -> dict[str, str]:
        read.append(path)
        return {}

    monkeypatch.setattr(registry, "read_metadata", reading)
    entry = replace(find_model())  # nobody has asked it yet
    for _ in range(2):
        assert (entry.members, entry.is_temporal, entry.terms) == ((), False, "")
    assert read == [entry.path]


def test_a_description_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "any.onnx").write_bytes(b"\xff" * 20)
    with pytest.raises(ModelError, match=r"any\.onnx: not a readable ONNX model"):
        find_model(tmp_path / "any.onnx").spec()
    with pytest.raises(ModelError, match=r"gone\.onnx: model 'gone' cannot be read \(No such"):
        find_model(tmp_path / "gone.onnx").spec()
    monkeypatch.setattr(registry, "read_metadata", lambda path: {METADATA_KEY: "[" * 100_000})
    deep = ModelEntry("deep", tmp_path / "deep.onnx", None)
    with pytest.raises(ModelError, match=r"deep\.onnx: its ModelSpec cannot be read \("):
        deep.spec()
    assert (deep.terms, deep.members) == ("", ())


@pytest.mark.parametrize("name", ["a/b", "..", "", "a" * 300])
def test_a_fusion_that_names_no_model_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    said = find_model("mien-m").spec().to_json().replace('"mien-taught"', json.dumps(name))
    monkeypatch.setattr(registry, "read_metadata", lambda path: {METADATA_KEY: said})
    entry = ModelEntry("odd", tmp_path / "odd.onnx", None)
    with pytest.raises(ModelError, match=r"expected names of models|which is neither known"):
        [registry.find_member(member, entry.path) for member in entry.spec().members]
    assert entry.size_with_members is None  # and a listing goes on


@given(st.binary())
def test_any_file_is_listed(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.onnx"
    file.write_bytes(data)
    described = ModelEntry("any", file, None).to_dict()
    assert (described["members"], described["terms"]) == ([], "")


def test_no_default_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_shipped", tuple)
    with pytest.raises(ModelError, match="no default model"):
        find_model()


def test_temperature_does_not_change_the_answer() -> None:
    crops = np.random.default_rng(1).integers(0, 256, (9, 48, 48), np.uint8)
    classifier = ExpressionClassifier()
    cold = classifier.predict(crops)
    classifier.spec = replace(classifier.spec, temperature=5.0)
    warm = classifier.predict(crops)
    assert cold.expressions == warm.expressions
    assert (warm.probs.max(1) < cold.probs.max(1)).all()


def test_a_crop_without_pixels_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="with pixels"):
        ExpressionClassifier().predict([np.zeros((0, 48), np.uint8)])
