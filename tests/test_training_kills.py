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

#: `mien train` that ends as a power cut would end it: nothing is tidied up, nothing flushed.
DOOMED = """
import io, itertools, os, signal, sys
from pathlib import Path
import torch
from mien.cli import main
from mien.training import fit

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

moment = sys.argv.pop(1)
if moment == "epoch":
    fit.make_batch = in_an_epoch
elif moment == "checkpoint":
    torch.save = in_a_checkpoint
else:
    fit.save_checkpoint = after_a_checkpoint
main(sys.argv[1:])
"""


@pytest.mark.parametrize("moment", ["epoch", "checkpoint", "after"])
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, moment: str) -> None:
    """Killed within the second epoch, while half of its checkpoint is written, or after that."""
    write_splits(tmp_path / "data", 42)
    (tmp_path / "r.toml").write_text(RECIPE)
    whole, broken = tmp_path / "whole", tmp_path / "broken"

    def train(out: Path) -> list[str]:
        arguments = ["train", str(tmp_path / "r.toml"), "--data", str(tmp_path / "data")]
        return [*arguments, "--out", str(out), "--threads", "1", "--precision", "32-true"]

    done = subprocess.run(
        [sys.executable, "-c", DOOMED, moment, *train(broken)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert torch.load(broken / "checkpoint.pt", weights_only=True)["epoch"] == 1 + (
        moment == "after"
    )
    assert (broken / ".checkpoint.part.pt").exists() == (moment == "checkpoint")
    assert main([*train(broken), "--resume"]) == 0
    assert main(train(whole)) == 0
    assert [row.epoch for row in read_log(broken / "log.csv")] == [1, 2, 3]
    assert not (broken / ".checkpoint.part.pt").exists()
    resumed, uninterrupted = (load_trained(out)[1].state_dict() for out in (broken, whole))
    for name, value in uninterrupted.items():
        assert torch.equal(value, resumed[name]), name
