"""Reports of tables that a client sends: the page, and what is refused."""

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from mien.pipeline import Analyzer, Found
from mien.report import write_report
from mien.server import reports, uploads
from mien.server.jobs import Jobs
from mien.server.pictures import Pictures
from mien.sinks import to_json
from mien.types import Frame, UInt8Array
from tests.servers import running


@pytest.fixture(scope="module")
def client(analyzer: Analyzer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running(analyzer, tmp_path_factory.mktemp("data")) as client:
        yield client


@pytest.fixture(scope="module")
def table(analyzer: Analyzer, portrait: UInt8Array) -> bytes:
    following = analyzer.following()
    results = [
        analyzer.analyze_frame(Frame(portrait, "<b>me</b>", i, i / 10), following=following)
        for i in range(5)
    ]
    return "".join(f"{to_json(result)}\n" for result in results).encode()


def ask(client: httpx.Client, *tables: tuple[str, bytes], **query: str) -> httpx.Response:
    files = [("file", named) for named in tables]
    return client.post("/v1/reports", files=files, params=query, timeout=60)


def test_a_table_becomes_a_page(client: httpx.Client, table: bytes) -> None:
    answer = ask(client, ("../../x.JSONL", table), view="wellbeing", purpose="a <i>trial</i>")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert "<b>me" not in answer.text
    assert "a &lt;i&gt;trial&lt;/i&gt;" in answer.text
    assert "no diagnosis" in answer.text.lower()


@pytest.mark.parametrize(
    ("name", "content", "query", "expected"),
    [
        ("x.txt", b"a", {}, "expected a table"),
        ("x.parquet", b"PAR1", {}, "expected a table"),
        ("x.csv", b"not,ours\n1,2\n", {}, "not results"),
        ("", b"a", {}, "no name: expected a table"),
        ("x.jsonl", b"", {}, ""),
        ("x.jsonl", b"{}", {}, "not results"),
        ("x.jsonl", None, {"view": "nosuch"}, "expected one of"),
    ],
)
def test_what_is_refused(
    client: httpx.Client,
    table: bytes,
    name: str,
    content: bytes | None,
    query: dict[str, str],
    expected: str,
) -> None:
    answer = ask(client, (name, table if content is None else content), **query)
    assert answer.status_code == 422, answer.text
    assert expected in answer.json()["error"]
    assert "/tmp" not in answer.text


def test_tables_keep_their_names(client: httpx.Client, table: bytes) -> None:
    bad = b"not,a,table\n1,2,3\n"
    refused = ask(client, ("may-visit.csv", bad))
    assert refused.json()["error"].startswith("may-visit.csv: not results")
    refused = ask(client, ("a.csv", bad), ("b:.csv", bad))
    assert refused.json()["error"].startswith("none of 2 tables can be read: a.csv: not results")
    assert "; b:.csv: not results" in refused.text
    long = "\u00fc" * 190
    names = ["march.jsonl", "a/../april.jsonl", "..jsonl", "c:5>6.jsonl", f"{long}.jsonl"]
    tables = [  # of different recordings: one that is there twice is named for that
        (name, table.replace(b'"source": "', b'"source": "%d' % i)) for i, name in enumerate(names)
    ]
    answer = ask(client, *tables, ("bad.csv", bad), view="wellbeing")
    assert answer.status_code == 200, answer.text
    places = [answer.text.rindex(name) for name in ("march.", "april.", "c:5&gt;6.", long[:100])]
    assert places == sorted(places)  # as they were sent
    assert "bad.csv: not results" in answer.text
    assert "/tmp" not in answer.text


def test_reports_have_a_limit_of_their_own(
    analyzer: Analyzer, table: bytes, tmp_path: Path
) -> None:
    with running(analyzer, tmp_path / "small", max_report_mb=0.001) as client:
        refused = ask(client, ("x.jsonl", table))
        assert refused.status_code == 413
        assert "larger than the limit of 0.001 MB" in refused.json()["error"]
    with running(analyzer, tmp_path / "large", max_body_mb=0.001) as client:
        assert ask(client, ("x.jsonl", table)).status_code == 200


def test_a_table_of_more_than_there_is_room_for(
    client: httpx.Client, table: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [table.replace(b"<b>me</b>", b"%d.mp4" % i) for i in range(4)]
    monkeypatch.setattr(reports, "_MOST_HELD", 12)
    assert ask(client, ("x.jsonl", b"".join(others[:2]))).status_code == 200
    refused = ask(client, ("x.jsonl", b"".join(others)))
    assert refused.status_code == 422
    assert refused.json()["error"].startswith("x.jsonl: holds more recordings and faces than")


def test_tables_are_not_taken_beyond_what_may_wait_or_lie_there(
    analyzer: Analyzer, table: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_STALL_S", 600.0)
    limits = {"max_waiting": 1, "max_data_mb": 0.1, "report_timeout": 600.0}
    lying = tmp_path / "videos"
    with running(analyzer, tmp_path, **limits) as client:
        started, go = Event(), Event()

        def slow() -> Iterator[bytes]:
            yield b"one" * 1000
            started.set()
            assert go.wait(60)

        kind = {"Content-Type": "application/octet-stream"}
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(client.post, "/v1/reports", content=slow(), headers=kind)
            assert started.wait(60)
            while not any(path.is_file() for path in lying.rglob("*")):
                pass
            full = ask(client, ("x.jsonl", table))
            assert (full.status_code, full.headers["retry-after"]) == (503, "5")
            assert len(list(lying.iterdir())) == 1
            go.set()
            assert first.result().status_code == 422  # it was no table, and is forgotten
        for body in (bytes(200_000), iter([bytes(200_000)])):  # announced and not
            crowded = client.post("/v1/reports", content=body, headers=kind)
            assert crowded.status_code == 507, crowded.text
        assert list(lying.iterdir()) == []
        assert ask(client, ("x.jsonl", table)).status_code == 200


def test_what_a_killed_server_left_is_cleared(
    analyzer: Analyzer, table: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(tables: Sequence[Path], out: Path, **options: Any) -> object:
        shutil.copytree(out.parent, out.parent.with_name("left"))
        return write_report(tables, out, **options)

    monkeypatch.setattr(reports, "write_report", leave)
    with running(analyzer, tmp_path) as client:
        assert ask(client, ("x.jsonl", table)).status_code == 200
    assert len(list(tmp_path.rglob("0.jsonl"))) == 1
    Jobs(tmp_path, 1000).close()
    assert list(tmp_path.rglob("0.jsonl")) == []


def test_nothing_is_kept(analyzer: Analyzer, table: bytes, tmp_path: Path) -> None:
    with running(analyzer, tmp_path) as client:
        before = {path.name for path in tmp_path.rglob("*")}
        assert ask(client, ("x.jsonl", table)).status_code == 200
        assert {path.name for path in tmp_path.rglob("*")} == before


def test_a_picture_does_not_wait_for_a_report(
    analyzer: Analyzer, table: bytes, portrait_file: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A picture's faces may wait for pictures behind it, which see to them; a report does not."""
    entered, go, find = Event(), Event(), Pictures._find

    def held(self: Pictures, name: str, data: bytes) -> Found:
        entered.set()
        assert go.wait(60)
        return find(self, name, data)

    monkeypatch.setattr(Pictures, "_find", held)
    picture = {"file": ("p.png", portrait_file.read_bytes())}
    with (
        running(analyzer, tmp_path, workers=1, timeout=20.0) as client,
        ThreadPoolExecutor(2) as threads,
    ):
        seen = threads.submit(client.post, "/v1/analyze", files=picture)
        assert entered.wait(60)
        told = threads.submit(ask, client, ("x.jsonl", table))
        while "} 1.0" not in waiting(client):
            pass
        go.set()
        assert seen.result().status_code == 200, seen.result().text
        assert told.result().status_code == 200, told.result().text


def waiting(client: httpx.Client) -> str:
    lines = client.get("/metrics").text.splitlines()
    return "\n".join(line for line in lines if line.startswith("mien_waiting{"))
