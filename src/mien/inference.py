"""Opens networks for ONNX Runtime: the first room that imports it, and the only one that knows on
which devices it can compute. From mien: errors only.

Official builds of ONNX Runtime report their use to Microsoft unless they are told not to before
they start (its Privacy.md, since 1.29 on Linux and macOS too). Faces are nobody else's business, so
they are told here. Whoever wants the reports sets ORT_DISABLE_TELEMETRY=0.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from typing import Any, Final, NamedTuple, NoReturn

from mien.errors import ConfigError, ModelError

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

if os.environ["ORT_DISABLE_TELEMETRY"] != "0":
    # Where another package has started it before us, this ends what can still be ended.
    onnxruntime.disable_telemetry_events()

#: The installed build of ONNX Runtime, as its package is called, and its version.
RUNTIME: Final[tuple[str, str]] = (onnxruntime.package_name, onnxruntime.__version__)

#: ONNX Runtime's own log: only what it calls fatal. What matters to a user, mien says itself.
_FATAL: Final = 4


class _Kind(NamedTuple):
    """A kind of device: its execution provider, how to get that, and what it needs to start."""

    provider: str
    install: str
    needs: str


_INSTEAD: Final = f"pip uninstall {RUNTIME[0]}, then pip install "
_KINDS: Final = {
    "cuda": _Kind(
        "CUDAExecutionProvider",
        f"{_INSTEAD}'onnxruntime-gpu[cuda,cudnn]'",
        "NVIDIA's driver (nvidia-smi), CUDA and cuDNN",
    ),
    "openvino": _Kind(
        "OpenVINOExecutionProvider", f"{_INSTEAD}onnxruntime-openvino", "the device and its driver"
    ),
    "coreml": _Kind("CoreMLExecutionProvider", "run mien on macOS", "the system's version"),
}


def check_device(device: str) -> None:
    """Refuse the name of a device that is none. Whether it is there shows when it is used.

    Raises:
        ConfigError: it is none.
    """
    if not re.fullmatch(r"cpu|cuda(:\d+)?|openvino(:gpu)?|coreml|auto", device):
        raise ConfigError(
            f"device {device!r}: expected cpu, cuda, cuda:N, openvino, openvino:gpu, coreml or auto"
        )


class Network:
    """One ONNX network on one device.

    Args:
        data: the file's bytes. From memory, a model cannot pull in other files as its weights.
        name: what messages call it.
        threads: CPU threads. More than one rarely helps on small inputs.
        device: `cpu`; `cuda` or `cuda:N`, the first or the N-th of NVIDIA's GPUs, from 0;
            `openvino` or `openvino:gpu`, OpenVINO on the CPU or on Intel's GPU; `coreml`; `auto`
            for `cuda` where it starts, else `cpu`.

    Attributes:
        metadata: what the file says about itself.
        inputs, outputs: their names, in the file's order.
        forms: what the file says that each of them is, such as `float[n,1,44,44]`; `n` for any
            number.
        device: on what it computes; of `auto`, what was chosen.

    Raises:
        ModelError: not a usable ONNX model.
        ConfigError: no such device, or it cannot be used here.
        ValueError: fewer threads than one, for which ONNX Runtime would take all cores.
    """

    def __init__(self, data: bytes, name: str, *, threads: int = 1, device: str = "cpu") -> None:
        if threads < 1:
            raise ValueError(f"threads: expected at least 1, got {threads}")
        check_device(device)
        self._name = name
        self.device = _best(data, name) if device == "auto" else device
        self._session = _open(data, name, threads, self.device)
        takes, gives = self._session.get_inputs(), self._session.get_outputs()
        self.inputs, self.outputs = ([each.name for each in side] for side in (takes, gives))
        self.forms = {each.name: _form(each) for each in (*takes, *gives)}
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self._name}: an open network cannot be pickled. Send a `mien.Analyzer`, which opens "
            "its networks anew where it arrives, or open what holds this one there"
        )

    def require(self, forms: Mapping[str, str], spec: str, instead: str) -> None:
        """Refuse a file whose network is another than it says: it may come from anywhere.

        Args:
            forms: what each input and output that is used must be, as in the attribute `forms`;
                `N` stands for any number that is written there. Other inputs there may not be.
            spec: what messages call that which says so.
            instead: what they advise.

        Raises:
            ModelError: it is another.
        """
        for name, form in {**dict.fromkeys(self.inputs, "no input"), **forms}.items():
            found = self.forms.get(name, "nothing")
            if not re.fullmatch(re.escape(form).replace("N", r"\d+"), found):
                raise ModelError(
                    f"{self._name}: its network is another than its {spec} says: expected "
                    f"{name!r} to be {form}, found {found}. {instead}"
                )

    def width(self, name: str) -> int:
        """How many numbers an input or output, which `require` has found to have a width, holds of
        each face.
        """
        return int(self.forms[name].rpartition(",")[2].rstrip("]"))

    def run(self, inputs: Any, outputs: list[str] | None = None) -> list[Any]:
        """The named outputs (None for all of them, in the file's order).

        Args:
            inputs: the array of the only input, or arrays by the names of the inputs.
            outputs: their names.

        Raises:
            ConfigError: a device other than the CPU has failed.
            MemoryError: there was not enough.
            ModelError: the network cannot be computed.
        """
        named = inputs if isinstance(inputs, dict) else {self.inputs[0]: inputs}
        try:
            answer: list[Any] = self._session.run(outputs, named)
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
            if self.device == "cpu":
                if "alloc" in str(error):  # ONNX Runtime has no error of its own for it
                    raise MemoryError(_line(error)) from error
                raise ModelError(
                    f"{self._name}: its network cannot be computed ({_line(error)}). Copy the file "
                    "again, or use another model"
                ) from error
            raise ConfigError(
                f"device {self.device}: failed at {self._name} ({_line(error)}). Where others fill "
                "its memory, use fewer workers; or compute on the CPU (--device cpu)"
            ) from error
        return answer


def _form(tensor: Any) -> str:
    """Kind and shape of an input or output, in one word."""
    kind = tensor.type.removeprefix("tensor(").removesuffix(")")
    sides = (str(side) if isinstance(side, int) else "n" for side in tensor.shape or ())
    return f"{kind}[{','.join(sides)}]"


def _open(data: bytes, name: str, threads: int, device: str) -> Any:
    """A session that computes on this device, and not, for want of it, on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Idle workers that spin steal the core on which the next stage wants to run.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A model's weights lie in the model. Files that one names all the same are looked for where
    # there can be none: else a stranger's model could read what lies in the current folder.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", os.devnull
    )
    options.log_severity_level = _FATAL
    if device == "cpu":
        try:
            return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises many kinds, none of them exported
            raise ModelError(
                f"{name}: not a usable ONNX model ({_line(error)}). Use a model made by "
                "`mien export`, or copy the file again"
            ) from error
    kind = _installed(device)
    onnxruntime.set_default_logger_severity(_FATAL)  # for what is outside any session
    why = _load_cuda() if device.startswith("cuda") else ""
    try:
        session = onnxruntime.InferenceSession(
            data,
            options,
            providers=[(kind.provider, _settings(device, threads)), "CPUExecutionProvider"],
            enable_fallback=False,  # it would say so on stdout, and go on
        )
        works = kind.provider in session.get_providers()
    except Exception as error:
        _open(data, name, threads, "cpu")  # where it is the model's fault, this says so
        works, why = False, _line(error)
    if not works:
        raise ConfigError(
            f"device {device}: {' '.join(RUNTIME)} knows it and cannot use it"
            f"{f' ({why})' if why else ''}. Look after {kind.needs}, or compute on the CPU "
            "(--device cpu)"
        )
    return session


