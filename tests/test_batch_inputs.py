"""What a batch may be given: folders, globs, manifests, addresses."""

import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.batch import remote, worker
from mien.batch.inputs import Input, list_inputs
from mien.batch.plan import plan_parts
from mien.cli import main as cli
from mien.errors import ConfigError, SourceError
from mien.types import RESULT_COLUMNS
from tests.batches import batch, inline, listed, own, pictures, rows

__all__ = ["inline", "own", "pictures"]  # fixtures


def test_a_manifests_columns_are_carried_along(
    tmp_path: Path, own: Path, inline: list[int]
) -> None:
    table = own / "list.csv"
    table.write_text('path,label,note\n100.png,happy,"a, b"\nnobody.png,,\nbroken.jpg,sad,\n')
    batch([str(table), str(own / "110.png")], tmp_path / "csv")
    found = {Path(row["source"]).name: row for row in rows(tmp_path / "csv")}
    assert [found["100.png"][key] for key in ("path", "label", "note")] == [
        "100.png", "happy", "a, b",
    ]  # fmt: skip
    assert found["nobody.png"]["label"] == ""
    assert found["110.png"]["label"] is None
    assert list(found["100.png"])[: len(RESULT_COLUMNS)] == list(RESULT_COLUMNS)

    typed = own / "list.parquet"
    columns: dict[str, Any] = {
        "path": ["100.png", "110.png"],
        "age": pa.array([31, None], pa.int16()),
        "weight": pa.array([0.5, 1.5], pa.float32()),
        "posed": [True, None],
        "day": pa.array([0, 1], pa.date32()),
        "who": pa.array(["a", "b"]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), typed)
    batch([str(typed)], tmp_path / "parquet")
    schema = pq.read_schema(next((tmp_path / "parquet/results").iterdir()))
    kinds = {name: str(schema.field(name).type) for name in columns}
    assert kinds == {
        "path": "string", "age": "int64", "weight": "double", "posed": "bool", "day": "string",
        "who": "string",
    }  # fmt: skip
    first, second = rows(tmp_path / "parquet")
    assert [first[key] for key in columns] == ["100.png", 31, 0.5, True, "1970-01-01", "a"]
    assert (second["age"], second["posed"]) == (None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\na.png\n", "column 'path', and commas between columns; found 'file'"),
        ("", "found no columns"),
        ("path\n\n \n", "row 1 has no path"),
        ("path\na.png,b\n", "row 1 has more fields"),
        ('path\n"a.png', "not a CSV file"),
        ("path,x\na.png,1\na.png,2\n", "one row for each path"),
    ],
)
def test_bad_manifests(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ConfigError, match=message):
        list_inputs([str(tmp_path / "list.csv")])


