"""Results read back are what was written; timelines show what they hold."""

import csv
import json
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mien import results as results_room
from mien.cli import main
from mien.companions import read_markers
from mien.errors import SourceError
from mien.results import read_results
from mien.sinks import open_sink
from mien.timeline import build_timeline, write_timeline
from mien.types import (
    EXPRESSIONS,
    TEXT_COLUMNS,
    FaceIdentity,
    FaceQuality,
    FaceResult,
    FaceShape,
    FrameResult,
)
from tests.test_events import CROWD, face, film, save

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
numbers = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def faces(draw: st.DrawFn) -> FaceResult:
    probs = dict(zip(EXPRESSIONS, draw(st.tuples(*[st.floats(0, 1)] * 7)), strict=True))
    expression = draw(st.sampled_from(EXPRESSIONS))
    return FaceResult(
        draw(st.tuples(numbers, numbers, numbers, numbers)),
        draw(st.floats(0, 1)),
        tuple(draw(st.tuples(numbers, numbers)) for _ in range(5)),
        expression,
        probs[expression],
        draw(st.booleans()),
        probs,
        draw(st.none() | st.integers(1, 9)),
    )


@given(st.lists(st.tuples(st.sampled_from(["a,b\n.jpg", "ü.mp4"]), st.lists(faces(), max_size=3))))
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_what_is_written_is_read_back(
    tmp_path: Path, frames: list[tuple[str, list[FaceResult]]]
) -> None:
    results = [
        FrameResult(source, i, i / 7, 64, 48, tuple(found))
        for i, (source, found) in enumerate(frames)
    ]
    for suffix in SUFFIXES:
        file = tmp_path / f"r{suffix}"
        file.unlink(missing_ok=True)
        save(file, results)
        if results:
            assert list(read_results(file)) == results, suffix


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", b"", "expected results of"),
        ("a.segments.csv", b"", "expected results of"),
        ("a.jsonl", b"{}", "it has no 'schema'"),
        ("a.jsonl", b"no json", "JSONDecodeError"),
        ("a.json", b'[{"schema": "mien/9"}]', "expected schema mien/1, found mien/9"),
        ("a.csv", b"a,b\n1,2\n", "it has no 'source'"),
        ("a.parquet", b"", "an empty file"),
    ],
)
def test_other_files_are_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=says) as caught:
        list(read_results(tmp_path / name))
    assert name in str(caught.value)
    with pytest.raises(SourceError, match="cannot be read"):
        list(read_results(tmp_path / "nowhere.csv"))


def test_json_in_other_layouts(tmp_path: Path) -> None:
    results = film(*CROWD)
    objects = [result.to_dict() for result in results]
    file = tmp_path / "a.json"
    for text in (json.dumps(objects), json.dumps(objects, indent=1), "[\n]\n"):
        file.write_text(text)
        read = [result.to_dict() for result in read_results(file)]
        assert read == (objects if "happy" in text else [])
    save(file, results, overwrite=True)
    lines = file.read_text().splitlines()
    for cut in (["[", lines[1].removesuffix(",")], lines[:3], [*lines[:3], lines[3][:50]]):
        file.write_text("\n".join(cut))
        with pytest.raises(SourceError, match=r"a\.json: not results"):
            list(read_results(file))


def test_an_identity_and_a_shape_are_checked(tmp_path: Path) -> None:
    shape = FaceShape(0.9, 45, 0, 0, (0.1, 0.1), (0.1, 0.1), 0.1, 0.8)
    named = replace(face(1, "happy", 0.25), shape=shape, identity=FaceIdentity("Ada", 0.5))
    file = tmp_path / "a.jsonl"
    (result,) = (r.to_dict() for r in film([named]))
    (its,) = result["faces"]
    file.write_text(json.dumps(result))
    (expected,) = read_results(file)
    its["identity"]["note"] = its["shape"]["note"] = "added"
    file.write_text(json.dumps(result))
    assert list(read_results(file)) == [expected]
    for part, value in (("identity", {"person": 7}), ("shape", {"yaw_deg": "far"})):
        wrong = its | {part: its[part] | value}
        file.write_text(json.dumps(result | {"faces": [wrong]}))
        with pytest.raises(SourceError, match=r"a\.jsonl: not results .*(found 7|'far')"):
            list(read_results(file))


