"""On what networks compute. No machine of ours has a GPU: what stands in for ONNX Runtime here says
that it has, and computes on the CPU.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from mien import inference
from mien.batch import Engine, Settings, cluster, run_batch
from mien.batch.settings import Job
from mien.batch.worker import Order
from mien.classifier import ExpressionClassifier
from mien.cli import main
from mien.detection import ROUNDED_WEIGHTS
from mien.errors import ConfigError, ModelError
from mien.inference import Network
from mien.models import find_model
from mien.pipeline import Analyzer
from mien.types import UInt8Array
from mien.weights import PACKAGE
from tests.films import write_film

Capture = pytest.CaptureFixture[str]
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Runtime:
    """Stands in for `onnxruntime`.

    Attributes:
        providers: those that it is built with.
        starts: whether they start.
        opened: of each session, the file's bytes and what was asked for.
    """

    SessionOptions = onnxruntime.SessionOptions

    def __init__(self) -> None:
        self.providers = [CUDA, "OpenVINOExecutionProvider", CPU]
        self.starts = True
        self.opened: list[tuple[bytes, Any]] = []

    def get_available_providers(self) -> list[str]:
        return self.providers

    def set_default_logger_severity(self, severity: int) -> None:
        pass

    def preload_dlls(self) -> None:
        print("Failed to load libcudnn.so.9: no such file\nPlease follow https://example.org")

    def InferenceSession(  # noqa: N802
        self, data: bytes, options: Any, *, providers: Sequence[Any], enable_fallback: bool = True
    ) -> Any:
        asked = providers[0]
        assert asked == CPU or not enable_fallback
        real = onnxruntime.InferenceSession(data, options, providers=[CPU])
        self.opened.append((data, asked))
        names = [each if isinstance(each, str) else each[0] for each in providers]
        return SimpleNamespace(
            run=real.run,
            get_inputs=real.get_inputs,
            get_outputs=real.get_outputs,
            get_modelmeta=real.get_modelmeta,
            get_providers=lambda: names if self.starts else [CPU],
        )

    @property
    def asked(self) -> set[str]:
        """The providers that sessions were opened with."""
        return {asked if isinstance(asked, str) else asked[0] for _, asked in self.opened}


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    runtime = Runtime()
    monkeypatch.setattr(inference, "onnxruntime", runtime)
    inference._load_cuda.cache_clear()
    return runtime


@pytest.fixture(scope="module")
def model() -> bytes:
    return find_model("mien-s").read()


@pytest.mark.parametrize(
    ("device", "provider", "settings"),
    [
        ("cuda", CUDA, {"device_id": "0", "use_tf32": "0"}),
        ("cuda:1", CUDA, {"device_id": "1"}),
        ("openvino", "OpenVINOExecutionProvider", {"device_type": "CPU"}),
        ("openvino:gpu", "OpenVINOExecutionProvider", {"device_type": "GPU"}),
    ],
)
def test_a_device_is_its_execution_provider(
    runtime: Runtime, model: bytes, device: str, provider: str, settings: dict[str, str]
) -> None:
    network = Network(model, "m.onnx", device=device, threads=3)
    assert network.device == device
    ((_, (asked, told)),) = runtime.opened
    assert asked == provider
    assert settings.items() <= told.items()
    if device == "openvino":
        hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 3}
        assert json.loads(told["load_config"]) == {"CPU": hints}


def test_without_a_word_it_is_the_cpu(runtime: Runtime, model: bytes) -> None:
    assert Network(model, "m.onnx").device == "cpu"
    assert Analyzer(shape=True).device == "cpu"
    assert runtime.asked == {CPU}


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_not_all_of_them(threads: int, model: bytes) -> None:
    with pytest.raises(ValueError, match="threads: expected at least 1"):
        Network(model, "m.onnx", threads=threads)


@pytest.mark.parametrize("device", ["", "gpu", "CUDA", "cuda:", "cuda:x", "openvino:npu", "cpu:0"])
def test_names_that_are_none(device: str, model: bytes) -> None:
    with pytest.raises(ConfigError, match=r"expected cpu, cuda, cuda:N, openvino, .* or auto"):
        Network(model, "m.onnx", device=device)


def test_what_is_not_installed_is_refused(runtime: Runtime, model: bytes) -> None:
    runtime.providers = ["AzureExecutionProvider", CPU]
    installed = r"onnxruntime\S* \S+ is installed, which computes on cpu only. To have it, "
    with pytest.raises(ConfigError, match=rf"device cuda: {installed}.*'onnxruntime-gpu\["):
        Network(model, "m.onnx", device="cuda")
    with pytest.raises(ConfigError, match=rf"{installed}.*install onnxruntime-openvino$"):
        Network(model, "m.onnx", device="openvino:gpu")
    with pytest.raises(ConfigError, match=rf"{installed}run mien on macOS$"):
        Network(model, "m.onnx", device="coreml")
    assert not runtime.opened


def test_the_cpu_does_not_stand_in_for_a_device(
    runtime: Runtime, model: bytes, capsys: Capture
) -> None:
    """ONNX Runtime itself goes on with the CPU, and says so at most in its log."""
    runtime.starts = False
    with pytest.raises(ConfigError, match=r"cannot use it \(Failed to load libcudnn.so.9: no such"):
        Network(model, "m.onnx", device="cuda")
    with pytest.raises(ConfigError, match=r"cannot use it\. Look after the device and its driver"):
        Network(model, "m.onnx", device="openvino")
    assert capsys.readouterr().out == ""


def test_auto_is_cuda_where_it_starts(runtime: Runtime, model: bytes) -> None:
    assert Network(model, "m.onnx", device="auto").device == "cuda"
    runtime.starts = False
    assert Network(model, "m.onnx", device="auto").device == "cpu"
    runtime.starts, runtime.providers = True, [CPU]
    assert Network(model, "m.onnx", device="auto").device == "cpu"


def test_a_model_that_is_none_is_not_the_devices_fault(runtime: Runtime) -> None:
    with pytest.raises(ModelError, match=r"m\.onnx: not a usable ONNX model"):
        Network(b"nothing", "m.onnx", device="cuda")


def test_a_device_that_fails_at_work(runtime: Runtime, model: bytes) -> None:
    """It is the same for all inputs, so nobody takes it for a fault of one."""
    wrong = np.zeros((1, 1, 3, 3, 3), np.float32)
    with pytest.raises(ConfigError, match=r"device cuda: failed at m.onnx \(.*--device cpu"):
        Network(model, "m.onnx", device="cuda").run(wrong)


@pytest.mark.parametrize("name", ["mien-s", "mien-m"])
def test_the_option_reaches_all_networks(
    runtime: Runtime, name: str, portrait: UInt8Array, tmp_path: Path, capsys: Capture
) -> None:
    """A fusion's members, the temporal model and the search of videos among them."""
    film = tmp_path / "film.mp4"
    write_film(film, [portrait] * 3, fps=10)
    arguments = ["analyze", str(film), "--json", "--shape", "--identity", "--model", name]
    answers = []
    for device in ("cpu", "cuda"):
        runtime.opened.clear()
        assert main([*arguments, "--quiet", "--device", device]) == 0
        answers.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
        assert runtime.asked == {CPU if device == "cpu" else CUDA}
        rounded = (PACKAGE / ROUNDED_WEIGHTS).read_bytes()
        assert (rounded in [data for data, _ in runtime.opened]) == (device == "cpu")
    # What is first seen differs, with or without 8 bits, by a few per cent of a face.
    for slow, quick in zip(*answers, strict=True):
        (before,), (now,) = slow["faces"], quick["faces"]
        assert now["box"] == pytest.approx(before["box"], abs=7)
        assert now["expression"] == before["expression"]


