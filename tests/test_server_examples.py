"""The examples of clients run against the real server."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.pipeline import Analyzer
from mien.types import UInt8Array
from tests.conftest import REPOSITORY
from tests.films import write_film
from tests.servers import running

EXAMPLES = REPOSITORY / "examples"


def test_a_smile_turns_the_page(analyzer: Analyzer, tmp_path: Path, portrait: UInt8Array) -> None:
    """A second of smiling, a second of nobody, a second of smiling: two pages."""
    smile = np.asarray(Image.fromarray(portrait).resize((256, 256)))
    views = [smile] * 5 + [np.zeros_like(smile)] * 5 + [smile] * 5
    write_film(tmp_path / "clip.mp4", views, fps=5)
    with running(analyzer, tmp_path / "data") as client:
        address = f"ws://127.0.0.1:{client.base_url.port}/v1/live"
        script, clip = str(EXAMPLES / "smile_to_continue.py"), str(tmp_path / "clip.mp4")
        command = [sys.executable, script, clip, address]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=120)
    assert done.stderr == ""
    assert [line.split()[2:] for line in done.stdout.splitlines()] == [["page", "2"], ["page", "3"]]


def _node() -> str | None:
    """node, if it has a WebSocket of its own."""
    node = os.environ.get("MIEN_NODE") or shutil.which("node")
    if node is None:
        return None
    asked = [node, "-p", "typeof WebSocket"]
    has = subprocess.run(asked, capture_output=True, text=True).stdout.strip() == "function"
    return node if has else None


@pytest.mark.skipif(_node() is None, reason="needs node 22 or newer (MIEN_NODE)")
def test_javascript_without_packages(
    analyzer: Analyzer, tmp_path: Path, portrait_file: Path
) -> None:
    node = _node()
    assert node is not None
    Image.new("RGB", (64, 64)).save(tmp_path / "empty.png")
    (tmp_path / "text.jpg").write_text("no picture")
    shutil.copy(portrait_file, tmp_path / "face.png")
    with running(analyzer, tmp_path / "data") as client:
        address = f"ws://127.0.0.1:{client.base_url.port}/v1/live"
        done = subprocess.run(
            [node, str(EXAMPLES / "live.mjs"), "empty.png", "text.jpg", "face.png"],
            cwd=tmp_path,
            env=os.environ | {"MIEN_LIVE": address},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.stdout == "off  empty.png: nobody\nON   face.png: happy\n"
    assert done.stderr == "live: not a picture. Expected JPEG, PNG or WebP\n"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
@pytest.mark.parametrize(
    ("server", "says"),
    [
        ("socket.say({type: 'error', message: 'full'}); socket.close()", "full"),
        ("socket.close()", "ws://x does not answer any more"),
        ("socket.say({type: 'hello'}); setTimeout(() => socket.close())", "does not answer any"),
    ],
)
def test_javascript_learns_that_nobody_answers(tmp_path: Path, server: str, says: str) -> None:
    """Before the hello, and while a picture waits; run from a folder with a blank in its name."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    stub = folder / "stub.mjs"
    stub.write_text(f"""
        globalThis.WebSocket = class {{
          static OPEN = 1;
          readyState = 1;
          constructor() {{ setTimeout(() => {{ const socket = this; {server}; }}); }}
          say(message) {{ this.onmessage({{ data: JSON.stringify(message) }}); }}
          send() {{}}
          close() {{ this.readyState = 3; this.onclose(); }}
        }};
    """)
    shutil.copy(EXAMPLES / "live.mjs", folder)
    (folder / "face.jpg").write_bytes(b"-")
    done = subprocess.run(
        ["node", "--import", str(stub), str(folder / "live.mjs"), "face.jpg"],
        cwd=folder,
        env=os.environ | {"MIEN_LIVE": "ws://x"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert says in done.stderr


@pytest.mark.skipif(_node() is None, reason="needs node 22 or newer (MIEN_NODE)")
def test_javascript_shows_the_key(analyzer: Analyzer, tmp_path: Path, portrait_file: Path) -> None:
    node, key = _node(), "0123456789abcdef"
    assert node is not None
    with running(analyzer, tmp_path / "data", key=key) as client:
        address = f"ws://127.0.0.1:{client.base_url.port}/v1/live"
        done = subprocess.run(
            [node, str(EXAMPLES / "live.mjs"), str(portrait_file)],
            env=os.environ | {"MIEN_LIVE": address, "MIEN_API_KEY": key},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(": happy\n")
