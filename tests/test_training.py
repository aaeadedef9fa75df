"""The loop: it learns, it can be stopped at any time, and it says what is wrong."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from mien.errors import ConfigError, DatasetError, ModelError
from mien.training.checkpoint import EpochReport
from mien.training.export import load_trained, without_untaught
from mien.training.fit import _require_finite, fit, predict_logits
from mien.training.recipe import NetworkRecipe, Recipe
from mien.training.zoo import build_network, count_macs
from tests.lessons import KilledError, die, drawn, taught, tiny


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

    def die_late(done: EpochReport) -> None:
        if done.epoch == 2:
            raise KilledError

    whole = fit(recipe, data, data, tmp_path / "whole", threads=1)
    with pytest.raises(KilledError):
        fit(recipe, data, data, tmp_path / "broken", threads=1, report=die_late)
    resumed = fit(recipe, data, data, tmp_path / "broken", threads=1, resume=True)
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_one_command_begins_a_run_and_goes_on_with_it(tmp_path: Path) -> None:
    """As where a cluster starts a job again."""
    said: list[str] = []
    for _ in range(2):
        fit(tiny(epochs=1), drawn(20), drawn(7), tmp_path / "run", resume=True, note=said.append)
    assert f"{tmp_path / 'run'}: holds no run to go on with, and so one begins" in said[:-1]
    assert said[-1] == "resuming after epoch 1 of 1"


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


def test_a_checkpoint_knows_its_votes(tmp_path: Path) -> None:
    """Which the data hash leaves out: fer2013new.csv may come later."""
    voted, recipe = drawn(20), tiny(epochs=1)
    plain = replace(voted, votes=None)
    fit(recipe, plain, plain, tmp_path)
    with pytest.raises(DatasetError, match=r"was trained without FER\+ votes\. Give the set"):
        fit(recipe, voted, voted, tmp_path, resume=True)
    assert without_untaught(tmp_path, voted).votes is None
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del state["votes"]  # as of a run from before: it goes on, and what it had is not known
    torch.save(state, tmp_path / "checkpoint.pt")
    assert without_untaught(tmp_path, voted).votes is not None
    fit(recipe, voted, voted, tmp_path, resume=True)
    fit(recipe, voted, voted, tmp_path / "voted")
    assert without_untaught(tmp_path / "voted", voted).votes is not None
    with pytest.raises(DatasetError, match=r"with other FER\+ votes than these"):
        fit(recipe, plain, plain, tmp_path / "voted", resume=True)


def test_a_checkpoint_knows_its_models(tmp_path: Path) -> None:
    """A file of the same name may be another model by now."""
    start, data = tmp_path / "start.onnx", drawn(14)
    recipe = replace(tiny(epochs=1), init=str(start))
    taught(start, tiny(epochs=1), data, data)
    fit(recipe, data, data, tmp_path / "run")
    fit(recipe, data, data, tmp_path / "run", resume=True)
    taught(tmp_path / "other.onnx", tiny(epochs=1, seed=1), data, data).replace(start)
    with pytest.raises(ModelError, match=r"trained with another .*start\.onnx than is there now"):
        fit(recipe, data, data, tmp_path / "run", resume=True)
    start.unlink()
    with pytest.raises(ModelError, match=r"start\.onnx: .*cannot be read"):
        fit(recipe, data, data, tmp_path / "run", resume=True)


def test_what_is_refused_is_so_before_it_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finding the faces of a set, and asking teachers about them, may take hours."""

    def late(*_: object) -> None:
        raise AssertionError("rows were looked at")

    monkeypatch.setattr("mien.training.fit.training_rows", late)
    data, out = drawn(20), tmp_path / "out"
    elsewhere = SimpleNamespace(global_rank=1, world_size=2, broadcast=lambda _mine: True)
    with pytest.raises(ModelError, match="where the first process sees one"):
        fit(tiny(), data, data, out, fabric=cast(Fabric, elsewhere), resume=True)
    bare = replace(tiny(muon_rate=0.1), network=NetworkRecipe(name="transfer"))
    with pytest.raises(ConfigError, match=r"fit\.muon_rate: expected 0"):
        fit(bare, data, data, out)
    many = SimpleNamespace(global_rank=0, world_size=16, device=torch.device("cpu"))
    with pytest.raises(ConfigError, match="batches of at least 31 rows for 16 processes, found 10"):
        fit(tiny(), data, data, out, fabric=cast(Fabric, many))
    nobody = replace(data, votes=np.repeat(np.eye(10, dtype=np.uint8)[9:] * 10, 20, 0))
    with pytest.raises(DatasetError, match="no picture to train on"):
        fit(tiny(), nobody, data, out)
    with pytest.raises(DatasetError, match=r"fit\.expected_share.*there are none"):
        fit(tiny(expected_share=0.5), replace(data, votes=None), data, out)
    assert not out.exists()
    (tmp_path / "begun").mkdir()
    torch.save({"recipe": tiny().to_dict(), "data": ""}, tmp_path / "begun" / "checkpoint.pt")
    with pytest.raises(ConfigError, match="another recipe"):
        fit(tiny(batch=8), data, data, tmp_path / "begun", resume=True)


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


