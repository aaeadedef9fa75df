"""The networks: what each takes and returns, its size, and weights that it starts from."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mien.errors import ConfigError, ModelError
from mien.training.export import load_trained
from mien.training.fit import fit
from mien.training.recipe import recipe_from_dict
from mien.training.zoo import build_network, count_macs, count_parameters
from mien.training.zoo.attention import AttentionPooling
from mien.training.zoo.transfer import FaceFeatures, load_face_features
from tests.lessons import drawn, taught, tiny


@pytest.mark.parametrize(
    ("name", "attention"),
    [
        ("mien_vgg", None),
        ("mien_attention", 11),
        ("mien_pooling", 5),
        ("vgg19", None),
        ("resnet18", None),
        ("transfer", None),
    ],
)
def test_every_network_keeps_the_promises(name: str, attention: int | None) -> None:
    recipe = recipe_from_dict({"name": "x", "network": {"name": name}}).network
    network = build_network(recipe, classes=5).eval()
    assert network(torch.randn(1, 1, 24, 24)).expression.shape == (1, 5)
    out = network(torch.randn(2, 1, 44, 44))
    assert out.expression.shape == (2, 5)
    assert out.ferplus.shape == (2, 8)
    assert out.embedding.shape == (2, network.expression.in_features)
    if attention is not None:
        assert out.attention is not None
        assert out.attention.shape == (2, attention, attention)
        assert ((out.attention >= 0) & (out.attention <= 1)).all()
    else:
        assert out.attention is None
    loss = out.expression.square().sum() + out.ferplus.square().sum()
    torch.autograd.backward(loss)
    assert all(parameter.grad is not None for parameter in network.parameters())


def face_manifest(folder: Path, seed: int = 0) -> Path:
    """A made-up set of weights in the layout of face-api's files, every other one quantised."""

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
    start = taught(tmp_path / "first.onnx", recipe, data, data)
    first = load_trained(tmp_path / "first")[1].state_dict()
    heads = replace(recipe, network=replace(recipe.network, frozen=True))
    with pytest.raises(ConfigError, match=r"network\.frozen: .*--init"):
        fit(heads, data, data, tmp_path / "heads")
    heads = replace(heads, init=str(start))
    learned = fit(heads, data, data, tmp_path / "heads").state_dict()
    assert any("running_mean" in name for name in learned)
    for name, value in learned.items():
        same = torch.allclose(value.float(), first[name].float(), atol=1e-3)  # files hold 16 bits
        assert same == name.startswith("features"), name


def test_pooling_starts_as_the_mean_and_counts_what_it_looks_at() -> None:
    network = build_network(replace(tiny().network, name="mien_pooling")).eval()
    assert isinstance(network.features, torch.nn.Sequential)
    stages, pooling = network.features
    assert isinstance(pooling, AttentionPooling)
    pixels = torch.randn(2, 1, 48, 48)
    maps = stages(pixels)
    assert torch.allclose(network(pixels).embedding, maps.mean((2, 3)), atol=1e-6)
    torch.nn.init.normal_(pooling.weigh.weight)
    scores = pooling.weigh(torch.tanh(pooling.look(maps))).flatten(1)
    by_hand = (maps.flatten(2) * scores.softmax(1)[:, None]).sum(2)
    found = network(pixels)
    assert torch.allclose(found.embedding, by_hand, atol=1e-6)
    assert found.attention is not None
    assert found.attention.flatten(1).argmax(1).equal(scores.argmax(1))
    assert found.attention.amax((1, 2)).tolist() == [1, 1]


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
