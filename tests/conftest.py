"""What several tests share: a face that may be shown, and the real data where it is present."""

import os
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from mien.pipeline import Analyzer
from mien.types import UInt8Array

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
