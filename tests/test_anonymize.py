"""Faces that are to be hidden are hidden: on the command line, and on the server to the end."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from mien.annotate import annotate, anonymize
from mien.cli import main
from mien.hiding import FaceHider
from mien.pipeline import Analyzer
from mien.server.jobs import UPLOAD, Job, Jobs
from mien.sources import open_source
from mien.types import Detections, FaceResult, Frame, UInt8Array
from tests.films import write_film
from tests.servers import running
from tests.test_server_videos import ended, result, send


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, portrait: UInt8Array) -> Path:
    """Three frames of the portrait, which moves a little."""
    file = tmp_path_factory.mktemp("clip") / "clip.mp4"
    small = np.asarray(Image.fromarray(portrait).resize((280, 280)))
    write_film(file, [small[i : i + 256, i : i + 256] for i in range(3)], fps=10)
    return file


@pytest.fixture
def seen(analyzer: Analyzer, tmp_path: Path) -> Callable[[Path | httpx.Response], list[int]]:
    """How many faces are found in each frame of a film, by its file or the server's answer."""

    def count(film: Path | httpx.Response) -> list[int]:
        if isinstance(film, httpx.Response):
            (tmp_path / "film.mp4").write_bytes(film.content)
            film = tmp_path / "film.mp4"
        with open_source(film) as source:
            return [len(analyzer.analyze_frame(Frame(frame.image)).faces) for frame in source]

    return count


Seen = Callable[[Path | httpx.Response], list[int]]


def left_running(data: Path, clip: Path, *, anonymize: bool) -> Job:
    """A job that a server was killed in the middle of, with half a copy that shows faces."""
    jobs = Jobs(data, 1000)
    job_id, folder = jobs.new_folder()
    shutil.copy(clip, folder / UPLOAD)
    shutil.copy(clip, folder / "annotated.mp4")
    jobs.add(job_id, "clip.mp4", annotated=True, fps=None, anonymize=anonymize)
    job = jobs.begin_next()
    assert job is not None
    jobs.close()
    return job


# ---- the command line ----


def test_a_pictures_copy(
    analyzer: Analyzer, portrait: UInt8Array, portrait_file: Path, tmp_path: Path
) -> None:
    copies = {}
    for flags in ([], ["--anonymize"]):
        out = tmp_path / f"copy{len(flags)}.png"
        assert main(["analyze", str(portrait_file), "--out", str(out), "--quiet", *flags]) == 0
        copies[bool(flags)] = np.asarray(Image.open(out))
    faces = analyzer.analyze_frame(Frame(portrait)).faces
    assert (copies[True] == annotate(anonymize(portrait, faces), faces)).all()
    assert (copies[False] == annotate(portrait, faces)).all()