def test_rows_that_are_no_face_are_left_out(tmp_path: Path) -> None:
    data = drawn(20)
    assert data.votes is not None
    data.votes[:, 9] = 10
    with pytest.raises(DatasetError, match="not a face"):
        fit(tiny(), data, data, tmp_path)


def test_the_benchmark_measures_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien.training.benchmark import benchmark_training, format_speed

    monkeypatch.chdir(tmp_path)
    taught = tiny(teachers=["mien-s"])  # who is not asked about made-up pictures
    speed = benchmark_training(taught, steps=2, rounds=2, precision="32-true")
    assert not any(tmp_path.iterdir())
    assert speed.macs == count_macs(build_network(tiny().network), 48)
    assert min(speed.bare, speed.whole) > 0
    assert speed.gmacs == pytest.approx(speed.whole * speed.macs * 3 / 1e9)
    assert "all around it costs" in format_speed(speed)


def test_the_benchmark_measures_what_may_be_trained(tmp_path: Path) -> None:
    """What labels are expected from is not there, and heads alone are moved once forward."""
    from mien.training.benchmark import benchmark_training, format_speed

    both = tiny(teachers=["mien-s"], expected_share=0.5, expected_from="both")
    assert benchmark_training(both, steps=1, rounds=1, precision="32-true").passes == 3
    start, data = tmp_path / "start.onnx", drawn(14)
    taught(start, tiny(epochs=1), data, data)
    heads = replace(tiny(), init=str(start), network=replace(tiny().network, frozen=True))
    speed = benchmark_training(heads, steps=1, rounds=1, precision="32-true")
    assert speed.gmacs == pytest.approx(speed.whole * speed.macs / 1e9)
    assert "x MAC x 1: forward alone" in format_speed(speed)


def test_the_benchmark_measures_the_network_that_is_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien.cli import main

    measured = []

    def measure(recipe: Recipe, **_: object) -> None:
        measured.append(recipe.network)
        raise ConfigError("enough")

    monkeypatch.setattr("mien.training.benchmark.benchmark_training", measure)
    (tmp_path / "r.toml").write_text('name = "r"\ninit = "resnet18"\n')
    assert main(["benchmark", "train", str(tmp_path / "r.toml")]) == 2
    assert [network.name for network in measured] == ["resnet18"]


def test_a_run_is_not_replaced_by_another(tmp_path: Path) -> None:
    fit(tiny(epochs=1), drawn(20), drawn(7), tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match="holds a run, which would be lost"):
        fit(tiny(epochs=1), drawn(21), drawn(7), tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_finished_run_takes_over_what_is_said_of_its_data(tmp_path: Path) -> None:
    data, recipe = drawn(20), tiny(epochs=1)
    network = fit(recipe, data, data, tmp_path).state_dict()
    said = replace(recipe, training_data="drawn stripes", licence="anybody's")
    fit(said, data, data, tmp_path, resume=True)
    learned, again, _, epoch = load_trained(tmp_path)
    assert (learned.training_data, learned.licence, epoch) == ("drawn stripes", "anybody's", 1)
    assert all(torch.equal(network[name], value) for name, value in again.state_dict().items())


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


def test_a_run_begun_anew_forgets_the_best_of_another(tmp_path: Path) -> None:
    data = drawn(14)
    fit(tiny(epochs=1, select="best"), data, data, tmp_path)
    (tmp_path / "checkpoint.pt").unlink()
    small_first = tiny(epochs=2, select="best", resolutions=[[0.5, 32], [1.0, 48]], seed=1)
    with pytest.raises(KilledError):
        fit(small_first, data, data, tmp_path, report=die)
    assert not (tmp_path / "best.pt").exists()  # no epoch of the last size yet


def test_only_epochs_of_the_exported_size_can_be_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien.training import fit as loop

    seen = iter([0.9, 0.0, 0.5, 0.4])  # of 32 px, then 48, 48, 48
    monkeypatch.setattr(loop, "_accuracy", lambda *_: next(seen))
    recipe = tiny(epochs=4, select="best", resolutions=[[0.25, 32], [1.0, 48]])

    chosen: list[int] = []

    def choose(done: EpochReport) -> None:
        chosen.append(load_trained(tmp_path)[3])
        die(done)

    for epoch in range(4):
        with pytest.raises(KilledError):
            fit(recipe, drawn(20), drawn(7), tmp_path, resume=bool(epoch), report=choose)
    assert chosen == [1, 2, 3, 3]  # the last, while there is none of 48 px


def test_what_scales_gradients_goes_on_too(tmp_path: Path) -> None:
    from lightning_fabric.plugins import MixedPrecision

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