@pytest.mark.parametrize("value", ["x", None, [0], 0.5])
@pytest.mark.parametrize("name", ["frame", "time_s", "width", "height"])
def test_a_frame_of_json_is_checked_as_one_of_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, value: object
) -> None:
    lines = [json.dumps(result.to_dict() | {name: value}) for result in film(*CROWD)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    code = main(["plot", str(tmp_path / "a.jsonl"), "--out", str(tmp_path / "t.html")])
    said = capsys.readouterr().err
    if name == "time_s" and value == 0.5:
        assert code == 0
    else:
        assert code == 2
        assert "a.jsonl: not results of `mien analyze` (" in said


def test_no_table_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines without an end, and frames without one; the whole table may be as long as it likes."""
    monkeypatch.setattr(results_room, "_LONGEST_FRAME", 5000)
    results = film(*[(face(1, "happy", 0.25),)] * 60)
    for suffix in (".jsonl", ".json", ".csv"):
        file = save(tmp_path / f"a{suffix}", results)
        assert file.stat().st_size > 5000
        assert list(read_results(file)) == results
    crowd = film([face(number, "happy", 0.25) for number in range(100)])
    begins = {suffix: (tmp_path / f"a{suffix}").read_text() for suffix in (".jsonl", ".csv")}
    bad = {
        "crowd.jsonl": save(tmp_path / "c.jsonl", crowd).read_text(),
        "crowd.json": save(tmp_path / "c.json", crowd).read_text(),
        "crowd.csv": save(tmp_path / "c.csv", crowd).read_text(),
        "head.csv": "a," * 5000,
        "row.csv": begins[".csv"] + '"\n",' * 2000,
        "line.jsonl": begins[".jsonl"] + " " * 6000,
    }
    for name, text in bad.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(SourceError, match="a frame has more than 5,000 characters"):
            list(read_results(tmp_path / name))
    file = tmp_path / "one.json"
    size = file.write_text(json.dumps([result.to_dict() for result in results]))
    monkeypatch.setattr(results_room, "_MOST_WHOLE_MB", size / 1e6)
    assert list(read_results(file)) == results
    monkeypatch.setattr(results_room, "_MOST_WHOLE_MB", (size - 1) / 1e6)
    with pytest.raises(SourceError, match=r"more than 0\.0.* MB without one frame a line"):
        list(read_results(file))


def test_tables_that_other_programs_saved_anew(tmp_path: Path) -> None:
    doubt = replace(face(1, "sad", 0.4), uncertain=True, quality=FaceQuality(0.75))
    known = replace(doubt, track_id=2, identity=FaceIdentity("Ada", None))
    unknown = replace(doubt, identity=FaceIdentity(None, None))
    results = [replace(r, model="m@1") for r in film([unknown], [], [known])]
    with open_sink(tmp_path / "a.csv", identity=True) as sink, open_sink(tmp_path / "a.jsonl") as j:
        for result in results:
            sink.write(result)
            j.write(result)
    pd.read_csv(tmp_path / "a.csv").to_csv(tmp_path / "pandas.csv")
    text = (tmp_path / "a.csv").read_text()
    lines = text.splitlines()
    cells = [["TRUE" if cell == "True" else cell for cell in row] for row in csv.reader(lines)]
    empty = [[cell or "NA" for cell in row] for row in cells]
    for name, rows in {"sheet": cells, "r": empty}.items():
        with (tmp_path / f"{name}.csv").open("w", encoding="utf-8-sig", newline="") as file:
            csv.writer(file).writerows(rows)
    objects = (tmp_path / "a.jsonl").read_text("utf-8")
    noted = objects.replace('"uncertain"', '"note": "look here", "uncertain"')
    (tmp_path / "noted.jsonl").write_text(noted, "utf-8-sig")
    for name in ("pandas.csv", "sheet.csv", "r.csv", "noted.jsonl"):
        read = list(read_results(tmp_path / name))
        assert [replace(r, faces=()) for r in read] == [replace(r, faces=()) for r in results], name
        assert [f.uncertain for r in read for f in r.faces] == [True, True], name
        assert [f.track_id for r in read for f in r.faces] == [1, 2], name
        assert [f.quality for r in read for f in r.faces] == [FaceQuality(0.75)] * 2, name
        assert [f.person for r in read for f in r.faces] == [None, "Ada"], name
    (tmp_path / "a.csv").write_text(text.replace("True", "yes"))
    with pytest.raises(SourceError, match="expected uncertain to be True or False, found yes"):
        list(read_results(tmp_path / "a.csv"))


def test_names_that_pandas_takes_for_numbers(tmp_path: Path) -> None:
    """In Parquet they are numbers then, and with empty cells beside them such with fractions."""
    known = replace(face(2, "sad", 0.4), identity=FaceIdentity("7", 0.75))
    results = film([known], [], [replace(known, identity=FaceIdentity("12", None))], source="2026")
    with open_sink(tmp_path / "a.csv", identity=True) as sink:
        for result in results:
            sink.write(result)
    table = pd.read_csv(tmp_path / "a.csv")
    assert table["person"].dtype.kind == "f"
    table.to_parquet(tmp_path / "a.parquet")
    read = list(read_results(tmp_path / "a.parquet"))
    assert [r.source for r in read] == ["2026"] * 3
    assert [f.person for r in read for f in r.faces] == ["7", "12"]
    write_timeline(build_timeline(read), tmp_path / "t.html")
    assert "12 (face 2)" in (tmp_path / "t.html").read_text("utf-8")


def test_tables_as_spreadsheets_save_them_where_a_comma_begins_fractions(tmp_path: Path) -> None:
    """Semicolons between columns, and truths in the user's language."""
    doubt = replace(face(1, "sad", 0.4), uncertain=True, quality=FaceQuality(0.25, ("small",)))
    results = [replace(r, model="m@1.5") for r in film([doubt], [], [face(1, "happy", 0.75)])]
    save(tmp_path / "a.csv", results)
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    for row in rows:
        row |= {name: row[name].replace(".", ",") for name in row if name not in TEXT_COLUMNS}
        row["uncertain"] = {"True": "WAHR", "False": "FALSCH", "": ""}[row["uncertain"]]
    german = tmp_path / "german.csv"
    for coded in ("utf-8-sig", "cp1252"):
        with german.open("w", encoding=coded, newline="") as file:
            sheet = csv.DictWriter(file, rows[0], delimiter=";")
            sheet.writeheader()
            sheet.writerows(rows)
        assert list(read_results(german)) == list(read_results(tmp_path / "a.csv"))
    german.write_bytes(german.read_bytes().replace(b"v.mp4", b"M\xfcller.mp4"))
    with pytest.raises(SourceError, match=r"not results of .* in UTF-8 .* as “CSV UTF-8”"):
        list(read_results(german))


def test_damaged_parquet_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    save(file, film(*CROWD))
    whole = file.read_bytes()
    for at in range(4, len(whole), len(whole) // 60):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with suppress(SourceError):  # a changed value is not always noticed, but never fatal
            list(read_results(file))
        file.write_bytes(whole[:at])
        with pytest.raises(SourceError, match=r"a\.parquet: not results"):
            list(read_results(file))


def test_a_timeline_by_hand() -> None:
    first, second = build_timeline(film(*CROWD)).faces
    assert (first.track_id, second.track_id) == (1, 2)
    assert first.seen_s == pytest.approx(1.1)
    assert first.shares() == pytest.approx({"happy": 1.0})
    assert second.shares() == pytest.approx({"sad": 0.3 / 0.8, "neutral": 0.4 / 0.8})
    assert first.probs[:, EXPRESSIONS.index("happy")] == pytest.approx(0.9)


def test_long_films_are_thinned_and_gaps_stay_gaps() -> None:
    frames = [[face(1, "happy", 0.9)]] * 4000 + [[]] * 100 + [[face(1, "sad", 0.9)]] * 4000
    (shown,) = build_timeline(film(*frames, fps=25)).faces
    assert len(shown.times_s) < 1210
    assert (shown.times_s != shown.times_s).sum() == 1  # one NaN: the gap
    assert shown.seen_s == pytest.approx(8000 / 25, abs=0.1)
    assert [s.expression for s in shown.segments] == ["happy", "sad"]


def test_a_short_visit_in_a_long_film_is_drawn(tmp_path: Path) -> None:
    """From its first look to its last, and not narrower than can be seen."""
    glad = [face(1, "happy", 0.9)]
    visits = {100: 1, 20_000: 4, 45_000: 40, 89_999: 1}  # frames, at 25 a second: an hour
    frames = [[face(2, "sad", 0.9)] for _ in range(90_000)]
    for begin, n in visits.items():
        for i in range(begin, begin + n):
            frames[i] = [*frames[i], *glad]
    timeline = build_timeline(film(*frames, fps=25))
    long, short = timeline.faces
    assert (long.times_s[0], long.times_s[-1]) == (timeline.start_s, timeline.end_s)
    write_timeline(replace(timeline, faces=(short,)), tmp_path / "t.html")
    page = (tmp_path / "t.html").read_text("utf-8")
    happy = re.findall(r'<polygon points="(.*?)" fill="#f0e442"', page)
    ends = [[float(x) for x in re.findall(r"([\d.]+),", points)] for points in happy]
    assert len(ends) == len(visits)
    for (begin, n), x in zip(visits.items(), ends, strict=True):
        middle = (begin + (n - 1) / 2) / 89.999
        assert max(x) - min(x) >= 0.7
        assert min(x) - 0.1 <= middle <= max(x) + 0.1
        assert min(x) >= 0
        assert max(x) <= 1000
    write_timeline(replace(timeline, faces=(short,)), tmp_path / "t.png")
    with Image.open(tmp_path / "t.png") as picture:
        r, g, b = np.asarray(picture.convert("RGB"), int)[: picture.height // 2].transpose(2, 0, 1)
    assert (np.minimum(r, g) > b + 20).any(0).sum() >= len(visits)  # yellow columns


def test_a_rare_look_lasts_a_step(tmp_path: Path) -> None:
    film_of = film(*[[]] * 5, [face(1, "happy", 0.9)], *[[]] * 5, fps=0.5)
    write_timeline(build_timeline(film_of), tmp_path / "t.html")
    (points,) = re.findall(r'points="(.*?)" fill="#f0e442"', (tmp_path / "t.html").read_text())
    x = [float(value) for value in re.findall(r"([\d.]+),", points)]
    assert (min(x), max(x)) == (450, 550)


def test_segments_take_no_more_than_the_time_in_sight() -> None:
    """A camera that begins slowly: what is bridged then is in sight, as later it would not be."""
    times_s = [0.0, 1.0, 2.0, 3.0, 4.0, *(5 + 0.04 * i for i in range(105))]
    results = film(*[[face(1, "happy", 0.9)]] * len(times_s))
    slow = [replace(result, time_s=time_s) for result, time_s in zip(results, times_s, strict=True)]
    (shown,) = build_timeline(slow).faces
    assert shown.seen_s == pytest.approx(times_s[-1])
    assert shown.shares() == pytest.approx({"happy": 1.0})


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(SourceError, match="A timeline needs the results of a video with a face"):
        build_timeline(film([face(None, "happy", 0.9)]))
    with pytest.raises(SourceError, match="shows one video"):
        build_timeline([*film(*CROWD), *film(*CROWD, source="w.mp4")])


def test_a_table_out_of_order_is_not_drawn() -> None:
    results = film(*CROWD)
    with pytest.raises(SourceError, match="sort the table"):
        build_timeline([results[0], results[2], results[1]])


def test_the_page_holds_everything_and_nothing_else(tmp_path: Path) -> None:
    results = film(*CROWD, source="</script><b>x.mp4")
    write_timeline(build_timeline(results), tmp_path / "a" / "t.html")
    page = (tmp_path / "a" / "t.html").read_text()
    assert not re.search(r"https?:|src=|@import|url\(", page)
    assert "<b>x.mp4" not in page
    data = json.loads(re.findall(r'id="data">(.*?)</script>', page)[0])
    assert data["labels"] == list(EXPRESSIONS)
    assert [len(f["t"]) for f in data["faces"]] == [12, 9]
    assert len(re.findall(r"<svg[^<>]*>", page)) == page.count("</svg>") == 4
    assert page.count("<polygon") == 14
    assert page.count("<rect") == 3
    assert "face 2, 0.8 s in sight; in segments: neutral 50%, sad 37%" in page


@pytest.mark.parametrize(("faces", "says"), [(13, "1 more face was"), (14, "2 more faces were")])
def test_the_page_says_how_many_faces_it_leaves_out(tmp_path: Path, faces: int, says: str) -> None:
    crowd = [face(number, "happy", 0.9) for number in range(1, faces + 1)]
    write_timeline(build_timeline(film(crowd, crowd)), tmp_path / "t.html")
    assert f"<p>{says} in sight for a shorter time." in (tmp_path / "t.html").read_text()


def test_a_name_that_is_no_text_has_a_mark_on_the_page(tmp_path: Path) -> None:
    write_timeline(build_timeline(film(*CROWD, source="\udc80.mp4")), tmp_path / "t.html")
    assert "<h1>?.mp4</h1>" in (tmp_path / "t.html").read_text("utf-8")


def test_a_page_shows_no_token_of_an_address(tmp_path: Path) -> None:
    results = film(*CROWD, source="https://example.org/a/live.m3u8?token=secret")
    write_timeline(build_timeline(results), tmp_path / "t.html")
    page = (tmp_path / "t.html").read_text("utf-8")
    assert "<h1>live.m3u8</h1>" in page
    assert "secret" not in page


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_faces_have_their_names(tmp_path: Path, suffix: str) -> None:
    """A name is corrected by what comes later; who was never recognized keeps a number."""

    def of(person: str | None, expression: str) -> FaceResult:
        return replace(face(1, expression, 0.9), identity=FaceIdentity(person, None))

    stranger = replace(face(2, "sad", 0.9), identity=FaceIdentity(None, None))
    names = [None] * 5 + ["person-1"] * 10 + ["A<b> & $x$ $"] * 10 + [None] * 5
    results = film(*[[of(name, "happy"), stranger] for name in names])
    save(tmp_path / f"r{suffix}", results, identity=True)
    timeline = build_timeline(read_results(tmp_path / f"r{suffix}"))
    assert [face.person for face in timeline.faces] == ["A<b> & $x$ $", None]
    write_timeline(timeline, tmp_path / "t.html")
    page = (tmp_path / "t.html").read_text()
    assert "<h2>A&lt;b&gt; &amp; $x$ $ (face 1), 2.9 s in sight" in page
    assert "<h2>face 2, 2.9 s in sight" in page
    assert "<td>A&lt;b&gt; &amp; $x$ $ (1)<td>happy" in page
    assert "<td>2<td>sad" in page
    assert "A<b>" not in page
    write_timeline(timeline, tmp_path / "t.svg")
    drawn = (tmp_path / "t.svg").read_text()
    assert "<!-- A&lt;b&gt; &amp; $x$ $ (face 1), 2.9 s" in drawn


MARKERS = """time_s,label,source
0.5,a joke <b> $x$,
0.25,scene,v.mp4
0.5,applause,
0.4,other film,w.mp4
9,after the end,
"""


def test_moments_are_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of this video and within it, at their time, under their name, in page and picture."""
    (tmp_path / "m.csv").write_text(MARKERS)
    save(tmp_path / "r.jsonl", film(*CROWD, source="films/v.mp4"))
    timeline = build_timeline(
        read_results(tmp_path / "r.jsonl"), markers=read_markers(tmp_path / "m.csv")
    )
    assert timeline.moments == ((0.25, "scene"), (0.5, "a joke <b> $x$, applause"))
    command = ["plot", str(tmp_path / "r.jsonl"), "--markers", str(tmp_path / "m.csv"), "--out"]
    assert main([*command, str(tmp_path / "t.html")]) == 0
    page = (tmp_path / "t.html").read_text()
    lines = re.findall(r'<line class="moment" x1="([\d.]+)" x2="([\d.]+)"', page)
    x = [1000 * time_s / 1.1 for time_s in (0.25, 0.5)] * 2  # two faces
    assert (
        [float(a) for a, _ in lines] == [float(b) for _, b in lines] == pytest.approx(x, abs=0.01)
    )
    widths = re.findall(r'<span style="left:([\d.]+)%;max-width:([\d.]+)%">(.*?)</span>', page)
    assert [name for *_, name in widths] == ["scene", "a joke &lt;b&gt; $x$, applause"] * 2
    assert [sum(map(float, row[:2])) for row in widths[:2]] == pytest.approx(
        [50 / 1.1, 100], abs=0.1
    )
    assert "<tr><td>0.50<td>a joke &lt;b&gt; $x$, applause" in page
    assert main([*command, str(tmp_path / "t.svg")]) == 0
    drawn = (tmp_path / "t.svg").read_text()
    assert "<!-- scene -->" in drawn
    assert "<!-- a joke &lt;b&gt; $x$, applause -->" in drawn
    assert drawn.count("stroke-dasharray: 4.44") == 4  # two moments in two panels
    assert capsys.readouterr().err.count("\n") == 2  # where the files are, and nothing else
    (tmp_path / "m.csv").write_text("time_s,label\n7,too late\n")
    assert main([*command, str(tmp_path / "u.html")]) == 0
    said = capsys.readouterr().err
    assert "m.csv: holds no moment of films/v.mp4, which ends at 1.1 s" in said
    assert 'class="moment' not in (tmp_path / "u.html").read_text()


def test_a_part_of_a_film_fills_the_width(tmp_path: Path) -> None:
    """An hour in: the first frame lies at the left edge, the last at the right."""
    plain = build_timeline(film(*CROWD))
    hour = [replace(result, time_s=result.time_s + 3600) for result in film(*CROWD)]
    later = build_timeline(hour)
    assert (later.start_s, later.end_s) == pytest.approx((3600, 3601.1))
    for timeline, name in ((plain, "a"), (later, "b")):
        write_timeline(timeline, tmp_path / f"{name}.html")
    shapes = [
        re.findall(r'<polygon points="(.*?)"', (tmp_path / f"{name}.html").read_text())
        for name in "ab"
    ]
    assert shapes[0] == shapes[1]
    assert min(float(x) for x in re.findall(r"([\d.]+),", " ".join(shapes[1]))) == 0


def test_names_in_any_script_can_be_drawn(tmp_path: Path) -> None:
    shown = replace(face(1, "happy", 0.9), identity=FaceIdentity("李小龍 $\\frac", None))
    write_timeline(build_timeline(film(*[[shown]] * 9)), tmp_path / "t.png")
    assert (tmp_path / "t.png").is_file()


def test_plot_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "r.csv", film(*CROWD))
    command = ["plot", str(tmp_path / "r.csv"), "--out"]
    assert main([*command, str(tmp_path / "t.png")]) == 0
    with Image.open(tmp_path / "t.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or []}
    assert {(240, 228, 66), (0, 114, 178)} <= colours  # happy and sad
    assert main([*command, str(tmp_path / "t.png")]) == 2
    assert "already there" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "t.png"), "--overwrite"]) == 0
    assert main([*command, str(tmp_path / "t.doc")]) == 2
    assert "expected .png" in capsys.readouterr().err
    for nowhere in (tmp_path / "r.csv", tmp_path / "new"):
        assert main([*command, str(nowhere / "t.html")]) == 2
        assert f"there is no folder {nowhere}. Create it first" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
