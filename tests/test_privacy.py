"""Nothing goes out, and what is deleted is gone (docs/privacy.md)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mien.cli import main
from mien.server.jobs import UPLOAD, Jobs

#: Runs a command and tells of every name looked up, connection opened and socket left.
WATCHED = """
import os, sys
asked = []
sys.addaudithook(lambda event, details: event.startswith("socket.") and asked.append(event))
if sys.argv[1] == "connect":  # shows that the watch is awake
    import socket
    socket.create_server(("127.0.0.1", 0))
else:
    from mien.cli import main
    assert main(sys.argv[1:]) == 0
folder = "/proc/self/fd"
handles = os.listdir(folder) if os.path.isdir(folder) else []
left = []
for handle in handles:
    try:
        left.append(os.readlink(f"{folder}/{handle}"))
    except OSError:
        pass  # the listing's own
print(asked, [name for name in left if name.startswith("socket:")], file=sys.stderr)
"""


def watched(*arguments: str) -> str:
    command = [sys.executable, "-c", WATCHED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stderr.splitlines()[-1]


def test_analysing_opens_no_connection(tmp_path: Path, portrait_file: Path) -> None:
    """Neither Python nor a library below it: the latter would leave a socket behind."""
    assert "socket.bind" in watched("connect")
    out = str(tmp_path / "r.parquet")
    assert watched("analyze", str(portrait_file), "--identity", "--shape", "--out", out) == "[] []"
    assert watched("demo", "--out", str(tmp_path / "demo")) == "[] []"
    assert watched("models", "verify") == "[] []"


def test_a_deleted_videos_name_is_gone(tmp_path: Path) -> None:
    """Not only from the list: from the file that the list is in."""
    jobs = Jobs(tmp_path, 1000)
    job_id, folder = jobs.new_folder()
    (folder / UPLOAD).write_bytes(b"film")
    job = jobs.add(job_id, "anna-at-the-doctor.mp4", annotated=False, fps=None)
    jobs.close()
    assert b"anna-at-the-doctor" in (tmp_path / "jobs.sqlite").read_bytes()
    jobs = Jobs(tmp_path, 1000)
    jobs.remove(job)
    jobs.close()
    (file,) = (path for path in tmp_path.iterdir() if path.is_file())
    assert file.name == "jobs.sqlite"
    assert b"anna-at-the-doctor" not in file.read_bytes()
    assert list((tmp_path / "videos").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="other rights")
def test_what_the_server_keeps_is_for_its_owner(tmp_path: Path) -> None:
    def rights(path: Path) -> str:
        return f"{path.stat().st_mode & 0o777:o}"

    before, data = os.umask(0o022), tmp_path / "new" / "data"
    try:
        jobs = Jobs(data, 1000)
        jobs.new_folder()
        files = [path for path in data.iterdir() if path.is_file()]
        assert {path.name: rights(path) for path in files} == {
            "jobs.sqlite": "600", "jobs.sqlite-wal": "600",
        }  # fmt: skip
        folders = [data, *(path for path in data.rglob("*") if path.is_dir())]
        assert [rights(folder) for folder in folders] == ["700"] * 3
        assert rights(data.parent) == "755"
        jobs.close()
        data.chmod(0o750)  # whose folder it is, says who may look into it
        Jobs(data, 1000).close()
        assert rights(data) == "750"
    finally:
        os.umask(before)


@pytest.mark.parametrize("stated", [True, False])
def test_a_gallery_is_asked_for_consent(
    tmp_path: Path, portrait_file: Path, capsys: pytest.CaptureFixture[str], stated: bool
) -> None:
    gallery = tmp_path / "people"
    gallery.mkdir()
    (gallery / "eileen.png").write_bytes(portrait_file.read_bytes())
    if stated:
        (gallery / "CONSENT.txt").write_text("Eileen agreed on 1 May to being recognized.")
    assert main(["analyze", str(portrait_file), "--gallery", str(gallery)]) == 0
    said = capsys.readouterr()
    assert "eileen" in said.out
    assert ("holds no CONSENT.txt" in said.err) is not stated
    assert main(["analyze", str(portrait_file), "--gallery", str(gallery), "--quiet"]) == 0
    assert "CONSENT" not in capsys.readouterr().err
