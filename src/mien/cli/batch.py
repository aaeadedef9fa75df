"""`mien batch`: many inputs into one folder, by many workers, stopped and continued at any time."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from mien.cli.exits import GOOD, PARTLY, UNUSABLE, say
from mien.cli.options import add_analysis, add_quiet, analyzer_arguments, require
from mien.errors import ConfigError
from mien.wording import counted

if TYPE_CHECKING:
    from mien.batch import Shard


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "batch",
        help="analyse many inputs with many workers; continues where it was stopped",
        description="Analyse many pictures and videos into a folder of Parquet files. Stopped in "
        "any way, the same command goes on; no row is lost, and none comes twice.",
    )
    add = parser.add_argument
    add(
        "input",
        nargs="+",
        help="folder, glob, file, manifest (.csv or .parquet with a column `path`), or an address "
        "such as s3://bucket/prefix",
    )
    add("--out", required=True, metavar="FOLDER", help="where results go")
    add("--engine", choices=("local", "ray"), default="local", help="processes here, or Ray actors")
    add("--workers", type=int, metavar="N", help="how many workers (one for each core)")
    add("--ray-address", metavar="A", help="with --engine ray: where the cluster is")
    add("--shard", metavar="I/N", default="1/1", help="do the I-th of N shares of the work only")
    add("--part-size", type=int, metavar="N", help="at most N pictures a results file (256)")
    add("--segment", type=float, metavar="S", help="cut videos into parts of S seconds; 0: do not")
    add("--worker-memory", type=int, metavar="MB", help="data memory of each worker (no limit)")
    add("--retry-failed", action="store_true", help="try again what is listed as a failure")
    add_analysis(parser, threads=1)
    add_quiet(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the batch, and say what it has come to."""
    from mien.batch import PART_SIZE, SEGMENT_S, Engine, Settings, run_batch
    from mien.console import Progress

    _check(options)
    shard = _shard(options.shard)
    settings = Settings(
        **analyzer_arguments(options),
        segment_s=SEGMENT_S if options.segment is None else options.segment,
        memory_mb=options.worker_memory,
    )
    with Progress(None, "inputs", quiet=options.quiet) as progress:
        summary = run_batch(
            options.input,
            options.out,
            settings=settings,
            engine=Engine(options.engine, options.workers, options.ray_address or "auto"),
            shard=shard,
            part_size=options.part_size or PART_SIZE,
            retry_failed=options.retry_failed,
            on_progress=progress.update,
        )
    totals = summary.totals
    for _, error in summary.unlisted:
        say(f"mien: {error}")
    if not options.quiet:
        known = f" ({summary.before:,} were done before)" if summary.before else ""
        inputs, frames = counted(totals.inputs, "input"), counted(totals.frames, "frame")
        faces = counted(totals.faces, "face")
        say(f"mien: {inputs}, {frames}, {faces} in {options.out}{known}")
    failed = totals.failed + len(summary.unlisted)
    if not failed:
        return GOOD
    partly = totals.failed < totals.inputs
    others = "; the others are complete" if partly else ""
    say(f"mien: {failed:,} failed, listed in {options.out}/failures.jsonl{others}")
    return PARTLY if partly else UNUSABLE


def _check(options: argparse.Namespace) -> None:
    from mien.batch import LEAST_SEGMENT_S

    for option in ("workers", "part_size", "worker_memory"):
        value = getattr(options, option)
        name = "--" + option.replace("_", "-")
        require(value is None or value >= 1, name, "at least 1", value)
    if options.ray_address is not None and options.engine != "ray":
        raise ConfigError("--ray-address: is for --engine ray. Give both, or leave it out")
    seconds = options.segment
    require(
        seconds is None or seconds == 0 or LEAST_SEGMENT_S <= seconds < float("inf"),
        "--segment",
        f"0, or at least {LEAST_SEGMENT_S:g} seconds",
        seconds,
    )


def _shard(text: str) -> Shard:
    from mien.batch import Shard

    found = re.fullmatch(r"(\d+)/(\d+)", text)
    index, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= index <= count:
        raise ConfigError(f"--shard: expected I/N with 1 <= I <= N, got {text}")
    return Shard(index, count)
