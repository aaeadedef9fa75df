"""What the machine could do, and what mien's networks reach of it, on one thread.

    python benchmarks/limits.py --model mien-s --model mien-s-int8 --faces 1 32

Prints a Markdown table. Multiply-accumulates of the expression network are those of its
ModelSpec; the detector's are counted here in its ONNX graph, convolutions only. Needs onnx and
threadpoolctl (the extra `dev` brings both).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from statistics import median

import numpy as np
import onnx
from onnx import shape_inference
from tables import table
from threadpoolctl import threadpool_limits

from mien.classifier import ExpressionClassifier
from mien.inference import Network
from mien.models import find_model
from mien.weights import read_weights

SIDE = 2048  # rows and columns of the matrices
RUNS = 15
DETECTOR = "centerface.onnx"
#: (width, height, regions) of the detector's inputs: pictures at 640 and videos at 480 pixels, both
#: of 16:9, and the surroundings of one, five and twenty faces.
INPUTS = ((640, 384, 1), (480, 288, 1), (96, 96, 1), (96, 96, 5), (96, 96, 20))


@dataclass(frozen=True)
class Reached:
    """What one kind of work takes.

    Attributes:
        work: what.
        macs: multiply-accumulates.
        ms: median time.
    """

    work: str
    macs: int
    ms: float

    @property
    def gflops(self) -> float:
        """10^9 floating point operations a second, two for a multiply-accumulate."""
        return 2 * self.macs / self.ms / 1e6


def conv_macs(model: bytes, width: int, height: int) -> int:
    """Multiply-accumulates of a network's convolutions for an input `(1, 3, height, width)`."""
    proto = onnx.load_from_string(model)
    graph = proto.graph
    dims = graph.input[0].type.tensor_type.shape.dim
    for dim, value in zip(dims, (1, 3, height, width), strict=True):
        dim.dim_value = value
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output, *inferred.input)
    }
    weights = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":  # weights (out, in / groups, h, w), once for each output pixel
            place = node.output[0]
        elif node.op_type == "ConvTranspose":  # (in, out / groups, h, w), once for each input pixel
            place = node.input[0]
        else:
            continue
        shape = shapes[place]
        if len(shape) != 4 or not all(shape):
            raise ValueError(f"{node.name}: the shape of {place} is not known")
        total += prod(weights[node.input[1]]) * shape[2] * shape[3]
    return total


def timed(work: Callable[[], object]) -> float:
    """Median milliseconds, warm."""
    work()
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - began))
    return median(times)


def reached(models: Sequence[str], faces: Sequence[int]) -> list[Reached]:
    """The matrix product, the detector, and expression models with so many faces at once."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((SIDE, SIDE), np.float32) for _ in range(2))
    with threadpool_limits(1):
        found = [Reached(f"matrix product, {SIDE} x {SIDE}", SIDE**3, timed(lambda: a @ b))]
    weights = read_weights(DETECTOR)
    network = Network(weights, DETECTOR, threads=1)
    for width, height, regions in INPUTS:
        shape = (regions, 3, height, width)
        blob = rng.uniform(0, 255, shape).astype(np.float32)
        ms = timed(lambda blob=blob: network.run(blob))  # type: ignore[misc]
        name = f"detector, {width} x {height}" + (f", {regions} at once" if regions > 1 else "")
        found.append(Reached(name, regions * conv_macs(weights, width, height), ms))
    for model in models:
        classifier = ExpressionClassifier(model, threads=1)
        spec = classifier.spec
        for count in faces:
            crops = rng.integers(0, 256, (count, spec.input_px, spec.input_px), np.uint8)
            ms = timed(lambda crops=crops, c=classifier: c.predict(crops))  # type: ignore[misc]
            name = f"{spec.name}, {count} face{'s' if count > 1 else ''}"
            found.append(Reached(name, count * spec.macs, ms))
    return found


def limits_table(rows: Sequence[Reached]) -> str:
    """What the networks reach of the machine's matrix product, which is the first row."""
    peak = rows[0].gflops
    cells = [
        [one.work, f"{one.macs / 1e6:,.1f}", f"{one.ms:.2f}", f"{one.gflops:.1f}",
         f"{one.gflops / peak:.0%}"]
        for one in rows
    ]  # fmt: skip
    return table(["work", "million MAC", "ms", "GFLOP/s", "of the matrix product"], cells)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", action="append", help="name or file of a model; may be given again")
    add("--faces", type=int, nargs="+", default=[1, 5, 20], metavar="N", help="at once (1 5 20)")
    options = parser.parse_args()
    print(limits_table(reached(options.model or [find_model().name], options.faces)))


if __name__ == "__main__":
    main()
