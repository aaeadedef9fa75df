"""What several tests share: a face that may be shown, a browser, and the real data if present."""

import json
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

# What tests train is tiny: threads that share it wait for each other longer than they compute, and
# much longer where the machine has other work. Torch and numpy read this when they are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx
import pytest
import skimage
from hypothesis import HealthCheck, settings
from PIL import Image

from mien.models import METADATA_KEY, find_model
from mien.pipeline import Analyzer
from mien.types import EXPRESSIONS, UInt8Array
from tests.browsing import Server, Visit, launch, write_films

REPOSITORY = Path(__file__).parents[1]

# How long an example takes says how busy the machine is, and nothing of mien.
settings.register_profile("mien", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mien")


@pytest.fixture(scope="session", autouse=True)
def _operators() -> Iterator[None]:
    """Torch's exporter compiles its 500 operators anew for every file, which is half of its time:
    here it does so once. They depend on nothing.
    """
    with pytest.MonkeyPatch.context() as patch:
        if "torch" in sys.modules:  # else nothing is exported
            from torch.onnx._internal.exporter._registration import ONNXRegistry

            compiled = staticmethod(cache(ONNXRegistry.from_torchlib))
            patch.setattr(ONNXRegistry, "from_torchlib", compiled)
        yield


@pytest.fixture(scope="session")
def portrait_file() -> Path:
    """NASA's portrait of Eileen Collins, smiling, 512 x 512 (public domain)."""
    return Path(skimage.__file__).parent / "data" / "astronaut.png"


@pytest.fixture(scope="session")
def portrait(portrait_file: Path) -> UInt8Array:
    """The same, decoded."""
    return np.asarray(Image.open(portrait_file).convert("RGB"))


@pytest.fixture(scope="session")
def analyzer() -> Analyzer:
    """The pipeline with the default model."""
    return Analyzer()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data (`MIEN_DATA`); tests that need it are skipped without it."""
    folder = Path(os.environ.get("MIEN_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the real data, and there is none in {folder} (set MIEN_DATA)")
    return folder


@pytest.fixture
def of_ones_own(tmp_path: Path) -> Path:
    """The default model with other names for its classes: `happy` is `glad`, `sad` is `no sad`."""
    model = onnx.load_model_from_string(find_model().read())
    (row,) = (row for row in model.metadata_props if row.key == METADATA_KEY)
    labels = ["glad" if x == "happy" else f"no {x}" for x in EXPRESSIONS]
    row.value = json.dumps({**json.loads(row.value), "name": "own", "labels": labels})
    onnx.save_model(model, tmp_path / "own.onnx")
    return tmp_path / "own.onnx"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server as its users start it, for the tests of the page."""
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, portrait: UInt8Array) -> Path:
    """The folder of what `write_films` writes."""
    folder = tmp_path_factory.mktemp("films")
    write_films(folder, portrait)
    return folder


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    """What drives browsers."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev)")
    with playwright.sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(driver: Any, films: Path) -> Iterator[Any]:
    """One whose camera shows the pan."""
    file = f"--use-file-for-fake-video-capture={films / 'camera.mjpeg'}"
    opened = launch(driver, "--use-fake-device-for-media-stream", file)
    yield opened
    opened.close()


@pytest.fixture
def visit(browser: Any, server: Server) -> Iterator[Visit]:
    """Windows of it that look at the server."""
    opened = Visit(browser, server.url)
    yield opened
    opened.end()
