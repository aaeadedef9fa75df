"""Videos sent to `mien serve`: a job's life, its results, and what a restart finds."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from mien.cli import main
from mien.following import Following
from mien.pipeline import Analyzer
from mien.server import job_runner
from mien.server.job_runner import FILES
from mien.server.jobs import UPLOAD, Jobs
from mien.sinks import open_sink
from mien.types import Frame, FrameResult, UInt8Array
from tests.films import write_film
from tests.servers import running
from tests.test_sources import write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, portrait: UInt8Array) -> Path:
    """Twelve frames of the portrait, which moves a little."""
    file = tmp_path_factory.mktemp("clip") / "clip.mp4"
    small = np.asarray(Image.fromarray(portrait).resize((280, 280)))
    write_film(file, [small[i : i + 256, i : i + 256] for i in range(12)], fps=10)
    return file


@pytest.fixture(scope="module")
def client(analyzer: Analyzer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    data = tmp_path_factory.mktemp("data")
    with running(analyzer, data, max_video_s=100.0, max_video_pixels=1_000_000) as client:
        yield client


class Held(Analyzer):
    """An analyzer whose frames wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = Event(), Event()

    def analyze_frame(self, frame: Frame, *, following: Following | None = None) -> FrameResult:
        self.entered.set()
        self.go.wait()
        return super().analyze_frame(frame, following=following)


