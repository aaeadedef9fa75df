"""Pictures of peaks: which, from where, and how they are made unrecognizable."""

from base64 import b64decode
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mien.cli import main
from mien.errors import ConfigError
from mien.report import write_report
from mien.report.intake import take_in
from mien.report.recording import FloatArray
from mien.report.thumbnails import _picture, cut_out, find_videos
from tests.test_events import face, save
from tests.test_report import Page
from tests.test_report_figures import smile

BOX = (40.0, 40.0, 48.0, 48.0)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Six seconds, ten frames each; a finely striped face on plain ground that turns from red to
    blue with the peak of its smile, after four seconds.
    """
    file = tmp_path / "clip.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 128
        stream.pix_fmt = "yuv444p"
        stream.options = {"crf": "4"}
        for i in range(60):
            image = np.zeros((128, 128, 3), np.uint8)
            image[:, :, 2 if i >= 40 else 0] = 200
            image[40:88, 40:88] = 255 * (np.arange(48) // 4 % 2)[None, :, None]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


@pytest.fixture
def table(tmp_path: Path) -> Path:
    results = [
        replace(r, width=128, height=128, faces=[replace(f, box=BOX) for f in r.faces])
        for r in [*smile("clip.mp4", n=40), *smile("clip.mp4", at=0, after=0.9)[40:]]
    ]
    return save(tmp_path / "t.jsonl", results)


def pictures(page: str) -> list[FloatArray]:
    found = []
    for image in Page(page).all("img"):
        data = b64decode(image["src"].removeprefix("data:image/jpeg;base64,"))
        found.append(np.asarray(Image.open(BytesIO(data)).convert("RGB"), np.float64))
    return found


def test_a_face_that_has_left_the_picture_is_cut_out_all_the_same() -> None:
    """Its box has no size, and lies on the edge."""
    gone = replace(smile(n=1)[0].faces[0], box=(128.0, 128.0, 0.0, 0.0))
    result = replace(smile(n=1)[0], faces=[gone])
    image = np.zeros((128, 128, 3), np.uint8)
    assert _picture(image, result, 1, blur=True).startswith("data:image/jpeg")


def test_the_peak_is_shown(clip: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    assert not write_report([table], out, faces="show").notes  # found beside the table
    (image,) = pictures(out.read_text())
    assert image.shape == (200, 200, 3)
    # The ground around the face is blue: the peak, at four seconds.
    assert image[5, 5] == pytest.approx([0, 0, 200], abs=30)
    face = image[60:140, 60:140]
    assert face.std() > 80


def test_neutral_is_no_moment(clip: Path, tmp_path: Path) -> None:
    results = [
        replace(r, width=128, height=128, faces=[replace(face(1, "neutral", 0.9), box=BOX)])
        for r in smile("clip.mp4")
    ]
    out = tmp_path / "r.html"
    assert not write_report([save(tmp_path / "n.jsonl", results)], out, faces="show").notes
    assert not pictures(out.read_text())


def test_faces_are_blurred_beyond_recognition(clip: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    write_report([table], out, faces="blur")
    (image,) = pictures(out.read_text())
    assert image[5, 5] == pytest.approx([0, 0, 200], abs=30)
    face = image[75:125, 75:125]
    assert face.std(axis=(0, 1)).max() < 40  # of stripes from 0 to 255
    assert "made unrecognizable" in out.read_text()


def test_no_picture_where_none_is_wanted(clip: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    write_report([table], out)
    assert not pictures(out.read_text())
    for view in ("experience", "wellbeing"):
        write_report([table], out, view=view, faces="show")
        assert not pictures(out.read_text())
    arguments = ["report", str(table), "--out", str(out), "--overwrite"]
    assert main([*arguments, "--no-faces"]) == 0
    assert not pictures(out.read_text())
    assert main(arguments) == 0
    assert len(pictures(out.read_text())) == 1


def test_a_video_elsewhere(clip: Path, table: Path, tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    moved = clip.rename(tmp_path / "films" / "renamed.mp4")
    out = tmp_path / "r.html"
    arguments = ["report", str(table), "--out", str(out), "--overwrite"]
    assert main(arguments) == 0
    assert not pictures(out.read_text())
    assert main([*arguments, "--video", str(moved)]) == 0  # the only one there is
    assert len(pictures(out.read_text())) == 1
    two = take_in(table) + take_in(table)
    with pytest.raises(ConfigError, match=r"renamed\.mp4: no table speaks of it\. They hold: clip"):
        find_videos(two, [moved])


def test_a_video_beside_the_table_wherever_both_lie(
    clip: Path, table: Path, tmp_path: Path
) -> None:
    """The source was `videos/clip.mp4`, seen from a folder that is not there any more."""
    recordings = [replace(each, source=f"gone/videos/{clip.name}") for each in take_in(table)]
    assert find_videos(recordings, []) == {0: table.parent / clip.name}


def test_another_video_is_noticed(clip: Path, table: Path, tmp_path: Path) -> None:
    text = table.read_text().replace('"width": 128', '"width": 64')
    table.write_text(text)
    outcome = write_report([table], tmp_path / "r.html", faces="show")
    assert "It is another one" in outcome.notes[0]
    assert "It is another one" in (tmp_path / "r.html").read_text()
    clip.write_bytes(b"no video")
    outcome = write_report([table], tmp_path / "r.html", faces="show")
    assert "no pictures of clip.mp4" in outcome.notes[0]


@pytest.mark.parametrize(
    "source", ["http://127.0.0.1/clip.mp4", "rtsp://x/clip.mp4", "/etc/passwd", "0", "-", "a\0.mp4"]
)
def test_a_table_cannot_send_the_report_elsewhere(table: Path, source: str) -> None:
    recordings = [replace(recording, source=source) for recording in take_in(table)]
    assert find_videos(recordings, []) == {}
    assert cut_out(recordings, {}, blur=False) == ([], [])
