"""Turns dlib's face-recognition network into ONNX, so that one runtime runs everything.

Used by the build only; imports numpy and onnx. Knows the layers of that network and no others. The
file's form is dlib's own (`dlib/serialize.h`, `dlib/dnn/core.h`, `dlib/dnn/layers.h`): every number
says its own length, a layer writes its name before its settings, and the layers follow each other
from the picture to the descriptor. Which of them jumps past which is not in the file; it follows
from the kind of network (residual blocks: He et al., CVPR 2016).
"""

from __future__ import annotations

from math import ldexp
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
_DIVISOR = 256.0  # of colours, in dlib's input layer
_LAYER, _MARK, _FIRST_LAYER = 2, 1, 3  # what wraps what: a layer, a mark in a residual block

Array = np.ndarray[Any, np.dtype[np.float32]]


def convert(data: bytes) -> bytes:
    """The same network as ONNX, with weights of 16 bits that are widened when it is opened.

    Args:
        data: `dlib_face_recognition_resnet_model_v1.dat`.

    Returns:
        A network with input `pixels (n, 3, 150, 150)`, RGB in 0..255, and output `descriptor
        (n, 128)`.

    Raises:
        ValueError: cut off, or a layer, or a form of one, that is not known.
    """
    return _Converter(_Reader(data)).run()