def send(client: httpx.Client, file: Path, name: str = "clip.mp4", **query: Any) -> dict[str, Any]:
    answer = client.post("/v1/videos", params=query, files={"file": (name, file.read_bytes())})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def events(client: httpx.Client, job: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """All events of a job up to its end."""
    heard = []
    with client.stream("GET", f"/v1/videos/{job['id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        kind = ""
        for line in stream.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                heard.append((kind, json.loads(line.removeprefix("data: "))))
    return heard


def ended(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    kind, last = events(client, job)[-1]
    assert kind == "end"
    return last


def result(client: httpx.Client, job: dict[str, Any], name: str) -> httpx.Response:
    answer = client.get(f"/v1/videos/{job['id']}/files/{name}")
    assert answer.status_code == 200, answer.text
    return answer


def test_a_video_from_upload_to_results(
    client: httpx.Client, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = send(client, clip)
    assert (job["name"], job["error"], job["files"]) == ("clip.mp4", None, [])
    heard = events(client, job)
    assert {kind for kind, _ in heard[:-1]} <= {"progress"}
    kind, last = heard[-1]
    assert kind == "end"
    assert last == client.get(f"/v1/videos/{job['id']}").json()
    assert (last["state"], last["frames"], last["frame_count"], last["progress"]) == (
        "done",
        12,
        12,
        1.0,
    )
    assert last["created_s"] <= last["started_s"] <= last["ended_s"] < last["expires_s"]
    assert last["files"] == [*FILES]
    assert client.get("/v1/videos").json()["videos"][0] == last

    # The same files as the command line writes.
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "clip.mp4")
    outs = ["results.jsonl", "results.csv", "results.parquet", "x.segments.csv", "subtitles.vtt"]
    assert main(["analyze", "clip.mp4", "--quiet", *(f"--out={out}" for out in outs)]) == 0
    for out in outs:
        answer = result(client, job, out.removeprefix("x."))
        if out != "results.parquet":
            assert answer.content == Path(out).read_bytes(), out
            continue
        Path("theirs.parquet").write_bytes(answer.content)
        assert parquet.read_table("theirs.parquet") == parquet.read_table(out)
    assert "attachment" in result(client, job, "results.csv").headers["content-disposition"]

    film = result(client, job, "annotated.mp4")
    assert "inline" in film.headers["content-disposition"]
    Path("film.mp4").write_bytes(film.content)
    with av.open("film.mp4") as container:
        assert len(list(container.decode(video=0))) == 12
    part = client.get(
        f"/v1/videos/{job['id']}/files/annotated.mp4", headers={"Range": "bytes=10-19"}
    )
    assert part.status_code == 206
    assert part.content == film.content[10:20]
    assert part.headers["content-range"] == f"bytes 10-19/{len(film.content)}"


def test_options_of_a_video(client: httpx.Client, clip: Path) -> None:
    job = ended(client, send(client, clip, annotated="false", fps="5"))
    assert "annotated.mp4" not in job["files"]
    assert (job["frames"], job["frame_count"]) == (6, 6)  # not twelve, of which half never come
    times = [
        json.loads(line)["time_s"]
        for line in result(client, job, "results.jsonl").text.splitlines()
    ]
    assert times == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    for wrong in ({"fps": "0"}, {"fps": "nan"}, {"annotated": "perhaps"}):
        assert client.post("/v1/videos", params=wrong, content=b"x").status_code == 422


@pytest.mark.parametrize(("query", "name"), [({}, "video"), ({"name": "a/b.mp4"}, "b.mp4")])
def test_a_raw_body_has_a_name(
    client: httpx.Client, clip: Path, query: dict[str, str], name: str
) -> None:
    kind = {"Content-Type": "video/mp4"}
    answer = client.post("/v1/videos", params=query, content=clip.read_bytes(), headers=kind)
    job = ended(client, answer.json())
    assert job["name"] == name
    assert json.loads(result(client, job, "results.jsonl").text.splitlines()[0])["source"] == name


def test_the_upload_is_gone_after_the_job(analyzer: Analyzer, tmp_path: Path, clip: Path) -> None:
    with running(analyzer, tmp_path) as client:
        job = ended(client, send(client, clip))
        folder = tmp_path / "videos" / job["id"]
        assert {file.name for file in folder.iterdir()} == {*FILES}
        assert client.delete(f"/v1/videos/{job['id']}").status_code == 204
        assert not folder.exists()
        for path in ("", "/events", "/files/results.csv"):
            assert client.get(f"/v1/videos/{job['id']}{path}").status_code == 404


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no video at all", "neither a picture nor a video"),
        (b"PK\x05\x06" + bytes(18), "neither a picture nor a video"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{canary}\n", "neither a picture nor"),
        (b"ffconcat version 1.0\nfile {canary}\n", "neither a picture nor"),
    ],
    ids=["text", "zip", "playlist", "concatenation"],
)
def test_what_is_no_video_fails_and_opens_nothing(
    client: httpx.Client, clip: Path, tmp_path: Path, content: bytes, words: str
) -> None:
    """A playlist names other files, which FFmpeg would open for whoever sent it."""
    shutil.copy(clip, tmp_path / "canary.mp4")
    file = tmp_path / "sent.mp4"
    file.write_bytes(content.replace(b"{canary}", str(tmp_path / "canary.mp4").encode()))
    job = ended(client, send(client, file, "holiday.mp4"))
    assert (job["state"], job["frames"], job["files"]) == ("failed", 0, [])
    assert words in job["error"]
    assert job["error"].startswith("holiday.mp4: ")
    assert "videos/" not in job["error"]


def test_too_long_or_too_large_a_video_fails(client: httpx.Client, tmp_path: Path) -> None:
    write_video(tmp_path / "long.mp4", [0.0, 0.1, 200.0])
    job = ended(client, send(client, tmp_path / "long.mp4"))
    assert (job["state"], job["frames"]) == ("failed", 0)
    assert "longer than the limit of 100 seconds" in job["error"]
    write_video(tmp_path / "wide.mp4", [0.0], size=1200)
    job = ended(client, send(client, tmp_path / "wide.mp4"))
    assert "more than the limit of 1,000,000" in job["error"]
    assert "(--max-video-pixels)" in job["error"]


def test_a_damaged_video_keeps_the_results_before_the_damage(
    client: httpx.Client, tmp_path: Path
) -> None:
    write_video(tmp_path / "whole.mkv", [0.1 * i for i in range(100)], size=256)
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    job = ended(client, send(client, tmp_path / "cut.mkv", annotated="false"))
    assert job["state"] == "failed"
    assert "results before it are complete" in job["error"]
    lines = result(client, job, "results.jsonl").text.splitlines()
    assert 0 < len(lines) < 100
    assert "clip.mp4" in result(client, job, "report.html").text


def test_the_name_is_only_a_name(
    client: httpx.Client, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of that name in the server's folder is not touched, and lends no sound to a copy."""
    monkeypatch.chdir(tmp_path)
    with av.open("secret.mp4", "w") as container:
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        assert isinstance(sound, av.AudioStream)
        noise = av.AudioFrame.from_ndarray(
            np.zeros((1, 16_000), np.float32), format="fltp", layout="mono"
        )
        noise.sample_rate = 16_000
        container.mux(sound.encode(noise))
        container.mux(sound.encode(None))
    before = Path("secret.mp4").read_bytes()
    for name in ("secret.mp4", "../../../secret.mp4", str(tmp_path / "secret.mp4")):
        job = ended(client, send(client, clip, name))
        assert (job["state"], job["name"]) == ("done", "secret.mp4")
        first = json.loads(result(client, job, "results.jsonl").text.splitlines()[0])
        assert first["source"] == "secret.mp4"
        Path("film.mp4").write_bytes(result(client, job, "annotated.mp4").content)
        with av.open("film.mp4") as film:
            assert not film.streams.audio
    assert Path("secret.mp4").read_bytes() == before


def test_waiting_and_running_videos_can_be_cancelled(tmp_path: Path, clip: Path) -> None:
    analyzer = Held()
    with running(analyzer, tmp_path, max_jobs=1) as client:
        first = send(client, clip)
        analyzer.entered.wait()
        second = send(client, clip)
        full = client.post("/v1/videos", files={"file": ("c.mp4", clip.read_bytes())})
        assert (full.status_code, full.headers["retry-after"]) == (503, "5")
        states = [job["state"] for job in client.get("/v1/videos").json()["videos"]]
        assert states == ["waiting", "running"]
        cancelled = client.post(f"/v1/videos/{second['id']}/cancel").json()
        assert cancelled["state"] == "cancelled"
        analyzer.go.set()
        first = client.post(f"/v1/videos/{first['id']}/cancel").json()
        assert first["state"] in ("cancelled", "done")  # it may have been quicker
        if first["state"] == "cancelled":
            assert "report.html" in first["files"]
            lines = result(client, first, "results.jsonl").text.splitlines()
            assert len(lines) >= 1
        again = client.post(f"/v1/videos/{first['id']}/cancel").json()
        assert again == first
        uploads = list((tmp_path / "videos").rglob(UPLOAD))
        assert uploads == []


@pytest.mark.parametrize("rate", [{}, {"fps": 1e-6}], ids=["all frames", "one frame in days"])
def test_a_video_that_takes_too_long_has_a_report_of_its_beginning(
    tmp_path: Path, clip: Path, rate: dict[str, Any]
) -> None:
    """Looked at with every picture: with a low rate, few are analysed."""
    analyzer = Held()
    with running(analyzer, tmp_path, max_job_s=0.2) as client:
        job = send(client, clip, annotated="false", **rate)
        analyzer.entered.wait()
        Event().wait(0.3)
        analyzer.go.set()
        job = ended(client, job)
        assert (job["state"], job["frames"]) == ("failed", 1)
        assert "not finished after 0.2 seconds" in job["error"]
        assert "clip.mp4" in result(client, job, "report.html").text


def test_a_running_video_can_be_deleted(tmp_path: Path, clip: Path) -> None:
    analyzer = Held()
    with running(analyzer, tmp_path) as client:
        job = send(client, clip)
        analyzer.entered.wait()
        analyzer.go.set()
        assert client.delete(f"/v1/videos/{job['id']}").status_code == 204
        assert client.get("/v1/videos").json() == {"videos": [], "next": None}
        assert list((tmp_path / "videos").iterdir()) == []


def test_a_full_folder_takes_no_more(analyzer: Analyzer, tmp_path: Path, clip: Path) -> None:
    with running(analyzer, tmp_path, max_data_mb=0.001) as client:

        def pieces() -> Iterator[bytes]:
            yield clip.read_bytes()

        for body in (clip.read_bytes(), pieces()):  # announced and not
            kind = {"Content-Type": "video/mp4"}
            full = client.post("/v1/videos", content=body, headers=kind)
            assert full.status_code == 507
        assert list((tmp_path / "videos").iterdir()) == []


def test_an_ended_server_goes_on_with_its_videos(tmp_path: Path, clip: Path) -> None:
    """What does not end in time waits for the next start, and that is no failed attempt."""
    analyzer = Held()
    with running(analyzer, tmp_path, shutdown_s=0.01) as client:
        running_job, waiting_job = send(client, clip), send(client, clip)
        analyzer.entered.wait()
        # Let the frame that is held go, once the server has given up waiting for the video.
        analyzer.go.set()
    jobs = Jobs(tmp_path, 1000)
    found = {job.id: job for job in jobs.newest(10)}
    assert found[waiting_job["id"]].state in ("waiting", "done")
    first = found[running_job["id"]]
    assert (first.state, first.attempts) in (("waiting", 0), ("done", 1))
    jobs.close()
    with running(analyzer, tmp_path) as client:
        for job in (running_job, waiting_job):
            last = ended(client, job)
            assert (last["state"], last["frames"]) == ("done", 12)


def test_what_a_killed_server_left_is_never_lost_in_silence(tmp_path: Path, clip: Path) -> None:
    def begun(jobs: Jobs) -> str:
        job_id, folder = jobs.new_folder()
        shutil.copy(clip, folder / UPLOAD)
        jobs.add(job_id, "clip.mp4", annotated=True, fps=None)
        job = jobs.begin_next()
        assert job is not None
        assert job.id == job_id
        return job_id

    jobs = Jobs(tmp_path, 1000)
    job_id = begun(jobs)
    orphan = jobs.new_folder()[1]  # an upload that was cut off
    (orphan / UPLOAD).write_bytes(b"half")
    jobs.close()

    jobs = Jobs(tmp_path, 1000)
    job = jobs.get(job_id)
    assert job is not None
    assert (job.state, job.attempts) == ("waiting", 1)
    assert not orphan.exists()
    assert jobs.begin_next() is not None
    table = open_sink(jobs.folder_of(job) / "results.parquet")
    table.write(FrameResult("clip.mp4", 0, 0.0, 4, 4))  # and killed before it is complete
    jobs.close()

    jobs = Jobs(tmp_path, 1000)  # the second time it is the video that is suspected
    job = jobs.get(job_id)
    assert job is not None
    assert (job.state, job.error) == ("failed", "the server was ended 2 times while working on it")
    assert list(jobs.folder_of(job).iterdir()) == []
    other = begun(jobs)
    (jobs.folder / other / UPLOAD).unlink()
    jobs.close()

    jobs = Jobs(tmp_path, 1000)
    job = jobs.get(other)
    assert job is not None
    assert job.state == "failed"
    assert "Send it again" in str(job.error)
    assert jobs.count() == {"failed": 2}
    jobs.close()


def test_results_expire(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, keep_s=3600)
    kept, gone, waiting = (jobs.new_folder()[0] for _ in range(3))
    for job_id in (kept, gone, waiting):
        jobs.add(job_id, job_id, annotated=True, fps=None)
    for job_id in (kept, gone):
        job = jobs.get(job_id)
        assert job is not None
        jobs.end(job, "done")
    jobs._base.execute("UPDATE jobs SET ended_s = ended_s - 3601 WHERE id = ?", (gone,))
    jobs._base.commit()
    jobs.remove_expired()
    assert {job.id for job in jobs.newest(10)} == {kept, waiting}
    assert {folder.name for folder in jobs.folder.iterdir()} == {kept, waiting}
    jobs.close()


def test_results_expire_while_a_video_is_worked_on(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One video may take hours: others' results are not kept for longer meanwhile."""
    monkeypatch.setattr(job_runner, "_SWEEP_EVERY_S", 0.05)
    analyzer = Held()
    with running(analyzer, tmp_path, keep_hours=1e-4) as client:
        long = send(client, clip)
        analyzer.entered.wait()
        other = send(client, clip)
        assert client.post(f"/v1/videos/{other['id']}/cancel").json()["state"] == "cancelled"
        Event().wait(0.5)
        analyzer.go.set()
        analyzer.go.clear()  # one frame, and the next one waits
        end_s = time.monotonic() + 20
        try:
            while client.get(f"/v1/videos/{other['id']}").status_code != 404:
                assert time.monotonic() < end_s
                Event().wait(0.05)
            assert client.get(f"/v1/videos/{long['id']}").json()["state"] == "running"
        finally:
            analyzer.go.set()


def test_ten_thousand_videos_are_listed_page_by_page(analyzer: Analyzer, tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, 1e9)
    rows = [(f"id{i}", f"{i}.mp4", "done", 1, 0, 1e9 + i, 1e9 + i, 0) for i in range(10_000)]
    with jobs._base:
        jobs._base.executemany(
            "INSERT INTO jobs (id, name, state, annotated, anonymize, created_s, ended_s, bytes) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
    jobs.close()
    with running(analyzer, tmp_path, keep_hours=1e9) as client:
        names, before = [], None
        while True:
            query = {"limit": 100} | ({"before": before} if before else {})
            answer = client.get("/v1/videos", params=query)
            assert len(answer.content) < 50_000
            names += [job["name"] for job in answer.json()["videos"]]
            before = answer.json()["next"]
            if before is None:
                break
        assert names == [f"{i}.mp4" for i in reversed(range(10_000))]
        assert client.get("/v1/videos", params={"limit": 101}).status_code == 422
        assert 'mien_videos{state="done"} 10000.0' in client.get("/metrics").text


def test_no_path_leads_out_of_a_videos_folder(client: httpx.Client, clip: Path) -> None:
    job = ended(client, send(client, clip, annotated="false"))
    for name in ("../../jobs.sqlite", "..%2f..%2fjobs.sqlite", "upload", ".", "annotated.mp4"):
        answer = client.get(f"/v1/videos/{job['id']}/files/{name}")
        assert answer.status_code == 404, name
    for job_id in ("..", "%2e%2e", "x' OR '1'='1", "%00"):
        assert client.get(f"/v1/videos/{job_id}/files/results.csv").status_code == 404
