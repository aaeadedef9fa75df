"""Learning curves for TensorBoard. Imports torch's writer and checkpoint."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard.writer import SummaryWriter

from mien.training.checkpoint import EpochReport


def write_tensorboard(done: EpochReport, folder: Path) -> None:
    """Append one epoch to the event files in `folder` (`tensorboard --logdir` shows them)."""
    with SummaryWriter(str(folder)) as writer:
        for name, value in (
            ("loss/training", done.loss),
            ("accuracy/watched", done.accuracy),
            ("learning rate", done.learning_rate),
            ("pictures per second", done.images_per_s),
        ):
            writer.add_scalar(name, value, done.epoch)
