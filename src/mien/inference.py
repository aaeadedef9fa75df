"""Opens networks for ONNX Runtime: the one room that imports it. From mien: errors only.

Official builds of ONNX Runtime report their use to Microsoft unless they are told not to before
they start (its Privacy.md, since 1.29 on Linux and macOS too). Faces are nobody else's business, so
they are told here. Whoever wants the reports sets ORT_DISABLE_TELEMETRY=0.
"""

from __future__ import annotations

import os
from typing import Any

from mien.errors import ModelError

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

if os.environ["ORT_DISABLE_TELEMETRY"] != "0":
    # Where another package has started it before us, this ends what can still be ended.
    onnxruntime.disable_telemetry_events()

#: ONNX Runtime's own log: only what it calls fatal. What matters to a user, mien says itself.
_FATAL = 4


class Network:
    """One ONNX network on the CPU.

    Args:
        data: the file's bytes. From memory, a model cannot pull in other files as its weights.
        name: what messages call it.
        threads: CPU threads. More than one rarely helps on small inputs.

    Attributes:
        metadata: what the file says about itself.
        outputs: the names of its outputs, in the file's order.

    Raises:
        ModelError: not a usable ONNX model.
    """

    def __init__(self, data: bytes, name: str, *, threads: int = 1) -> None:
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
        try:
            self._session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises many kinds, none of them exported
            reason = str(error).splitlines()[0]
            raise ModelError(
                f"{name}: not a usable ONNX model ({reason}). Use a model made by `mien export`, "
                "or copy the file again"
            ) from error
        self._input_name = self._session.get_inputs()[0].name
        self.outputs = [output.name for output in self._session.get_outputs()]
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def run(self, inputs: Any, outputs: list[str] | None = None) -> list[Any]:
        """The named outputs (None for all of them, in the file's order).

        Args:
            inputs: the array of the only input, or arrays by the names of the inputs.
            outputs: their names.
        """
        named = inputs if isinstance(inputs, dict) else {self._input_name: inputs}
        answer: list[Any] = self._session.run(outputs, named)
        return answer