class _Reader:
    """The file, from its beginning on."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def finished(self) -> bool:
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) < count:
            raise ValueError(f"the file ends at byte {len(self._data)}, within a layer")
        self._at += count
        return part

    def integer(self) -> int:
        """A byte with the sign and the number of bytes, then those, the lowest first."""
        (head,) = self.take(1)
        value = int.from_bytes(self.take(head & 0x0F), "little")
        return -value if head & 0x80 else value

    def integers(self, count: int) -> list[int]:
        return [self.integer() for _ in range(count)]

    def real(self) -> float:
        """An integer, and how often to double it."""
        value = self.integer()
        return ldexp(value, self.integer())

    def reals(self, count: int) -> list[float]:
        return [self.real() for _ in range(count)]

    def text(self) -> str:
        return self.take(self.integer()).decode("ascii")

    def tensor(self) -> Array:
        self.expect("the form of a tensor", self.integer(), 2)
        shape = self.integers(4)
        return np.frombuffer(self.take(4 * int(np.prod(shape))), "<f4").reshape(shape)

    def shape(self) -> list[int]:
        """Of a part of a tensor."""
        self.expect("the form of a part", self.integer(), 1)
        return self.integers(4)

    def expect(self, what: str, found: object, *known: object) -> None:
        if found not in known:
            raise ValueError(f"{what} before byte {self._at}: expected {known}, found {found!r}")


class _Maps(NamedTuple):
    """A value of the graph."""

    name: str
    channels: int
    side: int


class _Converter:
    def __init__(self, reader: _Reader) -> None:
        self.reader = reader
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        #: What the next layer takes, and what goes past the present block.
        self.now = self.past = _Maps("pixels", 3, 0)

    def run(self) -> bytes:
        self.picture()
        known = {
            "con_4": self.convolution,
            "relu_": self.relu,
            "max_pool_2": self.max_pool,
            "avg_pool_2": self.average,
            "add_prev_": self.add,
            "fc_2": self.product,
        }
        while not self.reader.finished:
            name = self.reader.text()
            self.reader.expect("a layer", name, *known)
            known[name]()
        return self.finish()

    def finish(self) -> bytes:
        self.nodes[-1].output[0] = "descriptor"
        pixels: list[str | int | None] = ["n", 3, self.picture_px, self.picture_px]
        graph = helper.make_graph(
            self.nodes,
            "face recognition",
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, pixels)],
            [
                helper.make_tensor_value_info(
                    "descriptor", TensorProto.FLOAT, ["n", self.now.channels]
                )
            ],
            self.weights,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))

    def emit(self, kind: str, inputs: list[str], **extra: Any) -> str:
        """A node; returns its value's name."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **extra))
        return name

    def constant(self, values: np.ndarray[Any, np.dtype[Any]]) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def half(self, values: Array) -> str:
        """Weights, stored in 16 bits."""
        stored = self.constant(values.astype(np.float16))
        return self.emit("Cast", [stored], to=TensorProto.FLOAT)

    def end_of_layer(self) -> None:
        """How far training had got, and its working memory, which is empty in the end."""
        self.reader.take(3)
        for _ in range(3):
            self.reader.tensor()

    # --- the parts of the file, in their order ---------------------------------------------------

    def picture(self) -> None:
        """The head of the file, up to the first layer: from colours to what that layer takes."""
        reader = self.reader
        reader.expect("the form of the whole", reader.integer(), 1)
        reader.expect("the kind of network", reader.text(), "loss_metric_2")
        reader.reals(2)  # margin and threshold of the training
        while (wrapped := reader.integer()) != _FIRST_LAYER:
            reader.expect("what wraps a layer", wrapped, _LAYER, _MARK)
        reader.expect("the input", reader.text(), "input_rgb_image_sized")
        means = np.array(reader.reals(3), np.float32).reshape(1, 3, 1, 1)
        height, self.picture_px = reader.integers(2)
        reader.expect("the input's height", height, self.picture_px)
        centred = self.emit("Sub", ["pixels", self.constant(means)])
        scaled = self.emit("Mul", [centred, self.constant(np.array(1 / _DIVISOR, np.float32))])
        self.now = _Maps(scaled, 3, self.picture_px)

    def convolution(self) -> None:
        """And the factors and offsets that follow every one: frozen batch normalisation."""
        reader, first = self.reader, self.now.side == self.picture_px
        params = reader.tensor().ravel()
        outputs, size, width, stride, across, pad, pad_across = reader.integers(7)
        reader.expect("a convolution's width", (width, across, pad_across), (size, stride, pad))
        kernel_shape = reader.shape()
        reader.shape()
        reader.reals(4)  # learning rates
        self.end_of_layer()
        if first:
            reader.expect("pictures for a picture", reader.integer(), 1)
        reader.expect("what follows a convolution", reader.text(), "affine_")
        factor, offset = reader.tensor().reshape(2, outputs)
        reader.shape()
        reader.shape()
        reader.integer()  # whether by channel
        self.end_of_layer()
        kernel = params[:-outputs].reshape(kernel_shape) * factor[:, None, None, None]
        bias = self.constant(params[-outputs:] * factor + offset)
        name = self.emit(
            "Conv", [self.now.name, self.half(kernel), bias],
            kernel_shape=[size, size], strides=[stride, stride], pads=[pad] * 4,
        )  # fmt: skip
        self.now = _Maps(name, outputs, (self.now.side + 2 * pad - size) // stride + 1)

    def relu(self) -> None:
        self.end_of_layer()
        self.now = self.now._replace(name=self.emit("Relu", [self.now.name]))

    def max_pool(self) -> None:
        size, stride = self.window()
        name = self.emit(
            "MaxPool", [self.now.name], kernel_shape=[size, size], strides=[stride, stride]
        )
        self.now = self.past = _Maps(name, self.now.channels, (self.now.side - size) // stride + 1)

    def average(self) -> None:
        """Of the way past a block that halves its maps; or, with no window, of everything."""
        size, stride = self.window()
        if not size:
            name = self.emit("GlobalAveragePool", [self.now.name])
            self.now = _Maps(self.emit("Flatten", [name]), self.now.channels, 1)
            return
        name = self.emit(
            "AveragePool", [self.past.name], kernel_shape=[size, size], strides=[stride, stride]
        )
        self.past = _Maps(name, self.past.channels, (self.past.side - size) // stride + 1)

    def add(self) -> None:
        """The end of a block: what has gone past it is added. The smaller one is filled with 0."""
        self.end_of_layer()
        self.reader.expect("what follows a block", self.reader.text(), "relu_")
        side = max(self.now.side, self.past.side)
        channels = max(self.now.channels, self.past.channels)
        parts = [self.filled(maps, channels, side) for maps in (self.now, self.past)]
        self.now = _Maps(self.emit("Add", parts), channels, side)
        self.relu()
        self.past = self.now

    def filled(self, maps: _Maps, channels: int, side: int) -> str:
        more = side - maps.side
        if not more and channels == maps.channels:
            return maps.name
        ends = [0, 0, 0, 0, 0, channels - maps.channels, more, more]
        return self.emit("Pad", [maps.name, self.constant(np.array(ends, np.int64))])

    def product(self) -> None:
        """The last layer, a matrix without offsets."""
        outputs, inputs = self.reader.integers(2)
        matrix = self.reader.tensor().reshape(inputs, outputs)
        self.reader.shape()
        self.reader.shape()
        self.reader.expect("whether it has offsets", self.reader.integer(), 1)  # 1: none
        self.reader.reals(4)  # learning rates
        self.end_of_layer()
        name = self.emit("MatMul", [self.now.name, self.half(matrix)])
        self.now = _Maps(name, outputs, 1)

    def window(self) -> tuple[int, int]:
        """Size and step of a pooling layer."""
        size, width, stride, across, pad, pad_across = self.reader.integers(6)
        self.reader.expect("a window", (width, across, pad, pad_across), (size, stride, 0, 0))
        self.end_of_layer()
        return size, stride
