"""`mien demo`: what mien does, shown on a portrait that comes with it. Needs no network."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from mien.cli.exits import GOOD, say
from mien.cli.options import add_overwrite

#: NASA's portrait of Eileen Collins, in the public domain (licenses/portrait.txt).
PORTRAIT: Final = "portrait.jpg"


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "demo",
        help="analyse a portrait that comes with mien",
        description="Analyse a portrait that comes with mien: the table on stdout, and in a folder "
        "the annotated picture and the result as JSON Lines.",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="FOLDER", help="where to write (demo)"
    )
    add_overwrite(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Analyse the portrait, write the two files and print the table."""
    from mien.annotate import annotate
    from mien.console import table_head, table_rows
    from mien.picture import read_picture
    from mien.pipeline import Analyzer
    from mien.sinks import make_folder, open_sink
    from mien.types import Frame

    folder = make_folder(options.out)
    targets = [folder / "portrait.png", folder / "portrait.jsonl"]
    with ExitStack() as stack:
        sinks = [
            stack.enter_context(open_sink(target, overwrite=options.overwrite))
            for target in targets
        ]
        with as_file(files("mien.cli") / PORTRAIT) as file:
            frame = Frame(read_picture(file, PORTRAIT), PORTRAIT)
        result = Analyzer().analyze_frame(frame)
        drawn = annotate(frame.image, result.faces)
        for sink in sinks:
            sink.write(result, drawn)
    print("\n".join([table_head(), *table_rows(result, is_video=False)]))
    say(f"mien: {', '.join(map(str, targets))}")
    return GOOD
