"""The figures of a report as numbers: by hand, and the same as on the page."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mien.cli import main
from mien.report import write_report
from mien.report.material import interval, number, points
from mien.report.statistics import Estimate
from mien.types import EXPRESSIONS, FaceIdentity
from mien.wording import percent
from tests.test_events import face, film, save
from tests.test_report import Page
from tests.test_report_figures import HAPPY, NEUTRAL, SAD, smile, unsure

NONE = dict.fromkeys(EXPRESSIONS, 0)


def figures(tmp_path: Path, tables: Sequence[Path], **options: Any) -> dict[str, Any]:
    write_report(tables, tmp_path / "f.json", **options)
    found: dict[str, Any] = json.loads((tmp_path / "f.json").read_text("utf-8"))
    assert found["schema"] == "mien-figures/1"
    assert found["labels"] == list(EXPRESSIONS)
    return found


def estimate(found: dict[str, float | None]) -> Estimate:
    return Estimate(**{key: float("nan") if v is None else v for key, v in found.items()})


def values(shares: dict[str, dict[str, float]]) -> dict[str, float]:
    return {label: found["value"] for label, found in shares.items() if found["value"]}


def keys_of(found: Any) -> set[str]:
    if isinstance(found, list):
        return set().union(*map(keys_of, found))
    return set(found).union(*map(keys_of, found.values())) if isinstance(found, dict) else set()


def test_a_recording_by_hand(tmp_path: Path) -> None:
    """Four seconds, ten frames each: one face for three of them, another for the first two."""
    ada = FaceIdentity("Ada", 0.9)
    happy, sad = (replace(face(1, name, 0.9), identity=ada) for name in ("happy", "sad"))
    other, doubtful = face(2, "neutral", 0.8), unsure(face(1, "neutral", 0.4))
    frames = [[happy, other]] * 10 + [[sad, other]] * 10 + [[doubtful]] * 10 + [[]] * 10
    results = [replace(r, model="m@1") for r in film(*frames, source="films/v.mp4")]
    table = save(tmp_path / "a.jsonl", results, identity=True)
    (tmp_path / "g.csv").write_text("source,group,person,date\nv.mp4,x,Ada L.,2026-03-02\n")
    found = figures(tmp_path, [table], groups=tmp_path / "g.csv")
    (recording,) = found["recordings"]
    named = ("table", "source", "title", "video", "models", "group", "person", "date")
    assert [recording[name] for name in named] == [
        "a.jsonl", "v.mp4", "v.mp4", True, ["m@1"], "x", "Ada L.", "2026-03-02"
    ]  # fmt: skip
    assert recording["recorded_s"] == pytest.approx(4)
    assert recording["with_face_s"] == pytest.approx(3)
    assert recording["in_sight_s"] == pytest.approx(5)  # of two faces together
    assert recording["sure_s"] == pytest.approx(4)
    assert values(recording["shares"]) == pytest.approx(
        {"happy": 0.2, "sad": 0.2, "neutral": 0.4, "uncertain": 0.2}
        | {"expressive": 0.4, "pleasant": 0.2, "unpleasant": 0.2}
    )
    assert recording["segments"] == NONE | {"happy": 1, "sad": 1, "neutral": 1}
    assert recording["changes_per_minute"] == pytest.approx(60 / 5)
    assert recording["transitions"][HAPPY][SAD] == sum(map(sum, recording["transitions"])) == 1
    first, second = recording["faces"]
    assert (first["track_id"], first["track_ids"], first["person"]) == (1, [1], "Ada")
    assert (second["track_id"], second["person"]) == (2, None)
    assert first["in_sight_s"] == pytest.approx(3)
    assert first["sure_s"] == pytest.approx(2)
    assert first["changes_per_minute"] == pytest.approx(60 / 3)
    assert first["shares"]["uncertain"]["value"] == pytest.approx(1 / 3)
    assert first["weighted"]["happy"] == pytest.approx((0.9 + 0.1 / 6 + 0.6 / 6) / 3)
    assert second["segments"] == NONE | {"neutral": 1}
    assert second["changes_per_minute"] == 0
    assert second["weighted"]["neutral"] == pytest.approx(0.8)
    # What never varies counts as one look, at which Wilson's interval begins at 1 / (1 + z^2).
    assert second["looks"] == 1
    assert second["shares"]["neutral"] == pytest.approx(
        {"value": 1, "low": 1 / (1 + 1.959964**2), "high": 1}
    )
    alone = ("shares", "weighted", "looks", "segments", "transitions", "changes_per_minute")
    assert found["overall"] == {"unit": "looks", **{name: recording[name] for name in alone}}
    assert (found["reactions"], found["groups"], found["trends"]) == ([], [], {})


def test_recordings_and_tables_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """By a number and not by their folders, which are nobody's business."""
    both = [r for p in ("P01", "P02") for r in smile(f"{p}/session.mp4")]
    tables = [save(tmp_path / "all.jsonl", both)]
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
        tables.append(save(tmp_path / day / "day.jsonl", smile("cam.mp4")))
    tables.append(save(tmp_path / "x.jsonl", smile("x/session.mp4")))
    recordings = figures(tmp_path, tables)["recordings"]
    assert [(r["table"], r["source"], r["title"]) for r in recordings] == [
        ("all.jsonl", "session.mp4", "session.mp4 (all.jsonl), 1 of 2"),
        ("all.jsonl", "session.mp4", "session.mp4 (all.jsonl), 2 of 2"),
        ("day.jsonl, 1 of 2", "cam.mp4", "cam.mp4 (day.jsonl, 1 of 2)"),
        ("day.jsonl, 2 of 2", "cam.mp4", "cam.mp4 (day.jsonl, 2 of 2)"),
        ("x.jsonl", "session.mp4", "session.mp4 (x.jsonl)"),
    ]
    write_report(tables[:1], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<h3>session.mp4, 1 of 2</h3>" in page
    assert "<h3>session.mp4, 2 of 2</h3>" in page
    assert "P01" not in page


def test_moments_groups_and_sessions_by_hand(tmp_path: Path) -> None:
    films = {"a": smile("a.mp4", after=0.8), "b": smile("b.mp4", after=0.6)}
    calm, glad = [face(1, "neutral", 0.9)], [face(1, "happy", 0.9)]
    films["c"] = film(*[calm] * 320, source="c.mp4")
    films["d"] = film(*[calm] * 160, *[glad] * 160, source="d.mp4")
    tables = [save(tmp_path / f"{name}.jsonl", results) for name, results in films.items()]
    (tmp_path / "m.csv").write_text(
        "time_s,label,source\n2,joke,a.mp4\n2,joke,b.mp4\n99,joke,a.mp4\n0,joke,a.mp4\n99,end,a.mp4\n"
    )
    (tmp_path / "g.csv").write_text(
        "source,group,date\nd.mp4,old,2026-03-08\nc.mp4,new,2026-03-01\n"
        "a.mp4,,2026-03-02\nb.mp4,,2026-03-03\n"
    )
    given = {"markers": tmp_path / "m.csv", "groups": tmp_path / "g.csv"}
    found = figures(tmp_path, tables, **given)
    (joke,) = found["reactions"]  # around the end nobody was seen
    heads = [joke[name] for name in ("label", "n", "unit", "averaged", "missed")]
    assert heads == ["joke", 2, "recordings", 2, 2]
    assert joke["missed_why"] == {"outside": 1, "beginning": 1}
    assert (joke["after_s"], joke["offsets_s"][:5]) == ([0.5, 3], [-1, -0.75, -0.5, -0.25, 0])
    # Student's 12.706 for two, times their deviation over the root of two; no change passes 1.
    assert joke["changes"]["happy"] == pytest.approx(
        {"value": 0.5, "low": 0.5 - 1.2706, "high": 1.0}, rel=1e-3
    )
    curve = joke["curves"]["happy"]["value"]  # the films end four seconds after it
    assert curve == [pytest.approx(0)] * 4 + [pytest.approx(0.5)] * 16 + [None] * 4
    (pair,) = found["groups"]
    assert (pair["first"], pair["second"], pair["n"]) == ("old", "new", [1, 1])
    assert pair["unit"] == "recordings"
    nothing = {"value": None, "low": None, "high": None}
    assert pair["shares"]["happy"] == {
        "first": pytest.approx(0.5), "second": 0, "hedges_g": nothing,
        "cliffs_delta": nothing | {"value": -1},
    }  # fmt: skip
    days = [(s["table"], s["date"], s["enough"]) for s in found["sessions"]]
    assert days == [
        ("c.jsonl", "2026-03-01", True), ("a.jsonl", "2026-03-02", False),
        ("b.jsonl", "2026-03-03", False), ("d.jsonl", "2026-03-08", True),
    ]  # fmt: skip
    assert found["trends"]["pleasant"] == nothing | {"value": pytest.approx(0.5)}  # in a week
    assert found["trends"]["unpleasant"] == nothing | {"value": 0}
    assert found["trends_by_person"] == {}
    text = given["groups"].read_text().replace(",date", ",date,person")
    given["groups"].write_text(re.sub(r"(\d)\n", r"\1,A\n", text, count=2))
    of_one = figures(tmp_path, tables, **given)
    assert of_one["trends"] == {}
    assert of_one["trends_by_person"] == {"A": found["trends"]}
    assert [s["person"] for s in of_one["sessions"]] == ["A", None, None, "A"]
    assert found["overall"]["unit"] == "recordings"
    document = (Path(__file__).parents[1] / "docs" / "reports.md").read_text("utf-8")
    explained = set(re.findall(r"[`\"](\w+)[`\"]", document)) | set(EXPRESSIONS)
    assert keys_of(found) <= explained


def test_the_page_shows_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = []
    for i in range(6):
        frames = [[face(1, "neutral", 0.8), face(2, "sad", 0.6)]] * 20
        frames += [[face(1, "happy", 0.6 + i / 20)], []] * (20 + 2 * i)
        tables.append(str(save(tmp_path / f"t{i}.jsonl", film(*frames, source=f"clip{i}.mp4"))))
    (tmp_path / "m.csv").write_text("time_s,label\n2,joke\n")
    rows = [f"clip{i}.mp4,{'ab'[i % 2]},2026-01-{1 + i:02}\n" for i in range(6)]
    (tmp_path / "g.csv").write_text("source,group,date\n" + "".join(rows))
    files = [str(tmp_path / name) for name in ("r.html", "f.json", "m.csv", "g.csv")]
    html, out, markers, groups = files
    command = ["report", *tables, "--markers", markers, "--groups", groups, "--no-faces"]
    assert main([*command, "--out", html, "--out", out]) == 0
    assert capsys.readouterr().err == f"mien: {html}\nmien: {out}\n"
    page = Page(Path(html).read_text("utf-8"))
    found = json.loads(Path(out).read_text("utf-8"))

    def rows_of(*head: str) -> list[list[str]]:
        (rows,) = [t[1:] for t in page.tables if t[0][: len(head)] == list(head)]
        return rows

    shares = found["overall"]["shares"]
    written = {row[0].partition(" (")[0]: row[1:3] for row in rows_of("expression", "sure answers")}
    assert written == {
        label: [percent(e.value), interval(e, bare=True)]
        for label, e in ((label, estimate(share)) for label, share in shares.items())
    }
    changes = found["reactions"][0]["changes"]
    assert rows_of("expression", "change in percentage points (95% interval)") == [
        [label, points(estimate(change))] for label, change in changes.items()
    ]
    (pair,) = found["groups"]
    assert [row[:4] + row[5:] for row in rows_of("expression", "a (n = 3)")] == [
        [
            label, percent(of["first"]), percent(of["second"]), number(estimate(of["hedges_g"])),
            number(estimate(of["cliffs_delta"])),
        ]
        for label, of in pair["shares"].items()
    ]  # fmt: skip
    counts = found["overall"]["transitions"]
    total, rate = sum(map(sum, counts)), found["overall"]["changes_per_minute"]
    assert counts[NEUTRAL][HAPPY] == 6
    assert f"{total} transitions, {rate:.1f} to another expression in a minute" in page.words
    sure = {row[1]: row[2].partition(" s of")[0] for row in rows_of("day", "table")}
    assert sure == {s["table"]: f"{s['sure_s']:g}" for s in found["sessions"]}


def test_what_is_not_known_is_null(tmp_path: Path) -> None:
    pictures = [*film([face(None, "happy", 0.9)], source="a.jpg"), *film([], source="b.jpg")]
    with_face, without = figures(tmp_path, [save(tmp_path / "p.jsonl", pictures)])["recordings"]
    assert (with_face["video"], with_face["in_sight_s"], with_face["sure_s"]) == (False, 1, 1)
    assert values(with_face["shares"])["happy"] == 1
    assert with_face["changes_per_minute"] is None
    assert (without["in_sight_s"], without["shares"], without["faces"]) == (0, None, [])
    found = figures(tmp_path, [save(tmp_path / "n.jsonl", film([], []))])
    assert found["overall"] is None
    assert found["recordings"][0]["recorded_s"] == pytest.approx(0.2)


def test_tables_are_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = save(tmp_path / "t.json", smile())
    before = table.read_bytes()
    assert main(["report", str(table), "--out", str(table), "--overwrite"]) == 2
    assert "t.json: is itself to be analysed" in capsys.readouterr().err
    assert table.read_bytes() == before
    out = str(tmp_path / "f.json")
    assert main(["report", str(table), "--out", out]) == 0
    assert main(["report", str(table), "--out", out]) == 2
    assert "already there" in capsys.readouterr().err
    assert main(["report", out, "--out", str(tmp_path / "g.json")]) == 2
    assert "f.json: not results of" in capsys.readouterr().err
