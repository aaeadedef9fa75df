"""Heat maps: what an answer hangs on, at the right place, and nothing without a cause."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mien.alignment import crop_transforms
from mien.annotate import annotate
from mien.classifier import ExpressionClassifier, Predictions
from mien.cli import main
from mien.datasets import load_crops
from mien.errors import ModelError
from mien.geometry import transform_points
from mien.models import find_model
from mien.pipeline import Analyzer
from mien.training.export import export
from mien.training.zoo import build_network
from mien.types import EXPRESSIONS, FaceResult, Float32Array, Frame, HeatMap, UInt8Array, Views
from tests.lessons import drawn, tiny


class Corner(ExpressionClassifier):
    """Says `angry` the surer, the brighter the lower right quarter of a crop is."""

    def predict(self, crops: object, *, views: Views = "single") -> Predictions:
        bright = np.array([crop[-22:, -22:].mean() / 255 for crop in crops])  # type: ignore[attr-defined]
        probs = np.zeros((len(bright), 7))
        probs[:, 0], probs[:, 1] = bright, 1 - bright
        flat = np.zeros((len(bright), 7), np.float32)
        return Predictions(probs, flat, flat, np.zeros(len(bright), bool), EXPRESSIONS)


def test_evidence_lies_where_the_answer_comes_from() -> None:
    crop = np.zeros((44, 44), np.uint8)
    crop[-22:, -22:] = 255
    (heat,) = Corner().evidence(crop[None])
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert row > 26
    assert column > 26
    # Covered by 64 in the mean, the answer loses up to three quarters of its probability.
    assert 0.3 < heat.max() < 0.75
    assert np.abs(heat[:8, :8]).max() < 0.02


def test_evidence_can_be_asked_of_another_answer() -> None:
    crop = np.zeros((44, 44), np.uint8)
    crop[-22:, -22:] = 255
    own, same, other = (Corner().evidence(crop[None], answers=a) for a in (None, [0], [1]))
    assert (own == same).all()
    assert other == pytest.approx(-own, abs=1e-6)  # of two, one loses what the other gains


def test_evidence_is_of_the_answer_that_is_shown(
    portrait: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Balanced answers, or earlier frames, may have chosen another than the frame's own."""
    asked: list[Sequence[int] | None] = []
    original = ExpressionClassifier.evidence

    def noted(self: ExpressionClassifier, crops: UInt8Array, **options: Any) -> Float32Array:
        asked.append(options["answers"])
        return original(self, crops, **options)

    monkeypatch.setattr(ExpressionClassifier, "evidence", noted)
    analyzer = Analyzer(explain="evidence", smooth_s=1e6)
    following = analyzer.following()
    covered = portrait.copy()
    covered[124:190, 180:280] = 90
    for i, image in enumerate((portrait, covered)):
        (face,) = analyzer.analyze_frame(Frame(image, "v", i, i / 30), following=following).faces
        assert asked[-1] == [EXPRESSIONS.index(face.expression)]


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model with the numbers of each of its layers in a random order."""
    model = onnx.load(find_model("mien-s").path)
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim > 1:
            mixed = rng.permutation(values.ravel()).reshape(values.shape)
            tensor.CopyFrom(numpy_helper.from_array(mixed, tensor.name))
    file = tmp_path_factory.mktemp("models") / "shuffled.onnx"
    onnx.save(model, file)
    return file


def test_evidence_hangs_on_the_weights(portrait: UInt8Array, shuffled: Path) -> None:
    """Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018."""
    crop = portrait[62:178, 168:284]
    (true,), (again,), (random,) = (
        ExpressionClassifier(name).evidence([crop]) for name in ("mien-s", "mien-s", shuffled)
    )
    assert (true == again).all()
    assert np.corrcoef(true.ravel(), random.ravel())[0, 1] < 0.7
    assert np.abs(random).max() < np.abs(true).max() / 4


def test_evidence_hangs_on_the_weights_for_many_faces(data: Path, shuffled: Path) -> None:
    """The same on the surest of 60 faces from anywhere: the maps do not resemble each other."""
    rows = load_crops(data / "fer2013", "PublicTest").images[:60]
    classifier = ExpressionClassifier("mien-s")
    surest = rows[np.argsort(-classifier.predict(rows).probs.max(1))[:8]]
    true, random = (c.evidence(surest) for c in (classifier, ExpressionClassifier(shuffled)))
    alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(true, random, strict=True)]
    assert np.mean(alike) < 0.3
    assert (np.abs(random).max((1, 2)) < np.abs(true).max((1, 2)) / 4).all()


def test_evidence_of_a_smile_is_the_mouth(portrait: UInt8Array) -> None:
    result = Analyzer(explain="evidence").analyze_frame(Frame(portrait))
    (face,) = result.faces
    assert face.heat is not None
    strongest = np.unravel_index(face.heat.values.argmax(), face.heat.values.shape)
    x, y = transform_points(face.heat.to_frame, np.array(strongest[::-1], float))
    nose, mouth = face.landmarks[2], np.mean(face.landmarks[3:], axis=0)
    assert y > nose[1]
    assert abs(x - mouth[0]) < face.box[2] / 3
    assert "heat" not in face.to_dict()
    assert Analyzer().analyze_frame(Frame(portrait)) == result  # the answer is the same


@pytest.mark.parametrize("name", ["mien_attention", "mien_pooling"])
def test_attention_is_laid_over_the_crop(name: str, portrait: UInt8Array, tmp_path: Path) -> None:
    recipe = tiny()
    network = replace(recipe.network, name=name, widths=(4, 8, 8), depths=(1, 1, 1))
    recipe = replace(recipe, network=network)
    file = tmp_path / "attentive.onnx"
    spec = export(recipe, build_network(network, classes=7).eval(), drawn(14), file, data_sha256="")
    analyzer = Analyzer(file, explain="attention")
    (face,) = analyzer.analyze_frame(Frame(portrait)).faces
    assert face.heat is not None
    rows, columns = face.heat.values.shape
    assert rows == columns < spec.input_px
    faces = analyzer.find(Frame(portrait)).faces
    crop = crop_transforms(
        faces, scale=spec.crop_scale, upright=spec.crop_upright, size_px=spec.input_px
    )[0]
    corners = np.array([[-0.5, -0.5], [rows - 0.5, rows - 0.5]])
    whole = np.array([[-0.5, -0.5], [spec.input_px - 0.5] * 2])
    assert transform_points(face.heat.to_frame, corners) == pytest.approx(
        transform_points(crop, whole)
    )


def test_a_model_that_looks_everywhere_says_so(
    portrait_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match="has no attention"):
        Analyzer("mien-s", explain="attention")
    out = str(tmp_path / "copy.png")
    assert main(["analyze", str(portrait_file), "--attention", "--out", out]) == 2
    assert "--explain" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--explain", "--attention", "--anonymize"])
def test_what_no_copy_would_show_is_not_computed(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([], ["--json"], ["--out", str(tmp_path / "faces.csv")]):
        assert main(["analyze", "photo.jpg", option, *words]) == 2
        assert f"mien: {option}: is for annotated copies" in capsys.readouterr().err
    for out in ("copies/", "copy.png", "copy.mp4"):  # it is something else that is missing
        words = ["--out", str(tmp_path / "faces.csv"), "--out", f"{tmp_path}/{out}"]
        assert main(["analyze", "photo.jpg", option, *words]) == 2
        assert "is for annotated copies" not in capsys.readouterr().err


def face_with(heat: HeatMap | None) -> FaceResult:
    probs = dict.fromkeys(EXPRESSIONS, 1 / 7)
    return FaceResult(
        (10.0, 10.0, 40.0, 40.0), 0.9, ((0.0, 0.0),) * 5, "happy", 0.5, False, probs, heat=heat
    )


def test_warm_and_cold_places_are_drawn_where_they_are() -> None:
    image = np.full((80, 80, 3), 128, np.uint8)
    values = np.zeros((4, 4), np.float32)
    values[2, 1], values[2, 3] = 0.5, -0.5
    heat = HeatMap(values, np.array([[10.0, 0, 14.5], [0, 10.0, 14.5]]))
    plain, coloured = (annotate(image, [face_with(h)]).astype(int) for h in (None, heat))
    change = coloured - plain
    assert change[34, 24, 0] > 60  # red where it speaks for the answer
    assert change[34, 24, 2] < -60
    assert change[34, 44, 2] > 60  # blue where it speaks against
    assert not change[60:, 60:].any()
    faint = replace(heat, values=values * np.float32(0.001))
    assert np.abs(annotate(image, [face_with(faint)]).astype(int) - plain).max() <= 1


@pytest.mark.parametrize("corner", [(-30.0, -30.0), (70.0, 70.0), (200.0, 200.0)])
def test_heat_beyond_the_edge_is_cut_off(corner: tuple[float, float]) -> None:
    image = np.full((80, 80, 3), 128, np.uint8)
    heat = HeatMap(np.ones((4, 4), np.float32), np.array([[10, 2, corner[0]], [-2, 10, corner[1]]]))
    assert annotate(image, [face_with(heat)]).shape == image.shape
