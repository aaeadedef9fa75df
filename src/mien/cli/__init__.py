"""The command line: `mien VERB`. The only room that prints or exits. May import everything.

Results go to stdout, everything else to stderr. Each verb has its own file, which declares the
verb's options and runs it; `options.py` declares what several verbs share. Rooms are imported when
a verb runs, so that `mien --help` is quick.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType

import mien
from mien.cli import (
    analyze,
    batch,
    benchmark,
    data,
    demo,
    evaluate,
    fuse,
    models,
    plot,
    report,
    serve,
    study,
    temporal,
    train,
)
from mien.cli.exits import GOOD, INTERRUPTED, UNUSABLE, say
from mien.cli.streams import leave_full_stdout, leave_stdout, settle_streams
from mien.errors import MienError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (see `mien.cli.exits`)."""
    options = _parsed(sys.argv[1:] if arguments is None else arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        code = run(options)
        print(end="", flush=True)  # what fails at Python's end is nobody's any more
        return code
    except MienError as error:
        say(f"mien: {error}")
        return UNUSABLE
    except BrokenPipeError:  # `mien analyze … | head` is no error
        leave_stdout()
        return GOOD
    except OSError as error:  # a folder that may not be entered, a name that is too long
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT):
            leave_full_stdout()
            say(
                f"mien: an output cannot be written ({error.strerror}). Look after the disk's space"
            )
            return UNUSABLE
        if not isinstance(error.filename, str | bytes):
            raise
        say(
            f"mien: {os.fsdecode(error.filename)}: {error.strerror}. Check the path, and that you "
            "may read what is there and write where results go"
        )
        return UNUSABLE
    except KeyboardInterrupt:
        say("mien: interrupted; results so far are complete and readable")
        return INTERRUPTED


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options. A file that passes for one, and is missing among the files, is named."""
    try:
        return build_parser().parse_args(arguments)
    except SystemExit as stopped:
        if stopped.code:
            for argument in arguments:
                if argument.startswith("-") and os.path.isfile(argument):
                    say(f"mien: {argument}: a file whose name begins with -. Write ./{argument}")
        raise


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="mien", description="Read facial expressions in pictures and videos."
    )
    parser.add_argument("--version", action="version", version=f"mien {mien.__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in (
        analyze,
        demo,
        batch,
        plot,
        report,
        serve,
        models,
        data,
        evaluate,
        train,
        temporal,
        study,
        fuse,
        benchmark,
    ):
        verb.add_to(verbs)
    return parser


def run() -> None:
    """The `mien` command."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    settle_streams()
    signal.signal(signal.SIGTERM, stop)  # a polite kill ends the files as Ctrl-C does
    sys.exit(main())
