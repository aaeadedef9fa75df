"""Outputs that could do harm, and the list of what failed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from mien.cli.exits import say
from mien.errors import ConfigError, SinkError
from mien.whole import whole
from mien.wording import counted


def require_new(out: Path, *, overwrite: bool, option: str = "--out") -> None:
    """Refuse an output that is there, unless it may be replaced.

    Args:
        out: where it is to be.
        overwrite: whether it may.
        option: which one names it, for the message.

    Raises:
        ConfigError: it is.
    """
    if os.path.exists(out) and not overwrite:
        raise ConfigError(
            f"{option} {out}: is already there. Choose another name, or use --overwrite"
        )


def spare_sources(outs: Sequence[str], paths: Sequence[str]) -> None:
    """Refuse outputs that would replace what is analysed: nobody could undo it.

    Raises:
        SinkError: there is one.
    """
    sources = {os.path.realpath(path): path for path in paths if os.path.isfile(path)}
    folders = {os.path.dirname(file): path for file, path in sources.items()}
    for out in outs:
        target = os.path.realpath(out)
        if target in sources:
            raise SinkError(f"{out}: is itself to be analysed. Choose another name")
        if (os.path.isdir(out) or out.endswith("/")) and target in folders:
            raise SinkError(
                f"{out}: holds {folders[target]}, which is to be analysed and could be replaced by "
                "a copy. Choose another folder"
            )


def spare_failures(outs: Sequence[str]) -> None:
    """Refuse results in place of the list of failures, which would replace them or set them aside.

    Raises:
        SinkError: there are some.
    """
    listed = os.path.realpath(_list_beside(outs))
    for out in outs:
        if os.path.realpath(out) == listed:
            raise SinkError(f"{out}: is where failures are listed. Choose another name")


def require_room_for_all(outs: Sequence[str], sources: int) -> None:
    """Refuse outputs for one source before several are begun, whose other results would be cut.

    Raises:
        SinkError: there is one.
    """
    from mien.sinks import holds_one_source

    for out in filter(holds_one_source, outs):
        raise SinkError(
            f"{out}: belongs to one source, and there are {sources:,}. Give a folder (a name that "
            "ends in /) for annotated copies, .segments.csv for what happened when"
        )


def list_failures(
    outs: Sequence[str],
    failures: Sequence[tuple[str, str]],
    *,
    overwrite: bool,
    finished: bool = True,
) -> None:
    """List what failed beside the first output (or here), where a script can find it.

    The list of an earlier run steps aside, so that the name always means the latest.

    Args:
        outs: what was given as outputs.
        failures: sources, and what was wrong with them.
        overwrite: replace an earlier run's list instead.
        finished: whether all the others came to their end.

    Raises:
        SinkError: it cannot be written.
    """
    file = _list_beside(outs)
    rows = [{"source": source, "error": error} for source, error in failures]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    failed = counted(len(rows), "input")
    others = "; the others are complete" if finished else ""
    try:
        with whole(file) as partial:
            # A name that is no text becomes an escape of JSON's.
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
            if file.is_file() and not overwrite:
                file.rename(_free(file))
    except OSError as error:
        raise SinkError(
            f"{file}: cannot be written ({error.strerror}). {failed} failed, as said above{others}"
        ) from error
    say(f"mien: {failed} failed, listed in {file}{others}")


def retire_failures(outs: Sequence[str]) -> None:
    """Nothing failed: have the list of an earlier run, which would tell otherwise, step aside.

    Only where there are outputs beside it. It is kept in any case: nothing replaces it, and it may
    be about other outputs in that folder.

    Args:
        outs: what was given as outputs.

    Raises:
        SinkError: it cannot be renamed.
    """
    file = _list_beside(outs)
    if not outs or not file.is_file():
        return
    kept = _free(file)
    try:
        file.rename(kept)
    except OSError as error:
        raise SinkError(
            f"{file}: is of an earlier run, and cannot be set aside ({error.strerror}). Nothing "
            "failed in this one"
        ) from error
    say(f"mien: {file}: is of an earlier run, and called {kept.name} now")


def _list_beside(outs: Sequence[str]) -> Path:
    """The list of failures beside the first output, or here."""
    folder = Path()
    if outs:
        first = Path(outs[0])
        is_folder = outs[0].endswith(("/", os.sep)) or first.is_dir()
        folder = first if is_folder else first.parent
    return folder / "failures.jsonl"


def _free(file: Path) -> Path:
    """The first of `failures-1.jsonl`, `failures-2.jsonl`, … that is not there."""
    names = (file.with_stem(f"{file.stem}-{number}") for number in count(1))
    return next(file for file in names if not file.exists())
