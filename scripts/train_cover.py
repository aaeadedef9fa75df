"""Train the small network that sees whether something covers a face: src/mien/cover.onnx.

    python scripts/train_cover.py --data fer2013

It learns from FER2013's Training rows, half of them with drawn glasses, masks and hands before them
(src/mien/training/occluders.py). Clear glasses hide nothing and count as uncovered. Two minutes on
one core; the same seed gives the same network on the same machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from package_sums import record
from torch import Tensor, nn
from torch.nn import functional

from mien.datasets import load_crops
from mien.quality import COVER_PX
from mien.training.export import drop_idle_biases, traced
from mien.training.occluders import draw_occluders, occlude
from mien.weights import PACKAGE

FILE = PACKAGE / "cover.onnx"
_BATCH = 256
_GLASSES, _CLEAR = 1, 0.5  # of the dice: glasses whose fourth number is above this are clear ones


class Cover(nn.Module):
    """Grey crops `(N, 1, 32, 32)` of mean 0 and deviation 1 -> probability of a cover `(N,)`."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in ((1, 12, 2), (12, 24, 1), (24, 32, 2), (32, 48, 2)):
            layers += [
                nn.Conv2d(before, after, 3, stride, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers)
        self.answer = nn.Linear(2 * 48, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        found = self.features(pixels)
        pooled = torch.cat([found.mean((2, 3)), found.amax((2, 3))], 1)
        return self.answer(pooled)[:, 0]


def examples(crops: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Crops `(B, S, S)` in 0..255, framed, lit and half of them covered anew; and which are."""
    n = len(crops)

    def dice(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    shown = crops[:, None].float()
    turned = torch.deg2rad(dice(-12, 12))
    scale, mirror = dice(0.8, 1.1), torch.sign(dice(-1, 1))
    rows = [
        torch.stack(
            [scale * torch.cos(turned) * mirror, -scale * torch.sin(turned), dice(-0.1, 0.1)], 1
        ),
        torch.stack(
            [scale * torch.sin(turned) * mirror, scale * torch.cos(turned), dice(-0.1, 0.1)], 1
        ),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(shown.shape), align_corners=False)
    shown = functional.grid_sample(shown, grid, padding_mode="border", align_corners=False)
    covers = draw_occluders(n, 0.6, generator)
    covered = (covers[:, 0] > 0) & ~((covers[:, 0] == _GLASSES) & (covers[:, 6] >= _CLEAR))
    plain = occlude(shown, covers)
    # Some are out of focus or were small, covers and all.
    small = functional.interpolate(plain, size=(16, 16), mode="area")
    small = functional.interpolate(small, size=plain.shape[-2:], mode="bilinear")
    mix = (dice(-1, 0.8)).clamp(0, 1)[:, None, None, None]
    plain = plain * (1 - mix) + small * mix
    plain = 255 * (plain.clamp(0, 255) / 255) ** dice(0.6, 1.6)[:, None, None, None]
    plain = (plain * dice(0.7, 1.5)[:, None, None, None]).clamp(0, 255)
    plain = functional.interpolate(plain, size=(COVER_PX, COVER_PX), mode="area")
    return standardized(plain), covered.float()


def standardized(pixels: Tensor) -> Tensor:
    """As `mien.preprocess.network_input` does it, but for the contrast from which on crops count as
    flat: there it is 8. The published network has learned so.
    """
    spread = pixels.std((1, 2, 3), keepdim=True, unbiased=False).clamp(min=1.0)
    return (pixels - pixels.mean((1, 2, 3), keepdim=True)) / spread


def export(network: Cover, file: Path) -> None:
    """Write the network as ONNX."""
    import onnx

    class Probability(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: Tensor) -> Tensor:
            return torch.sigmoid(self.network(pixels))

    examples = {"pixels": torch.zeros(2, 1, COVER_PX, COVER_PX)}
    model = traced(Probability().eval(), examples, ["covered"])
    drop_idle_biases(model)
    onnx.save_model(model, file)


def main() -> None:
    """Train, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", required=True, help="FER2013")
    parser.add_argument("--out", type=Path, default=FILE, help="file to write")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    crops = torch.from_numpy(np.array(load_crops(options.data, "Training").images))
    network = Cover()
    steps = options.epochs * (len(crops) // _BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for epoch in range(options.epochs):
        order, total = torch.randperm(len(crops), generator=generator), 0.0
        for first in range(0, len(crops) - _BATCH + 1, _BATCH):
            pixels, covered = examples(crops[order[first : first + _BATCH]], generator)
            loss = functional.binary_cross_entropy_with_logits(network(pixels), covered)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(
            f"epoch {epoch + 1} of {options.epochs}: loss {total * _BATCH / len(crops):.4f}",
            flush=True,
        )
    export(network, options.out)
    record(options.out)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