def test_auto_says_what_it_chose(runtime: Runtime, portrait_file: Path, capsys: Capture) -> None:
    assert main(["analyze", str(portrait_file), "--json", "--device", "auto"]) == 0
    assert capsys.readouterr().err == "mien: computes on cuda\n"
    assert ExpressionClassifier("mien-m", device="auto")._members[0].device == "cuda"


@pytest.mark.parametrize(
    "arguments",
    [
        ["analyze", "PORTRAIT"],
        ["batch", "PORTRAIT", "--out", "OUT"],
        ["benchmark", "run", "PORTRAIT", "--repeat", "1"],
        ["serve", "--port", "0", "--data", "OUT"],
        ["evaluate", "--pipeline", "--data", "OUT"],
        ["evaluate", "--clips", "--data", "OUT"],
        ["evaluate", "--data", "OUT"],
    ],
    ids=lambda arguments: "-".join(arguments[:2]),
)
def test_every_verb_takes_it(
    arguments: list[str], portrait_file: Path, tmp_path: Path, capsys: Capture
) -> None:
    names = {"PORTRAIT": str(portrait_file), "OUT": str(tmp_path / "out")}
    assert main([*(names.get(each, each) for each in arguments), "--device", "abacus"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mien: device 'abacus': expected cpu, cuda, ")
    assert not (tmp_path / "out").exists()  # another device may begin there


def test_an_examination_that_would_ignore_it_refuses_it(tmp_path: Path, capsys: Capture) -> None:
    which = ["evaluate", "--data", str(tmp_path), "--device", "cuda"]
    for more in (["--slices"], ["--folds", "subject", "--recipe", "r.toml"]):
        assert main([*which, *more]) == 2
        assert "--device" in capsys.readouterr().err


def test_a_batch_goes_on_on_the_same_kind_of_device(runtime: Runtime) -> None:
    assert Job.of(Settings(), {}).settings["device"] == "cpu"
    assert Job.of(Settings(device="auto"), {}).settings["device"] == "cuda"
    begun = Job.of(Settings(device="cuda:0"), {})
    begun.require_continued_by(Job.of(Settings(device="cuda:1"), {}), "out")
    with pytest.raises(ConfigError, match="begun with device = cuda, and now it is cpu"):
        begun.require_continued_by(Job.of(Settings(), {}), "out")
    runtime.providers = [CPU]  # as where a cluster is only told what to do
    assert Job.of(Settings(device="cuda"), {}, elsewhere=True).settings["device"] == "cuda"


def test_workers_share_a_gpu(
    monkeypatch: pytest.MonkeyPatch, runtime: Runtime, portrait_file: Path, tmp_path: Path
) -> None:
    """All of them get what `auto` has come to, and there are not as many as cores."""
    found: list[tuple[str, int]] = []

    def note(_schedule: Any, order: Order, workers: int, _on_progress: Any) -> None:
        found.append((order.settings.device, workers))

    monkeypatch.setattr("mien.batch.run.run_local", note)
    monkeypatch.setattr("mien.batch.run._cores", lambda: 64)
    for i, (device, engine) in enumerate(
        [("auto", Engine()), ("cuda:1", Engine(workers=9)), ("cpu", Engine())]
    ):
        settings = Settings(device=device)
        run_batch([str(portrait_file)], tmp_path / str(i), settings=settings, engine=engine)
    assert found == [("cuda", 4), ("cuda:1", 9), ("cpu", 64)]


@pytest.mark.parametrize(
    ("device", "there", "asks", "computes_on", "actors"),
    [
        ("cuda", {"CPU": 32.0, "GPU": 2.0}, {"num_cpus": 2, "num_gpus": 0.25}, "cuda", 8),
        ("cuda", {"CPU": 8.0, "GPU": 2.0}, {"num_cpus": 2, "num_gpus": 0.25}, "cuda", 4),
        ("cuda", {"CPU": 32.0}, {"num_cpus": 2, "num_gpus": 0.25}, "cuda", 0),  # they may come
        ("auto", {"CPU": 32.0, "GPU": 1.0}, {"num_cpus": 2, "num_gpus": 0.25}, "cuda", 4),
        ("auto", {"CPU": 32.0}, {"num_cpus": 2}, "cpu", 16),
        ("cpu", {"CPU": 32.0, "GPU": 2.0}, {"num_cpus": 2}, "cpu", 16),
    ],
)
def test_actors_ask_for_a_share_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    there: dict[str, float],
    asks: dict[str, float],
    computes_on: str,
    actors: int,
) -> None:
    asked: dict[str, Any] = {}
    hire = SimpleNamespace(options=lambda **wants: asked.update(wants))
    ray = SimpleNamespace(
        init=lambda **_: None,
        shutdown=lambda: None,
        cluster_resources=lambda: there,
        remote=lambda _actor: hire,
    )
    crew: list[tuple[str, int]] = []

    def work(_ray: Any, _schedule: Any, _hire: Any, order: Order, wants: Any, _workers: Any) -> Any:
        crew.append((order.settings.device, cluster._room(wants, there)))
        return SimpleNamespace(work=lambda _: None)

    monkeypatch.setattr(cluster, "import_module", lambda _: ray)
    monkeypatch.setattr(cluster, "_Crew", work)
    order = Order(Settings(device=device, threads=2), "out")
    cluster.run_ray(SimpleNamespace(), order, None, "auto", lambda _: None)  # type: ignore[arg-type]
    assert {key: asked.get(key) for key in ("num_cpus", "num_gpus")} == {"num_gpus": None} | asks
    assert crew == [(computes_on, actors)]


def test_ray_chooses_which_gpu() -> None:
    order = Order(Settings(device="cuda:1"), "out")
    with pytest.raises(ConfigError, match=r"Ray chooses the GPU of each actor\. Say cuda"):
        cluster._wants(order, {"CPU": 4, "GPU": 4})


def test_a_network_that_cannot_be_computed_is_refused_in_words(tmp_path: Path) -> None:
    """Its file is sound, and what it asks for is not: eight numbers in the shape of seven."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [7])
    reshaping = helper.make_node("Reshape", ["x", "shape"], ["y"])
    graph = helper.make_graph(
        [reshaping],
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [7])],
        [shape],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    network = Network(model.SerializeToString(), "odd.onnx")
    assert network.run(np.zeros(7, np.float32))[0].shape == (7,)
    with pytest.raises(ModelError, match=r"odd\.onnx: its network cannot be computed \("):
        network.run(np.zeros(8, np.float32))