def test_damaged_parquet_manifests(
    tmp_path: Path, inline: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "list.parquet"
    pq.write_table(pa.table({"path": ["a"] * 1000}), file)
    whole = file.read_bytes()
    for cut in (whole[:-7], whole[:4] + whole[-8:]):  # the latter begins and ends as one
        file.write_bytes(cut)
        with pytest.raises(ConfigError, match="not a complete Parquet file"):
            list_inputs([str(file)])
    pq.write_table(pa.table({"path": ["a.png"], "frame": [1]}), file)
    with pytest.raises(ConfigError, match="column 'frame' has the name of one of mien's own"):
        batch([str(file)], tmp_path / "out")
    assert "panicked" not in capfd.readouterr().err


def test_one_path_in_two_rows_of_manifests(tmp_path: Path) -> None:
    """However it is written there; what the rows say of it must be the same, and no number is."""
    table = {"path": ["a.png", "./a.png"], "age": [float("nan")] * 2}
    pq.write_table(pa.table(table), tmp_path / "list.parquet")
    (only,) = list_inputs([str(tmp_path / "list.parquet")]).inputs
    assert (only.path, only.values["path"]) == (str(tmp_path / "a.png"), "a.png")
    (tmp_path / "list.csv").write_text("path,age\na.png,1\n./a.png,2\n")
    with pytest.raises(ConfigError, match=r"/a\.png stands there.*with other values"):
        list_inputs([str(tmp_path / "list.csv")])


def test_odd_parquet_manifests(tmp_path: Path) -> None:
    file = tmp_path / "list.parquet"
    twice = pa.Table.from_arrays([pa.array(["a.png"])] * 3, names=["path", "who", "who"])
    pq.write_table(twice, file)
    with pytest.raises(ConfigError, match="two columns are called 'who'"):
        list_inputs([str(file)])
    when = pa.array([0], pa.timestamp("ms", "Nowhere/Atall"))
    pq.write_table(pa.table({"path": ["a.png"], "when": when}), file)
    with pytest.raises(ConfigError, match=r"not a Parquet file that can be read.*Nowhere"):
        list_inputs([str(file)])
    pq.write_table(pa.table({"path": [b"a.png"]}), file)  # as some write text
    assert [each.path for each in list_inputs([str(file)]).inputs] == [str(tmp_path / "a.png")]


def test_each_input_once(tmp_path: Path, own: Path) -> None:
    (own / "list.csv").write_text("path,who\n100.png,me\n")
    listing = list_inputs([str(own), f"{own}/../own", str(own / "*.png"), str(own / "list.csv")])
    assert len(listing.inputs) == 9
    assert [each.values for each in listing.inputs if each.values] == [
        {"path": "100.png", "who": "me"}
    ]
    nothing = list_inputs([str(tmp_path / "*.gif"), "-", "0"])
    assert not nothing.inputs
    assert len(nothing.failures) == 3


def test_a_row_that_names_no_file_costs_only_itself(
    tmp_path: Path, own: Path, inline: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address of no known kind, and what would be a camera as an argument of `analyze`."""
    (own / "list.csv").write_text("path\n100.png\nrtsp://camera/1\n0\n110.png\n")
    monkeypatch.chdir(own)
    summary = batch(["list.csv"], tmp_path / "out")
    assert (summary.totals.inputs, summary.totals.failed) == (4, 2)
    assert [row["path"] for row in rows(tmp_path / "out")] == ["100.png", "110.png"]
    failures = (tmp_path / "out/failures.jsonl").read_text()
    assert "no kind of address that is known" in failures
    assert "/0: cannot be read" in failures


def test_one_file_written_in_two_ways(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.parent)
    listing = list_inputs([own.name, str(own)])
    assert len(listing.inputs) == len(list_inputs([own.name]).inputs)


def test_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="matches no picture"):
        batch([str(tmp_path / "*.png")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_addresses(tmp_path: Path, pictures: Path, inline: list[int]) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in ("100.png", "broken.jpg", "nobody.png"):
        memory.pipe(f"/bucket/{name}", (pictures / name).read_bytes())
    memory.pipe("/bucket/notes.txt", b"-")
    memory.pipe("/bucket/list.csv", b"path,n\n100.png,1\nmemory://bucket/gone.png,2\n")
    summary = batch(["memory://bucket"], tmp_path / "out")
    assert (summary.totals.inputs, summary.totals.failed) == (3, 1)
    names = [row["source"] for row in rows(tmp_path / "out")]
    assert [name.rpartition("/")[2] for name in names] == ["100.png", "nobody.png"]
    assert all(name.startswith("memory://") for name in names)
    batch(["memory://bucket/list.csv"], tmp_path / "list")
    assert [row["n"] for row in rows(tmp_path / "list")] == ["1"]
    assert "gone.png" in (tmp_path / "list/failures.jsonl").read_text()
    there = batch([pictures.as_uri() + "/1*.png"], tmp_path / "files")
    assert there.totals.frames == 7
    with pytest.raises(SourceError, match="there is nothing"):
        batch(["memory://elsewhere"], tmp_path / "nothing")
    with pytest.raises(SourceError, match="no kind of address that is known"):
        batch(["nonesuch://x"], tmp_path / "nothing")


def test_pictures_in_an_archive(tmp_path: Path, pictures: Path, inline: list[int]) -> None:
    """An archive does not stand in the names of its files, and they are found in it again."""
    pytest.importorskip("fsspec")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("100.png", "sub/nobody.png", "sub/.hidden.png", "notes.txt"):
            archive.writestr(name, (pictures / "100.png").read_bytes())
    for pattern, count in (("", 2), ("*.png", 1), ("sub", 1), ("s*/*.png", 1), ("100.png", 1)):
        address = f"zip://{pattern}::{tmp_path}/a.zip"
        listing = list_inputs([address])
        assert len(listing.inputs) == count, pattern
    summary = batch([f"zip://::{tmp_path}/a.zip"], tmp_path / "out")
    assert (summary.totals.inputs, summary.totals.failed) == (2, 0)
    sources = {row["source"] for row in rows(tmp_path / "out")}
    assert sources == {f"zip://{n}::{tmp_path}/a.zip" for n in ("100.png", "sub/nobody.png")}
    cached = f"simplecache::zip://::{tmp_path}/a.zip"
    assert [each.path for each in list_inputs([cached]).inputs] == sorted(sources)
    assert remote.suffix_of(f"zip://a.MP4::{tmp_path}/a.zip") == ".mp4"


def test_a_host_stays_in_the_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of `sftp://`: the names that such a file system finds are those on its host."""
    fsspec = pytest.importorskip("fsspec")

    class Hosted(fsspec.AbstractFileSystem):  # type: ignore[name-defined,misc]
        protocol = "hosted"

        def __init__(self, host: str = "", **options: Any) -> None:
            super().__init__(host=host, **options)
            assert host, "nobody may be called without a host"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return "/" + path.partition("://")[2].partition("/")[2] if "://" in path else path

        @staticmethod
        def _get_kwargs_from_urls(path: str) -> dict[str, str]:
            user, _, host = path.partition("://")[2].partition("/")[0].rpartition("@")
            password = user.partition(":")[2]
            return {"host": host} | ({"password": password} if password else {})

        def find(self, path: str, **_: Any) -> list[str]:
            return [f"{path.rstrip('/')}/{name}" for name in ("b/2.png", "1.png")]

        def glob(self, path: str, **_: Any) -> list[str]:
            return ["/photos/1.png"]

        def isdir(self, path: str) -> bool:
            return False

    fsspec.register_implementation("hosted", Hosted, clobber=True)
    for folder in ("photos", "photos/"):
        found = [each.path for each in list_inputs([f"hosted://there:22/{folder}"]).inputs]
        assert found == ["hosted://there:22/photos/1.png", "hosted://there:22/photos/b/2.png"]
    for whole in ("hosted://there", "hosted://there/"):
        assert list_inputs([whole]).inputs[0].path == "hosted://there/1.png"
    for pattern in ("photos/*.png", "ph*/1.png"):
        (only,) = list_inputs([f"hosted://there/{pattern}"]).inputs
        assert only.path == "hosted://there/photos/1.png"
    ((name, error),) = list_inputs(["hosted://me:secret@there/photos"]).failures
    assert "FSSPEC_HOSTED_PASSWORD" in str(error)
    assert "secret" not in name + str(error)
    monkeypatch.setattr(Hosted, "find", lambda *_, **__: ["/photos//1.png"])
    ((_, error),) = list_inputs(["hosted://there/photos"]).failures
    assert "how its files are addressed" in str(error)


def test_a_distant_video_is_known_by_its_end_alone(
    tmp_path: Path, pictures: Path, inline: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ends otherwise may be a picture. A video is not read into memory to find that out."""
    memory = pytest.importorskip("fsspec").filesystem("memory")
    film = b"\0\0\0\x14ftypf4v \0\0\0\0" + bytes(99)
    memory.pipe("/ends/film.f4v", film)
    memory.pipe("/ends/picture", (pictures / "100.png").read_bytes())
    (tmp_path / "list.csv").write_text("path\nmemory://ends/film.f4v\nmemory://ends/picture\n")
    read: list[str] = []

    def read_remote(address: str) -> bytes:
        read.append(address)
        return remote.read_remote(address)

    monkeypatch.setattr(worker, "read_remote", read_remote)
    summary = batch([str(tmp_path / "list.csv")], tmp_path / "out")
    assert (summary.totals.inputs, summary.totals.failed) == (2, 1)
    assert read == ["memory://ends/picture"]
    (failure,) = listed(tmp_path / "out/failures.jsonl")
    assert "film.f4v: not a picture that can be read. If it is a video, its" in failure["error"]


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("https://host/a.MP4?X-Amz-Signature=b.c/d", ".mp4"),
        ("https://host/a.jpg#of-b.mp4", ".jpg"),
        ("https://host/get?file=a.mp4", ".mp4"),
        ("https://host/film.f4v?x", ".f4v"),
        ("s3://bucket/a#1.mp4", ".mp4"),  # any letter may be part of a name there
        ("/folder/a?b.png", ".png"),
        ("https://host.com/a", ""),
    ],
)
def test_how_names_end(name: str, suffix: str) -> None:
    assert remote.suffix_of(name) == suffix
    (part,) = plan_parts([Input(name)], 0)
    assert part.is_video == (suffix == ".mp4")


def test_an_absolute_path_behind_an_address_could_mean_two_things(tmp_path: Path) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.pipe("/absolute/list.csv", b"path\na.png\n/films/a.mp4\n")
    with pytest.raises(ConfigError, match=r"list\.csv: row 2 has the absolute path /films/a\.mp4"):
        list_inputs(["memory://absolute/list.csv"])
    (tmp_path / "list.csv").write_text("path\n/films/a.mp4\n")
    (found,) = list_inputs([str(tmp_path / "list.csv")]).inputs
    assert found.path == "/films/a.mp4"


def test_what_is_missing_for_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    core = pytest.importorskip("fsspec.core")

    def missing(_address: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(core, "url_to_fs", missing)
    assert cli(["batch", "s3://bucket/x", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said == "mien: s3://bucket/x: this needs s3fs: pip install s3fs\n"
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ConfigError, match=r"pip install 'mien\[cloud\]'"):
        list_inputs(["gs://bucket/x"])


def test_names_that_are_no_text(tmp_path: Path, portrait_file: Path, inline: list[int]) -> None:
    folder = tmp_path / "names"
    folder.mkdir()
    name = os.fsdecode(b"\xff.png")
    try:
        shutil.copy(portrait_file, folder / name)
    except OSError:
        pytest.skip("this file system takes text only")
    shutil.copy(portrait_file, folder / "good.png")
    summary = batch([str(folder)], tmp_path / "out")
    assert (summary.totals.inputs, summary.totals.failed) == (2, 1)
    assert "no text" in listed(tmp_path / "out/failures.jsonl")[0]["error"]


def test_manifests_as_spreadsheets_write_them(own: Path) -> None:
    """Blanks around a column's name, semicolons, and two columns of one name."""
    table = own / "list.csv"
    table.write_text(" path ,label\n100.png,happy\n")
    (found,) = list_inputs([str(table)]).inputs
    assert found.values == {"path": "100.png", "label": "happy"}
    table.write_text("path;label\n100.png;happy\n")
    with pytest.raises(ConfigError, match="commas between columns; found 'path;label'"):
        list_inputs([str(table)])
    table.write_text("path,label,label\n100.png,happy,sad\n")
    with pytest.raises(ConfigError, match="two columns are called 'label'"):
        list_inputs([str(table)])