def test_a_copy_without_faces_names_nobody(
    analyzer: Analyzer, portrait_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people, out = tmp_path / "people", tmp_path / "copy.png"
    people.mkdir()
    shutil.copy(portrait_file, people / f"ada{portrait_file.suffix}")
    command = ["analyze", str(portrait_file), "--out", str(out), "--gallery", str(people), "--json"]
    assert main([*command, "--anonymize"]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    assert face["identity"]["person"] == "ada"
    picture = np.asarray(Image.open(portrait_file).convert("RGB"))
    faces = analyzer.analyze_frame(Frame(picture)).faces
    assert (np.asarray(Image.open(out)) == annotate(anonymize(picture, faces), faces)).all()


def test_a_videos_copy(clip: Path, seen: Seen, tmp_path: Path) -> None:
    for flags, faces in (([], [1, 1, 1]), (["--anonymize"], [0, 0, 0])):
        out = tmp_path / f"copy{len(flags)}.mp4"
        assert main(["analyze", str(clip), "--out", str(out), "--quiet", *flags]) == 0
        assert seen(out) == faces


def test_faces_that_results_leave_out(
    analyzer: Analyzer, portrait_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of faces that are not sure enough for results, a copy shows none either."""
    out = tmp_path / "copy.png"
    command = ["analyze", str(portrait_file), "--out", str(out), "--quiet", "--anonymize", "--json"]
    assert main([*command, "--min-score", "0.99"]) == 0
    assert json.loads(capsys.readouterr().out)["faces"] == []
    assert not analyzer.analyze_frame(Frame(np.asarray(Image.open(out)))).faces


class Blind:
    """A detector that sees nothing by itself."""

    min_score = 0.9

    def find(self, _frame: Frame) -> Detections:
        return Detections.empty()


def test_a_face_that_is_missed_for_a_moment(analyzer: Analyzer, portrait: UInt8Array) -> None:
    """Its place stays hidden, larger and larger, as long as the tracker would wait for it."""
    faces = analyzer.analyze_frame(Frame(portrait)).faces
    hider = FaceHider(Blind())  # type: ignore[arg-type]

    def hidden(at_s: float, faces: Sequence[FaceResult] = (), source: str = "v") -> int:
        copy = hider.hide(Frame(portrait, source, round(at_s * 100), at_s), faces)
        return int((copy != portrait).any(2).sum())

    seen = hidden(0.0, faces)
    assert seen > 1000
    missed = [hidden(at_s) for at_s in (0.04, 0.2, 1.4)]
    assert seen <= missed[0] < missed[1] < missed[2]
    assert hidden(1.6) == 0
    hidden(2.0, faces)
    assert hidden(2.1, faces) == seen  # it is back, and nothing trails behind it
    assert hidden(2.2, source="w") == 0  # another film
    hidden(2.3, faces, "w")
    assert hidden(0.0, source="w") == 0  # the same from its beginning
    assert [hidden(at_s, faces, "seldom") for at_s in (0.0, 5.0)] == [seen, seen]
    assert [hidden(at_s, source="seldom") > seen for at_s in (10.0, 15.0)] == [True, False]


def test_a_face_that_is_missed_in_a_frame_shown_at_the_same_time(portrait: UInt8Array) -> None:
    """As where recordings overlap: the clock of a video stands still, and its frames go on."""
    hider = FaceHider(Blind())  # type: ignore[arg-type]
    face: Any = SimpleNamespace(box=(100, 100, 80, 80))
    hidden = [
        int((hider.hide(Frame(portrait, "v", index, 0.04), seen) != portrait).any(2).sum())
        for index, seen in enumerate(((face,), ()))
    ]
    assert hidden[0] == hidden[1] > 1000


def test_a_face_that_comes_close_does_not_stand_for_another(portrait: UInt8Array) -> None:
    """Of two that overlapped a little, one is missed while the other moves towards it."""
    hider = FaceHider(Blind())  # type: ignore[arg-type]

    def shown(index: int, *boxes: tuple[int, int, int, int]) -> UInt8Array:
        faces: Any = [SimpleNamespace(box=box) for box in boxes]
        return hider.hide(Frame(portrait, "v", index, index / 25), faces)

    shown(0, (100, 100, 80, 80), (150, 100, 80, 80))
    copy = shown(1, (108, 100, 80, 80))
    right_of_it = np.s_[110:170, 210:225]
    assert (copy[right_of_it] != portrait[right_of_it]).any(2).mean() > 0.9


def test_what_the_detector_finds_beside_a_predicted_place(portrait: UInt8Array) -> None:
    """A face coasts, and the detector sees it a little farther: both places are hidden."""
    seen = Detections(
        np.array([[150, 100, 230, 180]], np.float32),
        np.ones(1, np.float32),
        np.zeros((1, 5, 2), np.float32),
    )
    detector: Any = SimpleNamespace(min_score=0.5, find=lambda _frame: seen)
    face: Any = SimpleNamespace(box=(110, 100, 80, 80))
    copy = FaceHider(detector).hide(Frame(portrait, "v"), [face])
    right_of_it = np.s_[110:170, 210:225]
    assert (copy[right_of_it] != portrait[right_of_it]).any(2).mean() > 0.9


def test_what_the_detector_is_unsure_of(analyzer: Analyzer) -> None:
    sure = analyzer.detector.min_score
    hider = FaceHider(analyzer.detector)
    assert hider._detector.min_score < sure == analyzer.detector.min_score
    for name in ("_network", "_rounded"):  # opened once
        assert getattr(hider._detector, name) is getattr(analyzer.detector, name)


# ---- the server ----


def test_a_video_on_the_server(analyzer: Analyzer, clip: Path, seen: Seen, tmp_path: Path) -> None:
    with running(analyzer, tmp_path) as client:
        shown = ended(client, send(client, clip))
        assert not shown["anonymize"]
        assert seen(result(client, shown, "annotated.mp4")) == [1, 1, 1]
        hidden = ended(client, send(client, clip, anonymize="true"))
        assert hidden["anonymize"]
        assert seen(result(client, hidden, "annotated.mp4")) == [0, 0, 0]
        page = result(client, hidden, "report.html").text
        assert "happy" in page
        assert "<img" not in page
        assert "data:image" not in page
        wrong = client.post("/v1/videos", params={"anonymize": "perhaps"}, content=b"x")
        assert wrong.status_code == 422


def test_a_job_that_was_to_hide_faces_does_after_a_killed_server(
    analyzer: Analyzer, clip: Path, seen: Seen, tmp_path: Path
) -> None:
    job = left_running(tmp_path, clip, anonymize=True)
    with running(analyzer, tmp_path) as client:
        last = ended(client, {"id": job.id})
        assert (last["state"], last["anonymize"]) == ("done", True)
        assert seen(result(client, last, "annotated.mp4")) == [0, 0, 0]


def test_a_server_may_hide_faces_in_all_videos(
    analyzer: Analyzer, clip: Path, seen: Seen, tmp_path: Path
) -> None:
    """In those that are sent, in those that wait from before, and not to be had in older copies."""
    with running(analyzer, tmp_path) as client:
        old = ended(client, send(client, clip))
    job = left_running(tmp_path, clip, anonymize=False)
    with running(analyzer, tmp_path, anonymize=True) as client:
        sent = send(client, clip, anonymize="false")
        assert sent["anonymize"]
        for hidden in ({"id": job.id}, sent):
            last = ended(client, hidden)
            assert (last["state"], last["anonymize"]) == ("done", True)
            assert seen(result(client, last, "annotated.mp4")) == [0, 0, 0]
        address = f"/v1/videos/{old['id']}"
        assert "annotated.mp4" not in client.get(address).json()["files"]
        assert client.get(f"{address}/files/annotated.mp4").status_code == 404
        assert client.get(f"{address}/files/results.csv").status_code == 200


def test_the_server_hears_of_it_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Told(Exception):  # noqa: N818  (what came, not an error)
        pass

    def server(_analyzer: object, settings: object, **_: object) -> None:
        raise Told(settings)

    monkeypatch.setattr("mien.server.serving.Server", server)
    monkeypatch.setattr("mien.pipeline.Analyzer", lambda *_, **__: SimpleNamespace(device="cpu"))
    for flags in ([], ["--anonymize"]):
        with pytest.raises(Told) as told:
            main(["serve", "--data", str(tmp_path), *flags])
        assert told.value.args[0].anonymize is bool(flags)
