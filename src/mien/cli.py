"""The command line: `mien VERB`. The only room that prints or exits. May import everything.

Results go to stdout, everything else to stderr. Exit codes: 0 good; 1 a defect of ours; 2 wrong
use or unusable input; 3 some of many inputs failed (listed in failures.jsonl).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import mien
from mien.errors import ConfigError, MienError, SourceError

if TYPE_CHECKING:
    from mien.pipeline import Analyzer, StageTimes
    from mien.sinks import Sink

GOOD, DEFECT, UNUSABLE, PARTLY = 0, 1, 2, 3
_INTERRUPTED = 130  # what a shell expects after Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except MienError as error:
        print(f"mien: {error}", file=sys.stderr)
        return UNUSABLE
    except BrokenPipeError:  # `mien analyze … | head` is no error
        sys.stderr.close()
        return GOOD
    except KeyboardInterrupt:
        print(
            "mien: interrupted; results so far are complete and readable",
            file=sys.stderr,
        )
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mien", description="Read facial expressions in pictures and videos."
    )
    parser.add_argument(
        "--version", action="version", version=f"mien {mien.__version__}"
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    analyze = verbs.add_parser("analyze", help="find faces and say what they show")
    analyze.add_argument("source", nargs="+", help="picture, video, folder or glob")
    analyze.add_argument(
        "--out",
        action="append",
        default=[],
        metavar="FILE",
        help="write results; the suffix chooses: .jsonl .json .csv .parquet, a picture or video "
        "suffix for an annotated copy, or a folder ending in / for many copies; repeatable",
    )
    analyze.add_argument("--json", action="store_true", help="JSON Lines on stdout")
    analyze.add_argument(
        "--overwrite", action="store_true", help="replace existing outputs"
    )
    analyze.add_argument("--model", help="name or file of the expression model")
    analyze.add_argument(
        "--tta", action="store_true", help="classify each mirror image too"
    )
    analyze.add_argument(
        "--min-score", type=float, default=0.5, help="detector threshold, 0-1"
    )
    analyze.add_argument(
        "--detector-px", type=int, help="longer side that the detector sees"
    )
    analyze.add_argument(
        "--max-pixels", type=int, help="refuse larger pictures (see the docs)"
    )
    analyze.add_argument(
        "--threads", type=int, default=2, help="CPU threads of each network"
    )
    analyze.add_argument("--quiet", action="store_true", help="no progress on stderr")
    analyze.add_argument(
        "--profile", action="store_true", help="print where the time went"
    )
    analyze.set_defaults(run=_analyze)

    models = verbs.add_parser("models", help="list, show and verify models")
    actions = models.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="what there is")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(run=_models_list)
    show = actions.add_parser("show", help="a model's card")
    show.add_argument("name")
    show.add_argument("--json", action="store_true", help="the embedded ModelSpec")
    show.set_defaults(run=_models_show)
    actions.add_parser("verify", help="check every hash").set_defaults(
        run=_models_verify
    )

    train = verbs.add_parser("train", help="train a network from a recipe")
    train.add_argument("recipe", help="a TOML file, see recipes/")
    train.add_argument(
        "--data", required=True, help="data set with Training and PublicTest rows"
    )
    train.add_argument(
        "--out", required=True, help="folder for checkpoint, log and model"
    )
    train.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="override"
    )
    train.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint"
    )
    train.add_argument("--threads", type=int, help="CPU threads")
    train.add_argument(
        "--dry-run", action="store_true", help="only print size and settings"
    )
    train.set_defaults(run=_train)

    export = verbs.add_parser(
        "export", help="make a calibrated ONNX model of a checkpoint"
    )
    export.add_argument("checkpoint", help="a file or folder made by `mien train`")
    export.add_argument("--data", required=True, help="data set with PublicTest rows")
    export.add_argument("--out", required=True, help="the .onnx file to write")
    export.set_defaults(run=_export)

    evaluate = verbs.add_parser("evaluate", help="examine an exported model")
    evaluate.add_argument(
        "--data", required=True, help="data set of crops, or of full pictures"
    )
    evaluate.add_argument(
        "--split", default="all", help="Training, PublicTest, … (crops only)"
    )
    evaluate.add_argument("--model", help="name or file")
    evaluate.add_argument(
        "--tta", action="store_true", help="average with the mirror image"
    )
    evaluate.add_argument(
        "--train-data", help="also report accuracy without training duplicates"
    )
    evaluate.add_argument(
        "--pipeline",
        action="store_true",
        help="full pictures: detect and align each face first",
    )
    evaluate.add_argument("--json", action="store_true")
    evaluate.set_defaults(run=_evaluate)
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- analyze -------------------------------------------------------------------------------


def _analyze(options: argparse.Namespace) -> int:
    from contextlib import ExitStack

    from mien.pipeline import Analyzer
    from mien.sinks import open_sink
    from mien.sources import expand_source

    if not 0 < options.min_score < 1:
        raise ConfigError(
            f"--min-score: expected between 0 and 1, got {options.min_score}"
        )
    if options.detector_px is not None and options.detector_px < 32:
        raise ConfigError(
            f"--detector-px: expected at least 32, got {options.detector_px}"
        )
    failures: list[MienError] = []
    paths: list[str] = []
    for argument in options.source:
        try:
            paths += expand_source(argument)
        except SourceError as error:
            failures.append(error)
    succeeded = 0
    if paths:
        analyzer = Analyzer(
            options.model,
            min_score=options.min_score,
            detector_px=options.detector_px,
            tta=options.tta,
            threads=options.threads,
            max_pixels=options.max_pixels,
        )
        with ExitStack() as stack:
            sinks = [
                stack.enter_context(open_sink(out, overwrite=options.overwrite))
                for out in options.out
            ]
            succeeded = _analyze_all(options, analyzer, paths, sinks, failures)
        if options.profile:
            _say(_profile(analyzer.times))
    for failure in failures:
        _say(f"mien: {failure}")
    if not failures:
        return GOOD
    if not succeeded:
        return UNUSABLE
    _write_failures(options, failures)
    return PARTLY


def _analyze_all(
    options: argparse.Namespace,
    analyzer: Analyzer,
    paths: Sequence[str],
    sinks: Sequence[Sink],
    failures: list[MienError],
) -> int:
    """Analyse every path into every sink; collects failures and returns how many succeeded."""
    from mien.annotate import annotate
    from mien.console import Progress, result_table
    from mien.sinks import to_json
    from mien.sources import open_source

    as_json = options.json or (not sys.stdout.isatty() and not sinks)
    as_table = (
        not as_json and (sys.stdout.isatty() or bool(sinks)) and not options.quiet
    )
    with_images = any(sink.needs_image for sink in sinks)
    header = True
    succeeded = 0
    progress = Progress(len(paths), "files", quiet=options.quiet)
    if len(paths) == 1:
        progress = Progress(None, "frames", quiet=options.quiet)
    for number, path in enumerate(paths):
        try:
            with open_source(path, **analyzer.source_options) as source:
                for frame, result in analyzer.run(source):
                    image = annotate(frame.image, result.faces) if with_images else None
                    for sink in sinks:
                        sink.write(result, image)
                    if as_json:
                        print(to_json(result))
                    elif as_table:
                        progress.close()
                        lines = list(result_table([result], is_video=source.is_video))
                        print("\n".join(lines if header else lines[1:]))
                        header = False
                    if len(paths) == 1:
                        progress.update(result.frame + 1, source.frame_count)
            succeeded += 1
        except SourceError as error:
            failures.append(error)
        if len(paths) > 1:
            progress.update(number + 1)
    progress.close()
    return succeeded


def _write_failures(options: argparse.Namespace, failures: Sequence[MienError]) -> None:
    """List what failed beside the first output (or here), where a script can find it."""
    folder = Path(options.out[0]).parent if options.out else Path()
    file = folder / "failures.jsonl"
    text = "".join(json.dumps({"error": str(failure)}) + "\n" for failure in failures)
    file.write_text(text, encoding="utf-8")
    _say(
        f"mien: {len(failures)} inputs failed, listed in {file}; the others are complete"
    )


def _profile(times: StageTimes) -> str:
    total = sum(times.seconds.values())
    lines = [
        f"{times.frames} frames in {total:.2f} s, {times.frames / total:.1f} frames/s"
    ]
    lines += [
        f"  {stage:10} {1000 * seconds / max(times.frames, 1):8.2f} ms  {seconds / total:6.1%}"
        for stage, seconds in times.seconds.items()
    ]
    return "\n".join(lines)


# --- models --------------------------------------------------------------------------------


def _models_list(options: argparse.Namespace) -> int:
    from mien.models import list_models

    entries = list_models()
    if options.json:
        print(json.dumps([entry.to_dict() for entry in entries], indent=1))
        return GOOD
    for entry in entries:
        size = (
            f"{entry.path.stat().st_size / 1e6:.1f} MB"
            if entry.available
            else "not here"
        )
        print(
            f"{'*' if entry.default else ' '} {entry.name:16} {size:>9}  {entry.path}"
        )
    return GOOD


def _models_show(options: argparse.Namespace) -> int:
    from mien.classifier import ExpressionClassifier
    from mien.models import find_model

    entry = find_model(options.name)
    spec = ExpressionClassifier(options.name).spec
    card = entry.path.with_suffix(".md")
    if not options.json and card.is_file():
        print(card.read_text(encoding="utf-8"))
    else:
        print(spec.to_json())
    return GOOD


def _models_verify(_options: argparse.Namespace) -> int:
    from mien.errors import ModelError
    from mien.models import list_models

    bad = 0
    for entry in list_models():
        if entry.sha256 is None or not entry.available:
            print(
                f"unchecked  {entry.name}: {'not here' if entry.sha256 else 'no known hash'}"
            )
            continue
        try:
            entry.read()
            print(f"good       {entry.name}")
        except ModelError as error:
            bad += 1
            print(f"BAD        {error}")
    return UNUSABLE if bad else GOOD


# --- training and examination --------------------------------------------------------------


def _train(options: argparse.Namespace) -> int:
    from mien.datasets import load_crops
    from mien.training.fit import EpochReport, fit
    from mien.training.recipe import load_recipe
    from mien.training.zoo import build_network, count_macs, count_parameters

    recipe = load_recipe(options.recipe, options.override)
    network = build_network(recipe.network)
    size = recipe.data.input_px
    _say(
        f"{recipe.name}: {recipe.network.name}, {count_parameters(network):,} parameters, "
        f"{count_macs(network, size) / 1e6:.1f} MMAC at {size} px, {recipe.fit.epochs} epochs"
    )
    if options.dry_run:
        print(json.dumps(recipe.to_dict(), indent=1))
        return GOOD

    def report(done: EpochReport) -> None:
        _say(
            f"epoch {done.epoch:3}/{done.epochs}  {done.size_px} px  loss {done.loss:.3f}  "
            f"PublicTest {done.accuracy:.2%}  {done.images_per_s:.0f} pictures/s  "
            f"{done.wall_s:.0f} s"
        )

    fit(
        recipe,
        load_crops(options.data, "Training", size_px=48),
        load_crops(options.data, "PublicTest", size_px=48),
        Path(options.out),
        resume=options.resume,
        threads=options.threads,
        report=report,
        note=_say,
    )
    _say(
        f"done: `mien export {options.out} --data {options.data} --out {recipe.name}.onnx`"
    )
    return GOOD


def _export(options: argparse.Namespace) -> int:
    from mien.datasets import load_crops
    from mien.training.export import export, load_trained

    recipe, network, data_sha256, epochs = load_trained(Path(options.checkpoint))
    if epochs < recipe.fit.epochs:
        _say(f"mien: this checkpoint has {epochs} of {recipe.fit.epochs} epochs")
    spec = export(
        recipe,
        network,
        load_crops(options.data, "PublicTest", size_px=48),
        Path(options.out),
        data_sha256=data_sha256,
    )
    _say(
        f"{options.out}: {spec.parameters:,} parameters, temperature {spec.temperature:.3f}, "
        f"uncertain below {spec.uncertain_below:.3f}"
    )
    return GOOD


def _evaluate(options: argparse.Namespace) -> int:
    from mien.console import Progress
    from mien.datasets import load_crops, load_pictures
    from mien.evaluate import evaluate_crops, evaluate_pictures, format_evaluation

    name = Path(options.data).resolve().name
    if options.pipeline:
        from mien.pipeline import Analyzer

        pictures = load_pictures(options.data)
        progress = Progress(len(pictures), "pictures", quiet=options.json)
        evaluation = evaluate_pictures(
            Analyzer(options.model),
            pictures,
            name=name,
            tta=options.tta,
            progress=progress.update,
        )
        progress.close()
    else:
        from mien.classifier import ExpressionClassifier

        training = (
            load_crops(options.train_data, "Training") if options.train_data else None
        )
        evaluation = evaluate_crops(
            ExpressionClassifier(options.model, threads=2),
            load_crops(options.data, options.split),
            name=name,
            split=options.split,
            tta=options.tta,
            training=training,
        )
    print(
        json.dumps(evaluation.to_dict())
        if options.json
        else format_evaluation(evaluation)
    )
    return GOOD


if __name__ == "__main__":
    sys.exit(main())
