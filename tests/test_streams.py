"""The command's standard streams in the state in which shells, services and locales leave them."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mien.cli import main
from mien.cli.exits import say
from mien.console import Progress

_SETTLED = """
import sys
from mien.cli.streams import settle_streams
settle_streams()
print("said")
print("said", file=sys.stderr)
with open("file", "w") as file:
    assert file.fileno() > 2, "what a library says on stderr would go into it"
"""


class _Gone(io.StringIO):
    """What nobody reads any more."""

    def write(self, text: str) -> int:
        if text:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        return 0


@pytest.mark.skipif(os.name == "nt", reason="needs sh")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere(closed: str, tmp_path: Path) -> None:
    command = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, _SETTLED]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr.replace("said\n", "")) == (0, "")
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.skipif(os.name == "nt", reason="needs sh")
def test_json_where_stdout_has_few_letters_and_stderr_is_closed(
    portrait_file: Path, tmp_path: Path
) -> None:
    """Escapes are JSON in any encoding; and what is wrong with the other file is not said there."""
    shutil.copy(portrait_file, tmp_path / "süß.png")
    command = 'exec "$0" -m mien analyze süß.png gone.png --threads 1 --json 2>&-'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    (line,) = done.stdout.decode("ascii").splitlines()
    assert (done.returncode, json.loads(line)["source"]) == (3, "süß.png")


def test_files_are_completed_where_nobody_reads_stdout(
    portrait_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `| head`: a file that is there, with exit code 0, holds every input."""
    shutil.copy(portrait_file, tmp_path / "a.png")
    shutil.copy(portrait_file, tmp_path / "b.png")
    out = tmp_path / "faces.jsonl"
    monkeypatch.setattr(sys, "stdout", _Gone())
    left: list[bool] = []
    monkeypatch.setattr("mien.cli.analyze.leave_stdout", lambda: left.append(True))
    assert main(["analyze", str(tmp_path), "--out", str(out), "--json", "--quiet"]) == 0
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [Path(row["source"]).name for row in rows] == ["a.png", "b.png"]
    assert left


def test_work_goes_on_where_nobody_reads_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = _Gone()
    monkeypatch.setattr(sys, "stderr", gone)
    say("a file is damaged")
    monkeypatch.setattr(gone, "isatty", lambda: True)
    bar = Progress(2, "files")
    bar._began = bar._last = -1000.0
    bar.update(1)
    bar.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["models", "list"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("mien: an output cannot be written (No space left on device)")
    assert len(err.splitlines()) == 1
