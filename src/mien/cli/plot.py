"""`mien plot`: a video's results over time, as a picture or a page."""

from __future__ import annotations

import argparse
from pathlib import Path

from mien.cli.exits import GOOD, require_extra, say
from mien.cli.options import add_markers, add_overwrite
from mien.cli.outputs import require_new
from mien.errors import ConfigError


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "plot",
        help="draw a video's results over time",
        description="Draw what the faces of a video showed over time: probabilities, and segments "
        "below them.",
    )
    add = parser.add_argument
    add("results", help="what `mien analyze VIDEO --out` wrote: .jsonl .json .csv .parquet")
    add("--out", required=True, metavar="FILE", help=".png, .svg or .pdf, or .html for a page")
    add_markers(parser)
    add_overwrite(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read, draw, and say where it is."""
    from mien.companions import read_markers
    from mien.results import checked_results
    from mien.sinks import require_folder
    from mien.timeline import build_timeline, write_timeline

    out = Path(options.out)
    if out.suffix.lower() not in (".png", ".svg", ".pdf", ".html", ".htm"):
        raise ConfigError(f"--out {out}: expected .png, .svg, .pdf or .html")
    require_new(out, overwrite=options.overwrite)
    require_folder(out)
    if not out.suffix.lower().startswith(".htm"):
        require_extra("report", "matplotlib")
    markers = read_markers(Path(options.markers)) if options.markers else []
    timeline = build_timeline(checked_results(options.results), markers=markers)
    write_timeline(timeline, out)
    if markers and not timeline.moments:
        video = f"{timeline.source}, which ends at {timeline.end_s:.1f} s"
        say(f"mien: {options.markers}: holds no moment of {video}. None is drawn")
    say(f"mien: {out}")
    return GOOD
