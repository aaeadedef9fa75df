"""What several processes need to learn as one. Imports torch, Lightning Fabric and errors."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from torch import Tensor, nn

from mien.errors import ConfigError


def processes() -> tuple[int, int]:
    """How many processes learn together: on this machine, and on all.

    torchrun says so, inside SLURM too; else SLURM, to the tasks that srun starts. An interactive
    shell of SLURM's is no task, and learns alone.

    Raises:
        ConfigError: SLURM was to start several, and was not asked to by srun, or not equally many
            on every machine.
    """
    known = os.environ
    if "WORLD_SIZE" in known or not SLURMEnvironment.detect():
        return int(known.get("LOCAL_WORLD_SIZE", "1")), int(known.get("WORLD_SIZE", "1"))
    world, machines = int(known["SLURM_NTASKS"]), int(known.get("SLURM_NNODES", "1"))
    local = int(known.get("SLURM_NTASKS_PER_NODE", "1" if world == 1 else "0"))
    if local * machines != world:
        raise ConfigError(
            f"SLURM: expected equally many tasks on each of {machines} machines, found {world} in "
            f"all and {local or 'no --ntasks-per-node'} on each. Ask for them by --nodes and "
            "--ntasks-per-node, without --ntasks"
        )
    if world > 1 and "SLURM_STEP_ID" not in known:
        raise ConfigError(
            f"SLURM: this process would wait for {world - 1} others for ever, because none was "
            "started by srun. Put srun in front of the command"
        )
    return local, world


class _SumOverProcesses(torch.autograd.Function):
    """The sum of every process's values; each value's gradient is that of all the sums."""

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose statistics are those of all processes' rows together.

    PyTorch's own needs a GPU; this one also runs where processes share a CPU. Gradients flow
    through the sums. With one process it is plain batch normalisation.
    """

    def forward(self, values: Tensor) -> Tensor:
        """`(B, C, H, W)` of this process to the same shape, normalised over all processes."""
        if not self.training:
            return super().forward(values)
        wide = values.float()
        count = wide.new_tensor([wide.numel() / wide.shape[1]])
        sums = torch.cat([wide.sum((0, 2, 3)), wide.square().sum((0, 2, 3)), count])
        sums = _SumOverProcesses.apply(sums)
        channels = wide.shape[1]
        total = sums[-1]
        mean, square = sums[:channels] / total, sums[channels:-1] / total
        variance = (square - mean.square()).clamp(min=0)
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.momentum is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * total / (total - 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        normalized: Tensor = wide * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)
        return normalized.to(values.dtype)


def sync_batch_norms(network: nn.Module) -> None:
    """Replace every `BatchNorm2d` in place, keeping its weights, its statistics, and whether it
    learns.
    """
    for name, child in network.named_children():
        if type(child) is nn.BatchNorm2d:
            synced = SyncedBatchNorm2d(child.num_features, child.eps, child.momentum)
            synced.load_state_dict(child.state_dict())
            for mine, theirs in zip(synced.parameters(), child.parameters(), strict=True):
                mine.requires_grad_(theirs.requires_grad)
            setattr(network, name, synced)
        else:
            sync_batch_norms(child)


def part_ways() -> None:
    """Wait for all processes, then close their connections.

    A process that exits while their threads still run may abort.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def my_rows(n: int, rank: int, processes: int) -> slice:
    """Which of a batch's `n` rows are this process's: contiguous, cut at even numbers.

    Neighbours stay together, because mixing takes place between them.
    """
    pairs = (n + 1) // 2
    edges = [2 * (pairs * i // processes) for i in range(processes)] + [n]
    return slice(edges[rank], edges[rank + 1])


def require_rows_for_all(batch: int, processes: int) -> None:
    """Refuse batches of which a process would get nothing: rows are shared in pairs.

    Raises:
        ConfigError: `batch` rows are too few.
    """
    if batch < 2 * processes - 1:
        raise ConfigError(
            f"fit.batch: expected batches of at least {2 * processes - 1} rows for {processes} "
            f"processes, found {batch}. Choose a larger batch, or fewer processes"
        )
