"""`mien report`: tables of results as one page to read, print and keep, and as its figures."""

from __future__ import annotations

import argparse
from pathlib import Path

from mien.cli.exits import GOOD, PARTLY, say
from mien.cli.options import add_markers, add_overwrite
from mien.cli.outputs import require_new, spare_sources
from mien.errors import ConfigError


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "report",
        help="write a page about what faces showed",
        description="Write one page about tables of results: how much of each "
        "expression, when, how sure that is, and what it does not say.",
    )
    add = parser.add_argument
    add("table", nargs="+", help="what `mien analyze --out` wrote: .jsonl .json .csv .parquet")
    add(
        "--out",
        action="append",
        required=True,
        metavar="FILE",
        help="the page: .html; or its figures: .json; repeatable",
    )
    add(
        "--view",
        default="research",
        metavar="NAME",
        help="research (default), wellbeing, experience, entertainment or learning",
    )
    add_markers(parser)
    add("--groups", metavar="FILE", help="CSV with source,group[,person][,date]: who is compared")
    add("--purpose", default="", metavar="TEXT", help="what the report is for; printed on it")
    faces = parser.add_mutually_exclusive_group()
    faces.add_argument(
        "--no-faces",
        action="store_const",
        const="hide",
        default="show",
        dest="faces",
        help="no pictures of faces",
    )
    faces.add_argument(
        "--blur-faces",
        action="store_const",
        const="blur",
        default="show",
        dest="faces",
        help="pictures with faces made unrecognizable",
    )
    add(
        "--video",
        nargs="+",
        default=[],
        metavar="FILE",
        help="where the recordings are, if not where the tables say; for the pictures",
    )
    add_overwrite(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write what was asked for; a bad table never costs the others their report."""
    from mien.report import write_report
    from mien.sinks import require_folder

    outs = [Path(out) for out in options.out]
    for out in outs:
        if out.suffix.lower() not in (".html", ".htm", ".json"):
            raise ConfigError(f"--out {out}: expected .html, or .json for the figures")
        require_new(out, overwrite=options.overwrite)
        require_folder(out)
    spare_sources(options.out, options.table)
    outcome = write_report(
        [Path(table) for table in options.table],
        outs,
        view=options.view,
        markers=Path(options.markers) if options.markers else None,
        groups=Path(options.groups) if options.groups else None,
        purpose=options.purpose,
        faces=options.faces,
        videos=[Path(video) for video in options.video],
    )
    for _, failure in outcome.failures:
        say(f"mien: {failure}")
    for note in outcome.notes:
        say(f"mien: {note}")
    for out in outs:
        say(f"mien: {out}")
    return PARTLY if outcome.failures else GOOD
