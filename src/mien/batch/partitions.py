"""Results of a part: one Parquet file, which says itself which inputs are done by it.

May import arro3, and from mien: types, sinks, disk, folder, plan, settings.

The record of a part lies in the metadata of its file: there is no moment at which one is there and
the other is not. `manifest.jsonl` and `failures.jsonl` are read out of the records.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mien.batch.disk import durable, is_whole_parquet
from mien.batch.folder import BatchFolder
from mien.batch.plan import Part
from mien.batch.settings import Job
from mien.sinks.parquet import ROWS_PER_GROUP, result_fields, write_parquet_rows
from mien.types import FrameResult

_KEY: Final = "mien.batch"


@dataclass(frozen=True)
class Done:
    """What became of one input.

    Attributes:
        source: which.
        frames, faces: how many its results have.
        error: why it could not be read, or not to its end; None where it could.
    """

    source: str
    frames: int
    faces: int
    error: str | None = None


class PartitionWriter:
    """Writes the results of a batch's parts.

    Args:
        folder: the batch's.
        job: what all of its results have in common.
    """

    def __init__(self, folder: BatchFolder, job: Job) -> None:
        import arro3.io  # noqa: F401  # where memory is short, it is now that this should show
        from arro3.core import DataType, Field

        self._folder, self._job = folder, job
        kinds: dict[str, Callable[[], Any]] = {
            "string": DataType.string,
            "int64": DataType.int64,
            "float64": DataType.float64,
            "bool": DataType.bool,
        }
        carried = [Field(name, kinds[kind]()) for name, kind in job.columns.items()]
        self._fields = [*result_fields(job.labels, shape=job.shape), *carried]

    def commit(self, part: Part, results: Iterable[FrameResult], done: Sequence[Done]) -> None:
        """Write a part's results. When this returns, it is done, and stays done.

        A part that was done again, and failed with fewer frames than before, keeps what it has: its
        video may be out of reach, or be read by a worker with less memory.

        Args:
            part: which.
            results: of its inputs, in order.
            done: one for each input.

        Raises:
            SinkError: it cannot be written.
        """
        assert [each.source for each in done] == [each.path for each in part.inputs]
        target = self._folder.partition(part.number)
        again = self._folder.is_again(part.number)
        if not (again and _has_more(read_record(target) or (), done)):
            record = json.dumps([asdict(each) for each in done])
            with durable(target) as file:
                groups = self._groups(part, results)
                write_parquet_rows(file, self._fields, groups, metadata={_KEY: record})
        if again:
            self._folder.done_again(part.number)

    def _groups(self, part: Part, results: Iterable[FrameResult]) -> Iterator[list[dict[str, Any]]]:
        nothing = dict.fromkeys(self._job.columns)
        values = {each.path: {**nothing, **each.values} for each in part.inputs}
        rows: list[dict[str, Any]] = []
        for result in results:
            carried = values[result.source]
            rows += [
                row | carried for row in result.to_rows(self._job.labels, shape=self._job.shape)
            ]
            if len(rows) >= ROWS_PER_GROUP:
                yield rows
                rows = []
        if rows:
            yield rows


def _has_more(before: Sequence[Done], now: Sequence[Done]) -> bool:
    """Whether a part that failed once more had more frames before."""
    failed = any(each.error is not None for each in now)
    return failed and sum(each.frames for each in before) > sum(each.frames for each in now)


def read_record(file: Path) -> list[Done] | None:
    """What became of the inputs of a partition; None where it is not there, or damaged.

    This alone decides whether a part is done: another look at the file might find less wrong, and
    inputs without a record would be in no list.
    """
    from arro3.io import read_parquet

    try:
        with file.open("rb") as opened:
            if not is_whole_parquet(opened):
                return None
        metadata: Mapping[str, str] = read_parquet(str(file)).schema.metadata_str
        return [Done(**row) for row in json.loads(metadata[_KEY])]
    except BaseException as error:  # the library panics on damaged files
        if isinstance(error, KeyboardInterrupt):
            raise
        return None


def last_words(folder: BatchFolder, parts: Sequence[Part]) -> Iterator[tuple[Part, Done, bool]]:
    """What became of each input that is done: the part, the record, and whether it is to stay.

    An input that failed may have been planned again: its last part that is done tells, and where
    that is not the last that is planned, this is not to stay.
    """
    last: dict[str, int] = {}
    again: set[str] = set()
    for part in parts:
        paths = [each.path for each in part.inputs]
        again |= last.keys() & set(paths)
        last |= dict.fromkeys(paths, part.number)
    tells: dict[str, int] = {}  # of those that were planned again
    for part in parts if again else ():
        paths = [each.path for each in part.inputs if each.path in again]
        if paths and read_record(folder.partition(part.number)) is not None:
            tells |= dict.fromkeys(paths, part.number)
    for part in parts:
        for done in read_record(folder.partition(part.number)) or ():
            if tells.get(done.source, part.number) == part.number:
                yield part, done, last[done.source] == part.number


@dataclass
class Totals:
    """How much is done."""

    inputs: int = 0
    failed: int = 0
    frames: int = 0
    faces: int = 0


def write_tables(
    folder: BatchFolder, parts: Sequence[Part], unlisted: Sequence[tuple[str, str]]
) -> Totals:
    """Write `manifest.jsonl` and `failures.jsonl` out of the parts' records.

    Args:
        folder: the batch's.
        parts: all that are planned.
        unlisted: arguments that could not even be listed, and why.

    Returns:
        Counts of what is done.
    """
    totals = Totals()
    manifest, failures = (folder.path / name for name in ("manifest.jsonl", "failures.jsonl"))
    with folder.exclusive(), durable(manifest) as every, durable(failures) as failed:
        for part, done, _ in last_words(folder, parts):
            name = folder.partition(part.number).name
            every.write(_line({**asdict(done), "partition": name}))
            totals.inputs += 1
            totals.frames += done.frames
            totals.faces += done.faces
            if done.error is not None:
                totals.failed += 1
                failed.write(_line({"source": done.source, "error": done.error}))
        for source, error in unlisted:
            failed.write(_line({"source": source, "error": error}))
    return totals


def _line(row: Mapping[str, Any]) -> bytes:
    # A name that is no text becomes an escape of JSON's.
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
