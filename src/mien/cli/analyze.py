"""`mien analyze`: from pictures and videos to tables, files and annotated copies."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.cli.exits import GOOD, PARTLY, UNUSABLE, say
from mien.cli.options import (
    add_analysis,
    add_json,
    add_overwrite,
    add_quiet,
    analyzer_arguments,
    require,
    say_device,
)
from mien.cli.outputs import (
    list_failures,
    require_room_for_all,
    retire_failures,
    spare_failures,
    spare_sources,
)
from mien.cli.streams import leave_stdout, stdout_has_all_letters
from mien.errors import ConfigError, MienError, SinkError, SourceError
from mien.wording import counted

if TYPE_CHECKING:
    from mien.console import Progress
    from mien.pipeline import Analyzer
    from mien.sinks import Sink
    from mien.sources import Source
    from mien.timing import StageTimes
    from mien.types import Frame, FrameResult, UInt8Array


_NO_MEMORY: Final = "needs more memory than there is. Make it smaller, or refuse it by --max-pixels"

#: Where a gallery says that its people agreed. Nobody but its owner can know: mien only asks.
CONSENT: Final = "CONSENT.txt"


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "analyze",
        help="find faces and say what they show",
        description="Find the faces in pictures and videos and say what they show. Without --out: "
        "a table on a terminal, JSON Lines in a pipe.",
    )
    add = parser.add_argument
    add(
        "source",
        nargs="+",
        help="picture, video, folder (searched recursively), "
        "glob, number of a camera, URL of a stream, or - for standard input",
    )
    add(
        "--out",
        action="append",
        default=[],
        metavar="FILE",
        help="write results; the suffix chooses: .jsonl .json .csv .parquet; "
        ".segments.csv .vtt .srt for what happened when in a video; a picture or video suffix for "
        "an annotated copy, or a folder ending in / for many copies; repeatable",
    )
    add_json(parser, "JSON Lines on stdout")
    add_overwrite(parser)
    add_analysis(parser, threads=2)
    add(
        "--identity",
        action="store_true",
        help="say whose each face is, with one name for a person in all sources. "
        "Off unless asked for (biometric data)",
    )
    add(
        "--gallery",
        metavar="FOLDER",
        help="people by name: FOLDER/NAME/ with pictures, or FOLDER/NAME.jpg; implies --identity",
    )
    add(
        "--baseline",
        type=float,
        default=0.0,
        metavar="S",
        help="assume that every face of a video is neutral during its first S seconds",
    )
    explain = parser.add_mutually_exclusive_group()
    explain.add_argument(
        "--explain",
        action="store_const",
        const="evidence",
        default="",
        help="colour, in annotated copies, the places of a face that speak for its answer (slow)",
    )
    explain.add_argument(
        "--attention",
        action="store_const",
        const="attention",
        default="",
        dest="explain",
        help="colour where the network looked; for models with attention",
    )
    add("--anonymize", action="store_true", help="hide the faces in annotated copies")
    add_quiet(parser)
    add("--profile", action="store_true", help="say where the time went")
    parser.set_defaults(run=run)


@dataclass
class _Tally:
    """What became of the inputs."""

    succeeded: int = 0
    frames: int = 0
    faces: int = 0
    # Words, not errors: those hold on to the pictures that were being read.
    failures: list[tuple[str, str]] = field(default_factory=list)

    def count(self, result: FrameResult) -> None:
        """Note a frame and its faces."""
        self.frames += 1
        self.faces += len(result.faces)

    def fail(self, source: str, why: str) -> None:
        """Note and say what was wrong with an input."""
        from mien.sources import shown_name

        self.failures.append((shown_name(source), why))
        say(f"mien: {why}")


def run(options: argparse.Namespace) -> int:
    """Analyse every source; a bad one never costs the others their results."""
    from mien.sources import expand_source

    arguments = analyzer_arguments(options)
    _check(options)
    tally = _Tally()
    paths: list[str] = []
    for argument in options.source:
        found, errors = expand_source(argument)
        paths += found
        for error in errors:
            tally.fail(argument, str(error))
    if options.overwrite:
        spare_sources(options.out, paths)
    if len(paths) > 1:
        require_room_for_all(options.out, len(paths))
    if paths:
        _analyze(options, arguments, paths, tally)
    if options.out and tally.succeeded and not options.quiet:
        summary = f"{counted(tally.frames, 'frame')}, {counted(tally.faces, 'face')}"
        say(f"mien: {summary}: {', '.join(options.out)}")
    if not tally.failures:
        retire_failures(options.out)
        return GOOD
    if not tally.succeeded:
        return UNUSABLE
    list_failures(options.out, tally.failures, overwrite=options.overwrite)
    return PARTLY


def _check(options: argparse.Namespace) -> None:
    baseline = options.baseline
    require(0 <= baseline < inf, "--baseline", "seconds, at least 0", baseline)
    targets = [os.path.abspath(out) for out in options.out]
    twice = next((out for out in options.out if targets.count(os.path.abspath(out)) > 1), None)
    require(twice is None, "--out", "different files", f"{twice} twice")
    spare_failures(options.out)
    _check_copies(options)


def _check_copies(options: argparse.Namespace) -> None:
    """Refuse to work for annotated copies where there is none.

    Most of the time would go into maps that nobody sees; and who hides faces may believe that
    tables name nobody either.
    """
    from mien.sinks import holds_pictures

    explain = "--attention" if options.explain == "attention" else "--explain"
    asked = explain if options.explain else "--anonymize" if options.anonymize else None
    if asked and not any(map(holds_pictures, options.out)):
        raise ConfigError(
            f"{asked}: is for annotated copies, and no --out is one. Give a name with the suffix "
            "of a picture or video, or a folder that ends in /, or leave it out"
        )


def _analyze(
    options: argparse.Namespace, arguments: dict[str, Any], paths: Sequence[str], tally: _Tally
) -> None:
    """Open the analyzer, with these arguments, and the outputs; analyse every path into them."""
    from mien.pipeline import Analyzer

    with ExitStack() as stack:
        analyzer = Analyzer(
            **arguments,
            baseline_s=options.baseline,
            identity=options.identity,
            gallery=options.gallery,
            explain=options.explain,
        )
        if not options.quiet:
            say_device(options, analyzer.device)
        _say_who_is_known(options, analyzer)
        sinks = [
            stack.enter_context(analyzer.open_sink(out, overwrite=options.overwrite))
            for out in options.out
        ]
        began = time.perf_counter()
        try:
            _analyze_all(options, analyzer, paths, sinks, tally)
        except (KeyboardInterrupt, MienError):
            if tally.failures:
                with suppress(SinkError):  # why it stopped is what matters
                    list_failures(
                        options.out, tally.failures, overwrite=options.overwrite, finished=False
                    )
            raise
    if not options.quiet:
        for remark in (remark for sink in sinks for remark in sink.remarks):
            say(f"mien: {remark}")
    if options.profile and tally.frames:
        say(_profile(analyzer.times, time.perf_counter() - began))


def _analyze_all(
    options: argparse.Namespace,
    analyzer: Analyzer,
    paths: Sequence[str],
    sinks: Sequence[Sink],
    tally: _Tally,
) -> None:
    """Analyse every path into every sink and onto stdout."""
    from mien.console import UNCERTAIN_NOTE, Progress
    from mien.sources import shown_name

    several = len(paths) > 1
    total, unit = (len(paths), "files") if several else (None, "frames")
    with Progress(total, unit, quiet=options.quiet) as progress:
        outputs = _Outputs(options, analyzer, sinks, progress)
        for number, path in enumerate(paths):
            try:
                with analyzer.open(path) as source, outputs.about(path, source):
                    for frame, result in analyzer.run(source):
                        outputs.write(frame, result)
                        tally.count(result)
                        if several:
                            share = (result.frame + 1) / (source.frame_count or result.frame + 2)
                            progress.update(number + min(share, 1.0))
                        else:
                            progress.update(result.frame + 1, source.frame_count)
                tally.succeeded += 1
            except SourceError as error:
                progress.close()
                tally.fail(path, str(error))
            except MemoryError:
                progress.close()
                tally.fail(path, f"{shown_name(path)}: {_NO_MEMORY}")
    if outputs.doubts:
        say(f"mien: {UNCERTAIN_NOTE}")
    for name, other in sorted(outputs.renamed.items()):
        why = "whose font lacks its letters or where another name looks the same"
        say(f"mien: {name} is “{other}” in annotated copies, {why}")


class _Outputs:
    """Where results go: into files, and onto stdout as JSON Lines or as a table. What a video came
    to is said on stderr, where nobody asked for JSON Lines.

    Attributes:
        doubts: whether the table holds the mark of an uncertain answer.
        renamed: people whose names no copy can show, or not apart, and what stands there.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        analyzer: Analyzer,
        sinks: Sequence[Sink],
        progress: Progress,
    ) -> None:
        from mien.hiding import FaceHider

        self._analyzer, self._sinks, self._progress = analyzer, sinks, progress
        self._hider = FaceHider(analyzer.detector) if options.anonymize else None
        self._draws = any(sink.needs_image for sink in sinks)
        self._named = bool(options.gallery)
        self._quiet = options.quiet
        self._as_json = options.json or not (sys.stdout.isatty() or sinks)
        self._escapes = not stdout_has_all_letters()
        self._is_video = self._tells = self._headed = self.doubts = False
        self.renamed: dict[str, str] = {}

    @contextmanager
    def about(self, path: str, source: Source) -> Iterator[None]:
        """What comes is of this source. At its end, also an early one, say what a video came to:
        files may hold thousands of rows, or none where a face stays neutral.
        """
        from mien.console import FaceTally

        self._faces, self._is_video = FaceTally(), source.is_video
        self._tells = self._is_video and not (self._quiet or self._as_json)
        if self._draws and self._is_video and not (self._quiet or os.path.isfile(path)):
            self._progress.close()
            say(f"mien: {source.name}: its annotated copy is silent. Sound is copied from files")
        try:
            yield
        finally:
            if self._tells:
                self._progress.close()
                for line in self._faces.lines():
                    say(f"mien: {source.name}: {line}")

    def write(self, frame: Frame, result: FrameResult) -> None:
        """Write and show a frame's result, and draw it where a copy is wanted."""
        from mien.sinks import to_json

        if self._tells:
            self._faces.count(result)
        if self._sinks:
            began = time.perf_counter()
            drawn = self._drawn(frame, result) if self._draws else None
            for sink in self._sinks:
                sink.write(result, drawn)
            self._analyzer.times.add("draw and write", began)
        if self._as_json:
            self._print(to_json(result, ascii_only=self._escapes))
        # A row for every frame of a video would hide what went into the files.
        elif not (self._quiet or (self._sinks and self._is_video)):
            self._show(result)

    def _drawn(self, frame: Frame, result: FrameResult) -> UInt8Array:
        from mien.annotate import annotate, stand_in

        image = self._hider.hide(frame, result.faces) if self._hider else frame.image
        faces = result.faces
        if self._hider and self._named:  # a gallery's name would say what the face no longer does
            faces = tuple(replace(face, identity=None) for face in faces)
        for name in filter(None, (face.person for face in faces)):
            if other := stand_in(name):
                self.renamed[name] = other
        return annotate(image, faces)

    def _show(self, result: FrameResult) -> None:
        """Rows of the table, the first ones under its head."""
        from mien.console import table_head, table_rows

        identity = self._analyzer.recognizer is not None
        head = [] if self._headed else [table_head(identity=identity)]
        rows = table_rows(result, is_video=self._is_video, identity=identity)
        self._progress.close()
        self._print("\n".join([*head, *rows]))
        self._headed = True
        self.doubts |= any(face.uncertain for face in result.faces)

    def _print(self, text: str) -> None:
        """Onto stdout. Where nobody reads that any more, the files are completed all the same."""
        try:
            print(text, flush=True)
        except BrokenPipeError:
            if not self._sinks:
                raise
            leave_stdout()


def _say_who_is_known(options: argparse.Namespace, analyzer: Analyzer) -> None:
    """That faces are compared, with whom, and what was wrong with the gallery."""
    recognizer = analyzer.recognizer
    if recognizer is None:
        return
    gallery = recognizer.gallery
    for problem in gallery.problems if gallery else ():
        say(f"mien: gallery: {problem}")
    if not options.quiet:
        known = f", {counted(len(gallery.people), 'name')} known" if gallery else ""
        say(f"mien: faces are told apart (--identity{known}): this is biometric data")
        if options.gallery and not (Path(options.gallery) / CONSENT).is_file():
            say(
                f"mien: {options.gallery}: holds no {CONSENT}. Write into it who agreed to be "
                "recognized, when, and to what"
            )


def _profile(times: StageTimes, took_s: float) -> str:
    """How long it took, and where."""
    from mien.console import stage_lines

    stage_ms = {stage: 1000 * spent / times.frames for stage, spent in times.seconds.items()}
    frames = counted(times.frames, "frame")
    rate = f"{frames} in {took_s:.2f} s, {times.frames / took_s:.1f} frames/s"
    return "\n".join([rate, *stage_lines(stage_ms)])
