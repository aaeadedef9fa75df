"""A server whose disk is full, whose folder is gone, and whose clock is set while it runs."""

import errno
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.errors import ConfigError, ModelError, SinkError
from mien.pipeline import Analyzer
from mien.server import job_runner, jobs, reports
from mien.server.jobs import UPLOAD, Job, Jobs
from mien.types import UInt8Array
from tests.films import write_film
from tests.servers import running
from tests.test_server_videos import Held, ended, send


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, portrait: UInt8Array) -> Path:
    file = tmp_path_factory.mktemp("clip") / "clip.mp4"
    small = np.asarray(Image.fromarray(portrait).resize((256, 256)))
    write_film(file, [small] * 4, fps=10)
    return file


def test_a_full_disk_does_not_end_the_thread(
    tmp_path: Path, analyzer: Analyzer, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a job is written as soon as there is room, and the next one is begun."""
    end, begin_next, tried = Jobs.end, Jobs.begin_next, [0, 0]

    def end_when_there_is_room(self: Jobs, job: Job, *arguments: Any) -> None:
        tried[0] += 1
        if tried[0] <= 2:
            raise OSError(errno.ENOSPC, "database or disk is full")
        end(self, job, *arguments)

    def begin_when_there_is_room(self: Jobs, **options: bool) -> Job | None:
        tried[1] += 1
        if tried[1] == 2:
            raise OSError(errno.ENOSPC, "database or disk is full")
        return begin_next(self, **options)

    monkeypatch.setattr(job_runner, "_RETRY_S", 0.01)
    monkeypatch.setattr(Jobs, "end", end_when_there_is_room)
    monkeypatch.setattr(Jobs, "begin_next", begin_when_there_is_room)
    with running(analyzer, tmp_path) as client:
        first, second = send(client, clip), send(client, clip)
        assert ended(client, first)["state"] == "done"
        assert ended(client, second)["state"] == "done"
        assert client.get("/readyz").status_code == 200
    assert tried[0] == 4


def test_a_broken_model_is_the_servers_affair(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where its file lies is told to the log, and to no client."""
    analyzer = Analyzer()

    def fail(*_: object, **__: object) -> None:
        raise ModelError("/secret/x.onnx: its network cannot be computed")

    monkeypatch.setattr(analyzer, "_find_faces", fail)
    with running(analyzer, tmp_path) as client:
        end = ended(client, send(client, clip))
    assert end["state"] == "failed"
    assert end["error"] == "a defect of mien; the server's stderr says more"
    assert "/secret/x.onnx" in caplog.text


def test_a_database_without_room_is_a_full_disk(tmp_path: Path, clip: Path) -> None:
    store = Jobs(tmp_path / "jobs", 1000)
    job_id, folder = store.new_folder()
    shutil.copy(clip, folder / UPLOAD)
    (pages,) = store._base.execute("PRAGMA page_count").fetchone()
    store._base.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OSError, match="full") as caught:
        store.add(job_id, "x" * 20_000, annotated=True, fps=None)
    assert caught.value.errno == errno.ENOSPC
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    store.close()


def test_an_upload_for_which_there_is_no_room(
    tmp_path: Path, analyzer: Analyzer, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Jobs, *_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with running(analyzer, tmp_path, max_jobs=1) as client:
        for method in ("new_folder", "add"):
            with monkeypatch.context() as patch:
                patch.setattr(Jobs, method, full)
                answer = client.post("/v1/videos", files={"file": ("c.mp4", clip.read_bytes())})
                assert answer.status_code == 507, method
        assert list((tmp_path / "videos").iterdir()) == []
        assert ended(client, send(client, clip))["state"] == "done"  # no place is lost


def test_a_report_for_which_there_is_no_room(
    tmp_path: Path, analyzer: Analyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    def unwritten(*_: Any, **__: Any) -> Any:
        raise SinkError("report.html: cannot be written") from OSError(errno.ENOSPC, "full")

    with running(analyzer, tmp_path) as client:
        for name, fault in (("save_files", full), ("write_report", unwritten)):
            with monkeypatch.context() as patch:
                patch.setattr(reports, name, fault)
                answer = client.post("/v1/reports", files={"file": ("a.csv", b"a")})
                assert answer.status_code == 507, name
                assert "disk is full" in answer.json()["error"]


def test_videos_are_stopped_and_deleted_on_a_full_disk(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files go at once, which makes room; the list follows as soon as there is some."""

    def full(self: Jobs) -> Any:
        raise OSError(errno.ENOSPC, "database or disk is full")

    monkeypatch.setattr(job_runner, "_RETRY_S", 0.01)
    analyzer = Held()
    with running(analyzer, tmp_path) as client:
        videos = [f"/v1/videos/{send(client, clip)['id']}" for _ in range(2)]
        assert analyzer.entered.wait(60)
        with monkeypatch.context() as patch:
            patch.setattr(Jobs, "_changing", full)
            analyzer.go.set()
            for video in videos:
                assert client.post(f"{video}/cancel").status_code == 507
            for video in videos:
                answer = client.delete(video)
                assert answer.status_code == 507
                assert "disk is full" in answer.json()["error"]
            assert list((tmp_path / "videos").iterdir()) == []
        for video in videos:
            assert client.delete(video).status_code == 204
            assert client.get(video).status_code == 404
        assert ended(client, send(client, clip))["state"] == "done"


def test_a_jobs_folder_removed_meanwhile(tmp_path: Path, clip: Path) -> None:
    analyzer = Held()
    with running(analyzer, tmp_path) as client:
        first, second = send(client, clip), send(client, clip)
        assert analyzer.entered.wait(60)
        for job in (first, second):
            shutil.rmtree(tmp_path / "videos" / job["id"])
        analyzer.go.set()
        for job in (first, second):
            last = ended(client, job)
            assert last["state"] == "failed"
            assert "No such file" in last["error"]
            assert str(tmp_path) not in last["error"]
        assert ended(client, send(client, clip))["state"] == "done"


@pytest.mark.parametrize("jump_s", [-1e9, 1e9], ids=["back", "forth"])
def test_results_do_not_expire_by_a_clock_that_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    store = Jobs(tmp_path, keep_s=1000)
    job_id, folder = store.new_folder()
    (folder / UPLOAD).write_bytes(b"film")
    job = store.add(job_id, "clip.mp4", annotated=False, fps=None)
    begun = store.begin_next()
    assert begun is not None
    store.end(begun, "done")
    clock, steady = time.time, jobs._steady_s
    monkeypatch.setattr(time, "time", lambda: clock() + jump_s)
    store.remove_expired()
    assert store.get(job.id) is not None
    monkeypatch.setattr(jobs, "_steady_s", lambda: steady() + 999)
    store.remove_expired()
    assert store.get(job.id) is not None
    monkeypatch.setattr(jobs, "_steady_s", lambda: steady() + 1001)
    store.remove_expired()
    assert store.get(job.id) is None
    store.close()


def test_a_damaged_list_of_videos_is_said(tmp_path: Path) -> None:
    """Nothing is deleted of what may be all that somebody has."""
    Jobs(tmp_path, 1000).close()
    (tmp_path / "jobs.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigError, match=r"jobs\.sqlite, cannot be read \(file is not a database"):
        Jobs(tmp_path, 1000)
    assert (tmp_path / "jobs.sqlite").read_bytes().startswith(b"no database")
