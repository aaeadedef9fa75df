"""Models joined and compared: what a fusion says follows from what its members say."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from mien.classifier import ExpressionClassifier
from mien.cli import main
from mien.comparison import _FER2013, ComparedModel, Comparison, _names, compare, format_comparison
from mien.datasets import FaceCrops
from mien.errors import ConfigError, DatasetError, ModelError
from mien.metrics import log_softmax
from mien.models import file_sha256
from mien.training.average import average
from mien.training.calibration import GIVEN, Calibration, calibrate
from mien.training.export import save_model
from mien.training.fuse import fuse
from mien.training.quantize import quantize
from mien.training.recalibrate import recalibrate
from mien.types import EXPRESSIONS
from tests.lessons import drawn, saved, taught, tiny, write_splits

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """Two networks that learned different halves of the classes better than the other."""
    folder = tmp_path_factory.mktemp("members")
    files = []
    for number in (0, 1):
        data = drawn(56, number)
        half = data.select((data.labels % 2 == number) | (np.arange(56) < 14))
        recipe = tiny(epochs=8, batch=8, ema=0.9, seed=number, learning_rate=0.05)
        file = folder / f"member{number}.onnx"
        files.append(taught(file, replace(recipe, name=file.stem), half, drawn(28, 9)))
    return files


def correct(model: Path, data: FaceCrops) -> float:
    predictions = ExpressionClassifier(model).predict(data.images)
    return float((predictions.probs.argmax(1) == data.labels).mean())


@pytest.mark.parametrize("method", ["linear", "logprob", "stack"])
def test_a_fusion_is_no_worse_than_its_members(
    members: Sequence[Path], tmp_path: Path, method: str
) -> None:
    train, public = drawn(112, 3), drawn(56, 4)
    for member in members:
        shutil.copy(member, tmp_path)
    file = tmp_path / "fusion.onnx"
    spec = fuse(members, method, train, public, file, name="fusion")
    assert [member.name for member in spec.members] == ["member0", "member1"]
    assert file.stat().st_size < 50_000  # it refers to its members
    fused = ExpressionClassifier(file)
    assert fused.spec == spec
    assert correct(file, public) >= max(correct(member, public) for member in members) - 0.05
    predictions = fused.predict(public.images)
    assert predictions.probs.sum(1) == pytest.approx(1)
    assert predictions.embeddings.shape == (56, 32)
    alone = fused.predict(public.images[7:8])
    assert alone.logits[0] == pytest.approx(predictions.logits[7], abs=1e-4)


def test_logprob_is_the_weighted_mean(members: Sequence[Path], tmp_path: Path) -> None:
    public = drawn(56, 4)
    file = tmp_path / "fusion.onnx"
    for member in members:
        shutil.copy(member, tmp_path)
    fuse(members, "logprob", drawn(14), public, file, name="fusion")
    logits = [ExpressionClassifier(member).predict(public.images).logits for member in members]
    said = [log_softmax(answer) for answer in logits]
    fused = ExpressionClassifier(file).predict(public.images).logits
    # Two unknown weights from all rows: an exact solution exists, positive and summing to one.
    system = np.stack([part.ravel() for part in said], 1)
    weights, residual, _, _ = np.linalg.lstsq(system, fused.ravel(), rcond=None)
    assert residual[0] < 1e-3
    assert weights.sum() == pytest.approx(1, abs=1e-3)
    assert (weights > -1e-4).all()


def test_members_give_accuracy_for_rare_classes_once(
    members: Sequence[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that learned from their answers leans towards common classes anew."""
    for member in members:
        shutil.copy(member, tmp_path)
    asked = {}
    for method in ("logprob", "linear"):

        def found(*rows: Any, given: float, method: str = method) -> Calibration:
            asked[method] = given
            return calibrate(*rows, given=given)

        monkeypatch.setattr("mien.training.fuse.calibrate", found)
        fuse(members, method, drawn(56, 1), drawn(56, 2), tmp_path / f"{method}.onnx", name=method)
    assert asked == {"logprob": 0.0, "linear": GIVEN}


