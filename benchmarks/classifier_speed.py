"""Milliseconds a face of expression models, on one thread, beside what the machine could do.

    python benchmarks/classifier_speed.py mien-s mien-s-int8

Each model answers one face, and 32 at once, by turns; preparation of the pixels included. The
machine's rate is that of NumPy's product of two float32 matrices of 2,048 rows, on one thread; the
share of it counts multiply-accumulates of one forward pass.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from mien.classifier import ExpressionClassifier

_ROWS = 2048


def seconds(work: Callable[[], object]) -> float:
    """How long it takes once."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure by turns and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="+", help="names or files")
    parser.add_argument("--repeat", type=int, default=50)
    options = parser.parse_args()
    models = [ExpressionClassifier(name, threads=1) for name in options.model]
    random = np.random.default_rng(0)
    matrix = random.standard_normal((_ROWS, _ROWS), np.float32)
    products = [seconds(lambda: matrix @ matrix) for _ in range(9)]
    machine = _ROWS**3 / statistics.median(products) / 1e9  # GMAC/s
    took: dict[tuple[int, int], list[float]] = {}
    for _ in range(options.repeat):
        for index, model in enumerate(models):
            size = model.spec.input_px
            for count in (1, 32):
                crops = random.integers(0, 256, (count, size, size), np.uint8)
                spent = seconds(lambda crops=crops, model=model: model.predict(crops))  # type: ignore[misc]
                took.setdefault((index, count), []).append(spent / count)
    print(f"matrix product: {machine:.0f} GMAC/s; medians of {options.repeat}, one thread\n")
    print("| model | ms a face, one | ms a face, of 32 | GMAC/s, of 32 | of the matrix product |")
    print("|---|---|---|---|---|")
    for index, model in enumerate(models):
        one, many = (statistics.median(took[index, count]) for count in (1, 32))
        rate = model.spec.macs / many / 1e9
        print(
            f"| {model.spec.name} | {1000 * one:.2f} | {1000 * many:.2f} | {rate:.0f} "
            f"| {rate / machine:.0%} |"
        )


if __name__ == "__main__":
    main()
