"""Pictures of peaks: which, from where, and how they are made unrecognizable."""

import json
from base64 import b64decode
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

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
    return filmed(tmp_path / "clip.mp4")


def filmed(file: Path, *, rate: int = 10, ground: tuple[int, int] = (0, 2)) -> Path:
    """The clip, with so many of its frames a second, and with other channels for its ground."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 128
        stream.pix_fmt = "yuv444p"
        stream.options = {"crf": "4"}
        for i in range(0, 60, 10 // rate):
            image = np.zeros((128, 128, 3), np.uint8)
            image[:, :, ground[i >= 40]] = 200
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


@pytest.mark.parametrize("faces", ["blurred", None, False])
def test_no_picture_where_nobody_knows_which(
    clip: Path, table: Path, tmp_path: Path, faces: Any
) -> None:
    with pytest.raises(ValueError, match="faces: expected one of 'show', 'blur', 'hide'"):
        write_report([table], tmp_path / "r.html", faces=faces)


@pytest.mark.parametrize(
    ("out", "view", "faces", "why"),
    [
        ("r.html", "research", "hide", "pictures of faces are left out"),
        ("r.html", "experience", "show", "the view experience shows no faces"),
        ("r.json", "research", "show", "figures (.json) hold no pictures"),
    ],
)
def test_videos_that_are_not_opened_are_mentioned(
    table: Path, tmp_path: Path, out: str, view: str, faces: Literal["show", "hide"], why: str
) -> None:
    wrong = [tmp_path / "typo.mp4"]
    outcome = write_report([table], tmp_path / out, view=view, faces=faces, videos=wrong)
    assert outcome.notes == (f"the videos that were given are not opened: {why}",)
    assert not write_report([table], tmp_path / out, view=view).notes


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
    assert find_videos(recordings, []) == ({0: table.parent / clip.name}, [])
    recordings += [replace(each, source=f"other/{clip.name}") for each in take_in(table)]
    assert find_videos(recordings, []) == ({}, [])  # it can be one of them only


def _two_days(tmp_path: Path) -> tuple[list[Path], list[Path]]:
    """Videos of one name and size, green on the first day and blue on the second; their tables."""
    videos, tables = [], []
    for day, ground in (("day1", (0, 1)), ("day2", (0, 2))):
        (tmp_path / "films" / day).mkdir(parents=True)
        videos.append(filmed(tmp_path / "films" / day / "clip.mp4", ground=ground))
        results = [*smile(n=40), *smile(at=0, after=0.9)[40:]]
        tables.append(
            save(
                tmp_path / f"{day}.jsonl",
                [
                    replace(
                        r,
                        source=f"{day}\\clip.mp4",
                        width=128,
                        height=128,
                        faces=[replace(f, box=BOX) for f in r.faces],
                    )
                    for r in results
                ],
            )
        )
    return videos, tables


def test_each_of_two_videos_of_one_name_gets_its_own(tmp_path: Path) -> None:
    videos, tables = _two_days(tmp_path)
    out = tmp_path / "r.html"
    for given in (videos, videos[::-1]):
        assert not write_report(tables, out, faces="show", videos=given).notes
        colours = [int(image[5, 5].argmax()) for image in pictures(out.read_text())]
        assert sorted(colours) == [1, 2]
        for table, colour in zip(tables, (1, 2), strict=True):
            recordings = take_in(table)
            found, _ = find_videos(recordings, given)
            assert found == {0: videos[colour - 1]}
    both = [*take_in(tables[0]), *take_in(tables[1])]
    assert find_videos(both, videos[1:]) == ({1: videos[1]}, [])  # nobody gets the other's


def test_a_video_that_may_be_of_several_is_refused(tmp_path: Path) -> None:
    videos, tables = _two_days(tmp_path)
    moved = tmp_path / "clip.mp4"
    moved.write_bytes(videos[0].read_bytes())
    both = [*take_in(tables[0]), *take_in(tables[1])]
    with pytest.raises(ConfigError, match=r"may be day1.*clip\.mp4 of .* or day2.* ends as in"):
        find_videos(both, [moved])
    elsewhere = [tmp_path / "a" / "clip.mp4", tmp_path / "b" / "clip.mp4"]
    with pytest.raises(ConfigError, match=r"a.clip\.mp4 and .*b.clip\.mp4: either may be day1"):
        find_videos(both[:1], elsewhere)
    # Beside tables in two folders lie two videos, although both are called the same.
    beside = [
        replace(r, table=tmp_path / f / "t.jsonl", source="clip.mp4")
        for r, f in zip(both, "ab", strict=True)
    ]
    with pytest.raises(
        ConfigError, match=r"clip\.mp4: may be clip\.mp4 of .*a.t\.jsonl or clip\.mp4"
    ):
        find_videos(beside, [moved])
    # Two tables of one source may well be of one video.
    assert find_videos([*both[:1], *both[:1]], [moved]) == ({0: moved, 1: moved}, [])


def test_a_path_from_here_and_from_the_table_is_nobodys(
    clip: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another person's video of that name in the folder where the report is made."""
    here = tmp_path / "here"
    here.mkdir()
    other = filmed(here / "clip.mp4", ground=(0, 1))
    monkeypatch.chdir(here)
    out = tmp_path / "r.html"
    (note,) = write_report([table], out, faces="show").notes
    assert "no pictures of clip.mp4: a file of that name lies here" in note
    assert not pictures(out.read_text())
    assert not write_report([table], out, faces="show", videos=[clip]).notes
    (image,) = pictures(out.read_text())
    assert image[5, 5].argmax() == 2
    other.unlink()
    assert not write_report([table], out, faces="show").notes


@pytest.mark.parametrize("faces", ["show", "blur"])
def test_a_frame_of_another_time_is_not_shown(
    table: Path, tmp_path: Path, faces: Literal["show", "blur"]
) -> None:
    """The video at two frames a second: the peak, 4.1 s, lies between two of them."""
    text = table.read_text().replace('"frame": 40,', '"frame": 40, "later": 1,')
    lines = text.splitlines(keepends=True)
    table.write_text("".join(line for line in lines if '"later"' not in line))
    filmed(tmp_path / "clip.mp4", rate=2)
    (note,) = write_report([table], tmp_path / "r.html", faces=faces).notes
    assert note.startswith("no pictures of clip.mp4: has no frame at 4.1 s. It is another video")
    assert str(tmp_path) not in (tmp_path / "r.html").read_text()
    assert not pictures((tmp_path / "r.html").read_text())


@pytest.mark.parametrize("off_s", [-0.004, 0.0004, 0.004])
def test_times_may_be_rounded(clip: Path, table: Path, tmp_path: Path, off_s: float) -> None:
    lines = [json.loads(line) for line in table.read_text().splitlines()]
    lines = [line | {"time_s": max(0.0, line["time_s"] + off_s)} for line in lines]
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert not write_report([table], tmp_path / "r.html", faces="show").notes
    (image,) = pictures((tmp_path / "r.html").read_text())
    assert image[5, 5] == pytest.approx([0, 0, 200], abs=30)


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
    assert find_videos(recordings, []) == ({}, [])
    assert cut_out(recordings, {}, blur=False) == ([], [])