def test_a_fusion_wants_exactly_its_members(members: Sequence[Path], tmp_path: Path) -> None:
    file = tmp_path / "fusion.onnx"
    with pytest.raises(ModelError, match=r"needs its member 'member0' with SHA-256"):
        fuse(members, "logprob", drawn(14), drawn(28, 4), file, name="fusion")
    assert not file.exists()
    for member in members:
        shutil.copy(member, tmp_path)
    fuse(members, "logprob", drawn(14), drawn(28, 4), file, name="fusion")
    (tmp_path / "member0.onnx").unlink()
    with pytest.raises(ModelError, match=r"needs its member 'member0' with SHA-256"):
        ExpressionClassifier(file)
    shutil.copy(members[1], tmp_path / "member0.onnx")  # the wrong one under the right name
    shutil.copy(members[1], tmp_path / "member1.onnx")
    with pytest.raises(ModelError, match="member0"):
        ExpressionClassifier(file)
    shutil.copy(members[0], tmp_path / "member0.onnx")
    assert ExpressionClassifier(file).spec.members[0].sha256 == file_sha256(members[0])


def test_a_fusion_is_calibrated_where_its_members_are(
    members: Sequence[Path], tmp_path: Path
) -> None:
    fusion, rows = tmp_path / "fusion.onnx", drawn(28, 4)
    for member in members:
        shutil.copy(member, tmp_path)
    fuse(members, "logprob", drawn(14), rows, fusion, name="fusion")
    again = recalibrate(fusion, rows, tmp_path / "again.onnx")
    assert ExpressionClassifier(tmp_path / "again.onnx").spec == again
    with pytest.raises(ConfigError, match="is member0, of which the new model is made"):
        recalibrate(fusion, rows, tmp_path / "member0.onnx")
    with pytest.raises(ModelError, match=r"needs its member 'member0' with SHA-256"):
        recalibrate(fusion, rows, tmp_path / "elsewhere" / "again.onnx")
    assert not (tmp_path / "elsewhere").exists()


def test_no_model_is_written_over_one_that_it_is_made_of(
    members: Sequence[Path], tmp_path: Path
) -> None:
    first, second = (Path(shutil.copy(member, tmp_path)) for member in members)
    before = second.read_bytes()
    rows = drawn(14), drawn(14, 1)
    with pytest.raises(ConfigError, match=r"member1\.onnx: is member1, of which .* would be lost"):
        fuse([first, second], "logprob", *rows, second, name="fusion")
    with pytest.raises(ConfigError, match="is member1, of which"):
        average([first, second], *rows, tmp_path / "." / "member1.onnx", name="mean")
    with pytest.raises(ConfigError, match="is member1, of which"):
        quantize(second, *rows, second)
    assert second.read_bytes() == before


def test_members_are_known_by_their_files(members: Sequence[Path], tmp_path: Path) -> None:
    """Two seeds of one recipe call themselves alike."""
    for seed, member in enumerate(members):
        spec = replace(ExpressionClassifier(member).spec, name="fine-tune")
        save_model(onnx.load(str(member)), spec, tmp_path / f"seed{seed}.onnx")
    files, rows = [tmp_path / "seed0.onnx", tmp_path / "seed1.onnx"], drawn(14)
    spec = fuse(files, "logprob", rows, rows, tmp_path / "both.onnx", name="both")
    assert [member.name for member in spec.members] == ["seed0", "seed1"]
    assert len(ExpressionClassifier(tmp_path / "both.onnx").predict(rows.images).probs) == 14
    (tmp_path / "b").mkdir()
    twin = shutil.copy(files[1], tmp_path / "b" / "seed0.onnx")
    with pytest.raises(ConfigError, match="another member is called seed0 too"):
        fuse([files[0], twin], "logprob", rows, rows, tmp_path / "x.onnx", name="x")


def test_members_must_fit_together(members: Sequence[Path], tmp_path: Path) -> None:
    data = drawn(14)
    with pytest.raises(ConfigError, match="at least two"):
        fuse(members[:1], "logprob", data, data, tmp_path / "x.onnx", name="x")
    with pytest.raises(ConfigError, match="method"):
        fuse(members, "vote", data, data, tmp_path / "x.onnx", name="x")
    other = FaceCrops(data.images, data.labels, None, data.names, classes=tuple("abcdefg"))
    stranger = taught(tmp_path / "other.onnx", tiny(epochs=1), other, other)
    with pytest.raises(ConfigError, match="other classes"):
        fuse([members[0], stranger], "linear", data, data, tmp_path / "x", name="x")


