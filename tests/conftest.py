"""What several tests share: a face that may be shown, and the real data where it is present."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import skimage
from PIL import Image

from mien.models import METADATA_KEY, find_model
from mien.pipeline import Analyzer
from mien.types import EXPRESSIONS, UInt8Array

REPOSITORY = Path(__file__).parents[1]


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
