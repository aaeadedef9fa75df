"""Models with numbers of 8 bits answer as their originals do, and say where they come from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest

import mien
from mien.classifier import ExpressionClassifier
from mien.cli import main
from mien.errors import ConfigError
from mien.following import open_temporal
from mien.models import find_model
from mien.pipeline import Analyzer
from mien.training.calibration import calibrate
from mien.training.fuse import fuse
from mien.training.quantize import quantize
from mien.types import Frame, UInt8Array
from tests.lessons import drawn, taught, tiny, write_splits


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has learned to tell drawn faces apart."""
    file = tmp_path_factory.mktemp("original") / "tiny.onnx"  # its name, by which a fusion finds it
    recipe = tiny(epochs=8, batch=8, ema=0.9, learning_rate=0.05)
    return taught(file, recipe, drawn(112, 0), drawn(56, 1))


def test_nothing_hinders_the_runtime_from_joining_steps(original: Path) -> None:
    """Offsets of zero, computed from the weights' shape, would: see `drop_idle_biases`."""
    nodes = onnx.load_model(original).graph.node
    assert all(len(node.input) == 2 for node in nodes if node.op_type == "Conv")
    assert not {"Expand", "Shape", "CastLike"} & {node.op_type for node in nodes}


def test_a_model_file_does_not_say_where_it_was_made(original: Path) -> None:
    """The exporter would note for every step by which lines of which files it came about."""
    assert str(Path(mien.__file__).parent).encode() not in original.read_bytes()


def test_answers_are_those_of_the_original(original: Path, tmp_path: Path) -> None:
    public = drawn(112, 2)
    file = tmp_path / "small.onnx"
    spec = quantize(original, drawn(112, 0), public, file)
    small, whole = ExpressionClassifier(file), ExpressionClassifier(original)
    assert small.spec == spec
    assert spec.name == f"{whole.spec.name}-int8"
    assert spec.quantized_from == hashlib.sha256(original.read_bytes()).hexdigest()
    mine, theirs = small.predict(public.images), whole.predict(public.images)
    same = (mine.probs.argmax(1) == theirs.probs.argmax(1)).mean()
    assert same == spec.metrics["same_answers"] >= 0.9
    assert np.abs(mine.logits - theirs.logits).max() > 0  # they were rounded
    assert np.corrcoef(mine.logits.ravel(), theirs.logits.ravel())[0, 1] > 0.99
    assert spec.temperature == calibrate(public.labels, mine.logits).temperature
    operators = {node.op_type for node in onnx.load_model(file).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    assert "BatchNormalization" not in operators  # rounded together with its convolution


def test_what_cannot_be_quantized_is_refused(original: Path, tmp_path: Path) -> None:
    data = drawn(56, 1)
    small = tmp_path / "small.onnx"
    quantize(original, data, data, small)
    with pytest.raises(ConfigError, match="quantized already"):
        quantize(small, data, data, tmp_path / "smaller.onnx")
    fusion = original.with_name("fusion.onnx")
    fuse([original, original], "logprob", data, data, fusion, name="fusion")
    with pytest.raises(ConfigError, match="a fusion"):
        quantize(fusion, data, data, tmp_path / "smaller.onnx")


def test_the_verb(original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = tmp_path / "data", tmp_path / "small.onnx"
    write_splits(data, 56)
    arguments = ["quantize", str(original), "--data", str(data), "--out", str(file)]
    assert main([*arguments, "--name", "mini"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "PublicTest" in said.err
    assert "same answer" in said.err
    assert ExpressionClassifier(file).spec.name == "mini"


def test_the_published_one_reads_videos_as_its_original_does(portrait: UInt8Array) -> None:
    whole, small = ExpressionClassifier("mien-s"), ExpressionClassifier("mien-s-int8")
    assert small.spec.quantized_from == whole.entry.digest
    followed = open_temporal(None, small)
    assert followed is not None
    assert followed.path == find_model("mien-s-temporal").path
    (face,) = Analyzer("mien-s-int8").analyze_frame(Frame(portrait, "portrait")).faces
    assert face.expression == "happy"
    (other,) = mien.analyze(portrait).faces
    assert dict(face.probs) == pytest.approx(dict(other.probs), abs=0.05)