def test_the_command_line(members: Sequence[Path], tmp_path: Path, capsys: Capture) -> None:
    write_splits(tmp_path / "data", 21)
    for member in members:
        shutil.copy(member, tmp_path)
    out = tmp_path / "both.onnx"
    models = [str(member) for member in members]
    data = str(tmp_path / "data")
    assert main(["fuse", *models, "--method", "linear", "--data", data, "--out", str(out)]) == 0
    assert "linear of 2, PublicTest" in capsys.readouterr().err
    assert main(["compare", *models, str(out), "--data", data, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in figures["models"]] == ["member0", "member1", "fusion"]
    assert set(figures["models"][0]["accuracy"]) == {"Training", "PublicTest"}
    assert len(figures["differences"]) == 3
    assert main(["evaluate", "--model", str(out), "--data", data, "--split", "val"]) == 0
    assert "fusion v1" in capsys.readouterr().out


def test_the_table_shows_others_beside_ours(members: Sequence[Path], tmp_path: Path) -> None:
    saved(drawn(14), tmp_path / "val")
    comparison = compare([*members], tmp_path)
    assert Comparison.from_dict(json.loads(json.dumps(comparison.to_dict()))) == comparison
    own = format_comparison(comparison)  # of other data than theirs
    assert not any(word in own for word in ("fer 25.10.3", "Goodfellow", "PrivateTest"))
    assert comparison.to_dict()["references"] == []
    text = format_comparison(replace(comparison, on_fer2013=True))
    for expected in ("**member0**", "fer 25.10.3", "54.6", "(PrivateTest 58.9)", "McNemar"):
        assert expected in text


def test_pairs_of_models_stand_in_half_a_square() -> None:
    models = [ComparedModel(name, {"val": 0.5}, {"val": (0.4, 0.6)}, 1, 1, 1.0) for name in "abc"]
    differences = [("a", "b", 0.2), ("a", "c", 0.012345), ("b", "c", 1e-9)]
    text = format_comparison(Comparison("own", "single", "val", models, differences, False))
    head, _, *rows = text.splitlines()[-4:]
    assert head == "| | b | c |"
    assert rows == ["| a | 0.2 | **0.012** |", "| b |  | **1e-09** |"]
    alone = format_comparison(Comparison("own", "single", "val", models[:1], [], False))
    assert "McNemar" not in alone


def test_a_broken_picture_does_not_cost_its_split_in_silence(tmp_path: Path) -> None:
    write_splits(tmp_path, 7)
    (tmp_path / "val" / "happy" / "broken.png").write_text("no picture")
    with pytest.raises(DatasetError, match=r"broken\.png: not a picture.* `mien data check`"):
        compare(["mien-s"], tmp_path)


@pytest.mark.parametrize("layout", ["folders", "csv"])
def test_fer2013_is_known_by_its_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    """However it is packed; and another set is another, however it is."""
    lines = ["emotion,pixels,Usage"]
    for i, (image, label) in enumerate(zip(drawn(3).images, (0, 3, 3), strict=True)):
        lines.append(f"{label},{' '.join(map(str, image.ravel()))},PublicTest")
        file = tmp_path / "test" / EXPRESSIONS[label] / f"PublicTest_{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    if layout == "csv":
        (tmp_path / "fer2013.csv").write_text("\n".join(lines))
    assert not compare(["mien-s"], tmp_path).on_fer2013
    monkeypatch.setitem(_FER2013, "PublicTest", (1, 0, 0, 2, 0, 0, 0))
    assert compare(["mien-s"], tmp_path).on_fer2013


def test_models_of_ones_own_classes_are_fused_on_ones_own_rows(
    of_ones_own: Path, tmp_path: Path, capsys: Capture
) -> None:
    data, out = tmp_path / "own", tmp_path / "fused.onnx"
    rows = replace(drawn(14), classes=ExpressionClassifier(of_ones_own).spec.labels)
    for number, split in enumerate(("train", "val")):  # no picture twice
        saved(replace(rows, images=rows.images + np.uint8(number)), data / split)
    command = ["fuse", str(of_ones_own), str(of_ones_own), "--method", "logprob"]
    assert main([*command, "--data", str(data), "--out", str(out)]) == 0
    assert ExpressionClassifier(out).spec.labels[3] == "glad"
    write_splits(tmp_path / "seven", 7)
    for verb in (command, ["quantize", str(of_ones_own)]):
        assert main([*verb, "--data", str(tmp_path / "seven"), "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert "no picture of the split 'Training'" in said
        assert "of the classes no angry" in said


def test_rows_of_other_classes_fit_no_fusion(members: Sequence[Path], tmp_path: Path) -> None:
    rows = drawn(14)
    turned = replace(rows, classes=rows.classes[::-1])
    for train, public in ((turned, rows), (rows, turned)):
        with pytest.raises(ConfigError, match="member0: expected data with its classes angry"):
            fuse(members, "logprob", train, public, tmp_path / "x.onnx", name="x")


def test_models_of_one_name_are_told_apart(members: Sequence[Path], tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    write_splits(tmp_path / "data", 14)
    same = [shutil.copy(members[0], tmp_path / name) for name in ("a.onnx", "b/a.onnx", "c.onnx")]
    found = compare([*same, members[1]], tmp_path / "data")
    names = [f"member0 ({same[0]})", f"member0 ({same[1]})", "member0 (c.onnx)", "member1"]
    assert [model.name for model in found.models] == names
    assert len(found.differences) == 6
    assert found.differences[0] == (names[0], names[1], 1.0)


def test_a_comparison_says_that_people_are_shown_again(
    members: Sequence[Path], tmp_path: Path
) -> None:
    for name, people in (("few", 7), ("many", 14)):
        shown = replace(drawn(14), names=tuple(f"{i % people}_{i}" for i in range(14)))
        saved(shown, tmp_path / name)
        found = compare(members, tmp_path / name)
        assert found == Comparison.from_dict(json.loads(json.dumps(found.to_dict())))
        assert ("These rows show 7 people, some of" in format_comparison(found)) == (name == "few")


def test_a_file_beside_the_published_model_of_its_name() -> None:
    assert _names(["mien-s", "runs/new.onnx"], ["mien-s"] * 2) == ["mien-s", "mien-s (new.onnx)"]


def test_a_fusion_has_the_version_that_is_asked_for(
    members: Sequence[Path], tmp_path: Path
) -> None:
    write_splits(tmp_path / "data", 14)
    for member in members:
        shutil.copy(member, tmp_path)
    command = ["fuse", *map(str, members), "--method", "logprob", "--data", str(tmp_path / "data")]
    assert main([*command, "--out", str(tmp_path / "both.onnx"), "--version", "2"]) == 0
    assert ExpressionClassifier(tmp_path / "both.onnx").spec.version == "2"


def renamed(model: Path, copy: Path, *, data: str, licence: str) -> Path:
    """A copy of a model that is called as its file, and says other things of itself."""
    spec = ExpressionClassifier(model).spec
    spec = replace(spec, name=copy.stem, training_data=data, licence=licence)
    save_model(onnx.load(str(model)), spec, copy)
    return copy


def test_a_fusion_says_what_all_of_its_members_say(members: Sequence[Path], tmp_path: Path) -> None:
    for copy in ("a", "c"):
        renamed(members[0], tmp_path / f"{copy}.onnx", data="A", licence="free")
    renamed(members[1], tmp_path / "b.onnx", data="B", licence="free")

    def fused(*names: str) -> tuple[str, str]:
        files, rows = [tmp_path / f"{name}.onnx" for name in names], drawn(14)
        spec = fuse(files, "logprob", rows, rows, tmp_path / "fusion.onnx", name="fusion")
        return spec.training_data, spec.licence

    assert fused("a", "c") == ("A", "free")
    assert fused("a", "b") == ("a: A; b: B", "free")
    renamed(members[1], tmp_path / "b.onnx", data="B", licence="research")
    assert fused("a", "b", "c") == ("a: A; b: B; c: A", "a: free; b: research; c: free")
