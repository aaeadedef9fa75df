"""Turns MediaPipe's face mesh from TensorFlow Lite into ONNX, so that one runtime runs everything.

Used by the build only; imports numpy, onnx and tflite. Knows the operators of that network and no
others. TensorFlow Lite keeps channels last, ONNX first; weights are turned once, here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import tflite
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
_ACTIVATIONS = {0: "", 1: "Relu", 3: "Relu6"}


def convert(data: bytes, outputs: dict[str, int]) -> bytes:
    """The same network as ONNX.

    Args:
        data: a TensorFlow Lite file with one picture as its input, `(1, S, S, 3)`.
        outputs: for each output, in order, its name and its number of values.

    Returns:
        A network with input `pixels (n, 3, S, S)` and those outputs `(n, values)`.

    Raises:
        ValueError: an operator, or a form of one, that is not known.
    """
    model = tflite.Model.GetRootAsModel(data, 0)
    return _Converter(model, model.Subgraphs(0)).run(outputs)


class _Converter:
    def __init__(self, model: Any, graph: Any) -> None:
        self.model, self.graph = model, graph
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def run(self, outputs: dict[str, int]) -> bytes:
        known: dict[str, Callable[[Any, Any, list[int], str], None]] = {
            "CONV_2D": self.convolution,
            "DEPTHWISE_CONV_2D": self.depthwise,
            "PRELU": self.prelu,
            "ADD": self.add,
            "MAX_POOL_2D": self.max_pool,
            "PAD": self.pad,
        }
        names = {v: k for k, v in vars(tflite.BuiltinOperator).items() if not k.startswith("_")}
        for i in range(self.graph.OperatorsLength()):
            operator = self.graph.Operators(i)
            code = self.model.OperatorCodes(operator.OpcodeIndex())
            name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            if name not in known:
                raise ValueError(f"the operator {name} is not known")
            options = operator.BuiltinOptions()
            inputs = [operator.Inputs(k) for k in range(operator.InputsLength())]
            known[name](operator, options, inputs, self.value(operator.Outputs(0)))
        return self.finish(outputs)

    def finish(self, outputs: dict[str, int]) -> bytes:
        size = int(self.graph.Tensors(self.graph.Inputs(0)).ShapeAsNumpy()[1])
        last = [self.value(self.graph.Outputs(k)) for k in range(self.graph.OutputsLength())]
        for value, (name, count) in zip(last, outputs.items(), strict=True):
            shape = self.constant(np.array([-1, count], np.int64), f"{name}_shape")
            self.nodes.append(helper.make_node("Reshape", [value, shape], [name]))
        first = self.value(self.graph.Inputs(0))
        self.nodes.insert(0, helper.make_node("Identity", ["pixels"], [first]))
        graph = helper.make_graph(
            self.nodes,
            "face mesh",
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, size, size])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", count])
                for name, count in outputs.items()
            ],
            self.weights,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))

    def value(self, index: int) -> str:
        return f"t{index}"

    def array(self, index: int) -> np.ndarray[Any, np.dtype[Any]]:
        """A constant tensor of the file."""
        tensor = self.graph.Tensors(index)
        kinds = {tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.INT32: np.int32}
        raw = self.model.Buffers(tensor.Buffer()).DataAsNumpy()
        return np.frombuffer(raw.tobytes(), kinds[tensor.Type()]).reshape(tensor.ShapeAsNumpy())

    def constant(self, values: np.ndarray[Any, np.dtype[Any]], name: str) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def emit(
        self, kind: str, inputs: list[str], output: str, activation: int, **extra: Any
    ) -> None:
        """A node, and the activation that TensorFlow Lite has fused into it."""
        if activation not in _ACTIVATIONS:
            raise ValueError(f"the activation {activation} of {output} is not known")
        plain = f"{output}_plain" if activation else output
        self.nodes.append(helper.make_node(kind, inputs, [plain], **extra))
        if _ACTIVATIONS[activation] == "Relu":
            self.nodes.append(helper.make_node("Relu", [plain], [output]))
        elif activation:
            low = self.constant(np.array(0, np.float32), f"{output}_low")
            high = self.constant(np.array(6, np.float32), f"{output}_high")
            self.nodes.append(helper.make_node("Clip", [plain, low, high], [output]))

    def convolution(self, operator: Any, options: Any, inputs: list[int], output: str) -> None:
        form = tflite.Conv2DOptions()
        form.Init(options.Bytes, options.Pos)
        self._convolution(form, inputs, output, self.array(inputs[1]).transpose(0, 3, 1, 2), 1)

    def depthwise(self, operator: Any, options: Any, inputs: list[int], output: str) -> None:
        form = tflite.DepthwiseConv2DOptions()
        form.Init(options.Bytes, options.Pos)
        kernel = self.array(inputs[1]).transpose(3, 0, 1, 2)
        if form.DepthMultiplier() != 1:
            raise ValueError("only one filter a channel is known")
        self._convolution(form, inputs, output, kernel, len(kernel))

    def _convolution(
        self,
        form: Any,
        inputs: list[int],
        output: str,
        kernel: np.ndarray[Any, np.dtype[Any]],
        group: int,
    ) -> None:
        if form.DilationHFactor() != 1 or form.DilationWFactor() != 1:
            raise ValueError("dilated convolutions are not known")
        names = [
            self.value(inputs[0]),
            self.constant(kernel, f"{output}_kernel"),
            self.constant(self.array(inputs[2]), f"{output}_bias"),
        ]
        self.emit(
            "Conv",
            names,
            output,
            form.FusedActivationFunction(),
            strides=[form.StrideH(), form.StrideW()],
            auto_pad=self.padding(form),
            group=group,
        )

    def padding(self, form: Any) -> str:
        return {tflite.Padding.SAME: "SAME_UPPER", tflite.Padding.VALID: "VALID"}[form.Padding()]

    def prelu(self, operator: Any, options: Any, inputs: list[int], output: str) -> None:
        slope = self.array(inputs[1]).reshape(-1, 1, 1)
        names = [self.value(inputs[0]), self.constant(slope, f"{output}_slope")]
        self.emit("PRelu", names, output, 0)

    def add(self, operator: Any, options: Any, inputs: list[int], output: str) -> None:
        form = tflite.AddOptions()
        form.Init(options.Bytes, options.Pos)
        self.emit("Add", [self.value(i) for i in inputs], output, form.FusedActivationFunction())

    def max_pool(self, operator: Any, options: Any, inputs: list[int], output: str) -> None:
        form = tflite.Pool2DOptions()
        form.Init(options.Bytes, options.Pos)
        self.emit(
            "MaxPool",
            [self.value(inputs[0])],
            output,
            form.FusedActivationFunction(),
            kernel_shape=[form.FilterHeight(), form.FilterWidth()],
            strides=[form.StrideH(), form.StrideW()],
            auto_pad=self.padding(form),
        )

    def pad(self, operator: Any, options: Any, inputs: list[int], output: str) -> None:
        # Rows are batch, height, width, channels there.
        amounts = self.array(inputs[1])[[0, 3, 1, 2]].astype(np.int64)
        name = self.constant(amounts.T.ravel(), f"{output}_amounts")
        self.emit("Pad", [self.value(inputs[0]), name], output, 0)
