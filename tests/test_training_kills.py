"""Training runs of real processes, really killed, and what `--resume` makes of them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mien.cli import main
from mien.training.checkpoint import read_log
from mien.training.export import load_trained
from tests.lessons import write_splits

RECIPE = """
name = "killed"
[network]
widths = [8, 16]
depths = [1, 1]
dropout = 0.2
[data]
aligned_share = 0.0
input_px = 48
[augment]
mixup = 0.5
[fit]
epochs = 3
batch = 14
learning_rate = 0.02
resolutions = [[1.0, 48]]
"""

MOMENTS = ["epoch", "checkpoint", "after"]

#: `mien train`s that end as a power cut would end them: nothing is tidied up, nothing flushed. Each
#: is a process of its own, that of a fork after the imports, which take longer than the training.
DOOMED = """
import io, itertools, os, signal, sys
from pathlib import Path
import matplotlib.figure
import torch
from mien.training import fit, tensorboard
from tests.test_training_kills import train

make_batch, save, batches = fit.make_batch, torch.save, itertools.count(1)
save_checkpoint = fit.save_checkpoint

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def in_an_epoch(*arguments):
    if next(batches) == 5:  # of three an epoch: the second one's second
        die()
    return make_batch(*arguments)

def in_a_checkpoint(state, file):
    if "checkpoint" in file.name and file.with_name("checkpoint.pt").exists():
        whole = io.BytesIO()
        save(state, whole)
        file.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
        die()
    save(state, file)

def after_a_checkpoint(*arguments, **more):
    save_checkpoint(*arguments, **more)
    if arguments[3] == 2:
        die()

def doom(moment):
    if moment == "epoch":
        fit.make_batch = in_an_epoch
    elif moment == "checkpoint":
        torch.save = in_a_checkpoint
    else:
        fit.save_checkpoint = after_a_checkpoint

for moment in sys.argv[2:]:
    process = os.fork()
    if process == 0:
        doom(moment)
        os._exit(train(Path(sys.argv[1]), moment))
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""


def train(folder: Path, out: str, *options: str) -> int:
    """Train by the recipe and on the data in a folder, into another in it."""
    arguments = ["train", str(folder / "r.toml"), "--data", str(folder / "data")]
    arguments += ["--threads", "1", "--precision", "32-true", "--out", str(folder / out)]
    return main([*arguments, *options])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a killed run for each moment, and one that nothing interrupted: `whole`."""
    folder = tmp_path_factory.mktemp("runs")
    write_splits(folder / "data", 42)
    (folder / "r.toml").write_text(RECIPE)
    done = subprocess.run(
        [sys.executable, "-c", DOOMED, str(folder), *MOMENTS],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(MOMENTS), done.stderr
    assert train(folder, "whole") == 0
    return folder


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed_equals_uninterrupted(runs: Path, moment: str) -> None:
    """Killed within the second epoch, while half of its checkpoint is written, or after that."""
    broken = runs / moment
    assert torch.load(broken / "checkpoint.pt", weights_only=True)["epoch"] == 1 + (
        moment == "after"
    )
    assert (broken / ".checkpoint.part.pt").exists() == (moment == "checkpoint")
    assert train(runs, moment, "--resume") == 0
    assert [row.epoch for row in read_log(broken / "log.csv")] == [1, 2, 3]
    assert not (broken / ".checkpoint.part.pt").exists()
    resumed, uninterrupted = (load_trained(out)[1].state_dict() for out in (broken, runs / "whole"))
    for name, value in uninterrupted.items():
        assert torch.equal(value, resumed[name]), name
