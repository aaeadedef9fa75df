"""Files that are there whole or not at all."""

import threading
import time
from pathlib import Path

import pytest

from mien.whole import whole


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("before")
    with whole(target) as partial:
        partial.write_text("after")
        assert target.read_text() == "before"
        assert (partial.parent, partial.suffix) == (tmp_path, ".json")
    assert target.read_text() == "after"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("before")
    with pytest.raises(KeyboardInterrupt), whole(target) as partial:
        partial.write_text("af")
        raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert target.read_text() == "before"


def test_a_block_that_writes_nothing_is_an_error_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole(tmp_path / "a.json"):
        pass


def test_two_who_write_one_file_take_turns(tmp_path: Path) -> None:
    """Each whole, in whatever order: under one name, they would be mixed, or one be lost."""
    target, written = tmp_path / "a.json", list[str]()

    def write(text: str) -> None:
        with whole(target) as partial, partial.open("w") as file:
            for letter in text:
                file.write(letter)
                file.flush()
                time.sleep(0.001)
        written.append(text)

    texts = [letter * 50 for letter in "abc"]
    threads = [threading.Thread(target=write, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(written) == texts
    assert target.read_text() in texts
    assert list(tmp_path.iterdir()) == [target]


def test_a_name_as_long_as_there_can_be(tmp_path: Path) -> None:
    """In bytes, of which some letters have several."""
    for name in ("a" * 250 + ".json", "ü" * 123 + ".parquet"):
        with whole(tmp_path / name) as partial:
            partial.write_text("whole")
            assert (partial.name[:2], partial.suffix) == (f".{name[0]}", Path(name).suffix)
        assert (tmp_path / name).read_text() == "whole"