def _best(data: bytes, name: str) -> str:
    """What `auto` chooses: CUDA where it starts."""
    if _KINDS["cuda"].provider in onnxruntime.get_available_providers():
        try:
            _open(data, name, 1, "cuda")
        except ConfigError:
            return "cpu"
        return "cuda"
    return "cpu"


def _installed(device: str) -> _Kind:
    """The kind of a device, once it is known that this build of ONNX Runtime has it."""
    kind, there = _KINDS[device.partition(":")[0]], onnxruntime.get_available_providers()
    if kind.provider not in there:
        known = ["cpu", *(name for name, each in _KINDS.items() if each.provider in there)]
        raise ConfigError(
            f"device {device}: {' '.join(RUNTIME)} is installed, which computes on "
            f"{' and '.join(known)} only. To have it, {kind.install}"
        )
    return kind


def _settings(device: str, threads: int) -> dict[str, str]:
    """What an execution provider is told, so that answers are those of the CPU."""
    kind, _, which = device.partition(":")
    if kind == "cuda":
        return {
            "device_id": which or "0",
            "use_tf32": "0",  # it keeps 10 of 23 bits
            # The default tries all algorithms for every new shape, and pictures have many.
            "cudnn_conv_algo_search": "HEURISTIC",
        }
    if kind == "openvino":
        where = which.upper() or "CPU"
        hints: dict[str, str | int] = {"INFERENCE_PRECISION_HINT": "f32"}
        if where == "CPU":
            hints["INFERENCE_NUM_THREADS"] = threads
        return {"device_type": where, "load_config": json.dumps({where: hints})}
    return {}


@cache
def _load_cuda() -> str:
    """Load CUDA's libraries from where pip puts them, and say which are missing."""
    said = StringIO()
    load = getattr(onnxruntime, "preload_dlls", None)  # since 1.21
    if load is not None:
        with redirect_stdout(said):
            load()
    return "; ".join(line for line in said.getvalue().splitlines() if "Failed to load" in line)


def _line(error: Exception) -> str:
    """The first line of what ONNX Runtime says."""
    return (str(error) or type(error).__name__).splitlines()[0]
