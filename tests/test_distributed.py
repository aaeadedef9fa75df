"""Several processes that learn as one: how they are counted, what each does, what they learn."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric

from mien.errors import ConfigError
from mien.training.distributed import my_rows, processes, require_rows_for_all, sync_batch_norms
from mien.training.export import load_trained
from mien.training.fit import make_fabric
from mien.training.recipe import NetworkRecipe
from mien.training.zoo import build_network
from tests.lessons import tiny, write_splits


@given(n=st.integers(1, 300), processes=st.integers(1, 9))
def test_every_row_has_one_process(n: int, processes: int) -> None:
    parts = [range(n)[my_rows(n, rank, processes)] for rank in range(processes)]
    assert [row for part in parts for row in part] == list(range(n))
    assert all(part.start % 2 == 0 for part in parts if part)  # pairs stay together


@given(batch=st.integers(1, 40), processes=st.integers(1, 9))
def test_batches_too_small_for_all_processes_are_refused(batch: int, processes: int) -> None:
    shared = [my_rows(batch, rank, processes) for rank in range(processes)]
    if all(part.stop > part.start for part in shared):
        require_rows_for_all(batch, processes)
    else:
        with pytest.raises(ConfigError, match=r"fit\.batch: expected batches of at least"):
            require_rows_for_all(batch, processes)


def test_frozen_features_stay_frozen_where_statistics_are_synced() -> None:
    network = build_network(NetworkRecipe(widths=(4,), depths=(1,), frozen=True))
    learning = {name: weight.requires_grad for name, weight in network.named_parameters()}
    sync_batch_norms(network)
    assert {n: weight.requires_grad for n, weight in network.named_parameters()} == learning
    assert not any(weight.requires_grad for weight in network.features.parameters())


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


def test_two_processes_learn_what_one_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same recipe by the command line, alone and under torchrun: the same weights."""
    import os
    import subprocess
    import sys

    from mien.cli import main

    data, recipe = tmp_path / "data", tmp_path / "r.toml"
    write_splits(data, 42)
    recipe.write_text(
        "name = 'shared'\n[network]\nwidths = [8, 16]\ndepths = [1, 1]\ndropout = 0.0\n"
        "[data]\ninput_px = 48\naligned_share = 0.0\n[augment]\nmixup = 0.5\n"
        "[fit]\nepochs = 2\nbatch = 14\nlearning_rate = 0.02\nresolutions = [[1.0, 48]]\n"
    )
    arguments = ["train", str(recipe), "--data", str(data), "--precision", "32-true", "--out"]
    assert main([*arguments, str(tmp_path / "one")]) == 0
    said = [capsys.readouterr().err]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["-m", "mien.cli", *arguments, str(tmp_path / "two"), "--resume"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said.append(done.stderr)
    assert [text.count("epoch   2/2") for text in said] == [1, 1]  # only the first process speaks
    weights = []
    for out in (tmp_path / "one", tmp_path / "two"):
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
