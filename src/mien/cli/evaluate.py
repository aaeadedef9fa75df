"""`mien evaluate`: examine an exported model file on labelled pictures or videos."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.cli.exits import GOOD, PARTLY, remark, require_extra, require_training, say
from mien.cli.options import (
    add_answers,
    add_changes,
    add_data,
    add_device,
    add_init,
    add_json,
    add_model,
    add_seed,
    add_split,
    add_views,
    chosen_recipe,
    require,
    say_device,
)
from mien.errors import ConfigError
from mien.wording import printable

if TYPE_CHECKING:
    from mien.classifier import ExpressionClassifier
    from mien.evaluate import Answers, Evaluation
    from mien.pipeline import Analyzer


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "evaluate",
        help="examine an exported model",
        description="Examine an exported model: on face crops such as FER2013's, or with "
        "--pipeline on full pictures whose faces are found and aligned first, or with --clips on "
        "videos.",
    )
    add = parser.add_argument
    add_data(parser, "set of crops, full pictures or clips")
    add_split(parser, " (not of clips)")
    add_model(
        parser, "see `mien models list`; with --slices several of them, side by side", several=True
    )
    add_views(parser)
    add_answers(parser)
    add_device(parser)
    add("--train-data", metavar="PATH", help="also: accuracy without training duplicates")
    add("--pipeline", action="store_true", help="full pictures: CK+ or a folder per class")
    add(
        "--pose",
        choices=("all", "front", "turned"),
        default="all",
        help="with --pipeline: only faces seen from the front, or only the others",
    )
    add("--clips", action="store_true", help="videos of one person with one expression each")
    add("--groups", metavar="FILE", help="CSV with source,group: also accuracy by group")
    add("--slices", action="store_true", help="also degraded pictures: blurred, small, dark, …")
    add("--sample", type=int, metavar="N", help="with --slices: so many pictures, drawn at random")
    add_seed(parser, "with --sample: which ones")
    add("--folds", choices=("subject",), help="train and examine in folds by subject instead")
    about = "with --folds: how to train; a file, or a name such as ckplus"
    add("--recipe", metavar="NAME_OR_FILE", help=about)
    add_changes(parser, "fit.epochs=3 (with --folds)")
    add_init(parser, "with --folds: ")
    add("--out", metavar="DIR", help="with --folds: where the runs go (runs/folds)")
    add("--resume", action="store_true", help="with --folds: continue the runs that are there")
    add_json(parser, "all figures as one JSON object")
    add("--report", metavar="DIR", help="write a page with figures into this folder")
    parser.set_defaults(run=run)


#: How many folds there are, in words.
_FOLDS: Final = {
    3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten"
}  # fmt: skip
#: What goes with what is examined, besides --data and --json; and what that is, for messages.
_MODES: Final = {
    "": (
        "examines crops",
        "--split --model --views --classes --expect --device --train-data --groups --report",
    ),
    "--pipeline": (
        "examines full pictures",
        "--split --model --views --expect --device --pose --groups --report",
    ),
    "--clips": ("examines videos", "--model --views --expect --device"),
    "--slices": (
        "examines models side by side, as they are",
        "--split --model --views --sample --seed --report",
    ),
    "--slices --pipeline": (
        "examines models side by side, as they are, on full pictures",
        "--split --model --views --pose --sample --seed --report",
    ),
    "--folds": (
        "trains networks of its own and examines them on all rows, as crops",
        "--recipe --set --init --out --resume --groups --report",
    ),
}


def run(options: argparse.Namespace) -> int:
    """Examine, print, and where it is asked for, write the report."""
    _check(options)
    if options.clips:
        return _clips(options)
    if options.report:
        require_extra("report", "matplotlib")
    return _slices(options) if options.slices else _labelled(options)


def _labelled(options: argparse.Namespace) -> int:
    """Examine on pictures or crops as they are, and print."""
    from mien.evaluate import format_evaluation
    from mien.groups import by_group

    name = Path(options.data).resolve().stem
    examine = _folds if options.folds else _pictures if options.pipeline else _crops
    group_of = _groups(options.groups) if options.groups else None
    answers, evaluation = examine(options, name)
    if group_of is not None:
        evaluation = by_group(evaluation, answers, group_of)
        if outside := evaluation.n - sum(row["n"] for row in evaluation.groups):
            say(f"mien: {options.groups}: says nothing of {outside:,} of {evaluation.n:,} pictures")
    # Models, classes and groups are called as somebody else likes.
    text = printable(format_evaluation(evaluation), lines=True)
    print(json.dumps(evaluation.to_dict()) if options.json else text)
    if options.report:
        from mien.evaluation_report import write_report

        write_report(Path(options.report), evaluation, answers, seed=0)
        say(f"mien: {Path(options.report) / 'index.html'}")
    return GOOD


def _check(options: argparse.Namespace) -> None:
    """Refuse what would be ignored, and what cannot be."""
    from mien.datasets import EVERY_SPLIT, HELD_OUT, split_name

    chosen = {
        "--clips": options.clips, "--slices": options.slices, "--folds": options.folds,
        "--pipeline": options.pipeline,
    }  # fmt: skip
    mode = " ".join(name for name, given in chosen.items() if given)
    if mode not in _MODES:
        first, other = mode.split()[:2]
        raise ConfigError(f"{other}: not with {first}, which {_MODES[first][0]}. Leave it out")
    given = {
        "--split": options.split != EVERY_SPLIT, "--train-data": options.train_data,
        "--model": options.model, "--views, --tta": options.views != "single",
        "--classes": options.classes, "--expect": options.expect,
        "--device": options.device != "cpu", "--pose": options.pose != "all",
        "--groups": options.groups, "--report": options.report,
        "--sample": options.sample is not None, "--seed": options.seed, "--recipe": options.recipe,
        "--set": options.override, "--init": options.init, "--out": options.out,
        "--resume": options.resume,
    }  # fmt: skip
    what, allowed = _MODES[mode]
    for option in (name for name, value in given.items() if value):
        if option.split(",")[0] not in allowed.split():
            why = f"not with {mode}, which {what}"
            if not mode:
                fits = next(other for other, (_, fit) in _MODES.items() if option in fit.split())
                why = f"goes with {fits} only"
            raise ConfigError(f"{option}: {why}. Leave it out")
    if mode and split_name(options.split) == HELD_OUT:
        raise ConfigError(
            f"--split held-out: not with {mode}: which rows were held out is known of one model, "
            "and of face crops. Leave it out"
        )
    if options.folds and not (options.recipe or options.init):
        raise ConfigError("--folds: say how to train by --recipe, or by --init from which model")
    sample = options.sample
    require(sample is None or sample >= 1, "--sample", "at least 1", sample)
    if len(options.model or []) > 1 and not options.slices:
        raise ConfigError("--model: one at a time, or several with --slices. See `mien compare`")


def _model(options: argparse.Namespace) -> str | None:
    """The one model, or None for the default."""
    return options.model[0] if options.model else None


def _groups(file: str) -> dict[str, str]:
    """The group of every source in a table that says one."""
    from mien.companions import read_groups

    return {member.source: member.group for member in read_groups(Path(file)) if member.group}


def _clips(options: argparse.Namespace) -> int:
    """Examine a model on labelled videos, and print; a broken one costs the others nothing."""
    from mien.clips import examine_clips, format_clips
    from mien.console import Progress
    from mien.datasets import load_clips

    analyzer = _analyzer(options, "--clips: videos")
    folder = Path(options.data)
    clips = load_clips(folder)
    with Progress(len(clips), "clips", quiet=options.json) as progress:
        evaluation = examine_clips(
            analyzer, clips, folder, views=options.views, progress=progress.update
        )
    print(json.dumps(evaluation.to_dict()) if options.json else format_clips(evaluation))
    broken = [clip.error for clip in evaluation.clips if clip.error]
    for error in broken:
        say(f"mien: {error}")
    return PARTLY if broken else GOOD


def _analyzer(options: argparse.Namespace, what: str) -> Analyzer:
    """The whole pipeline with the model that is examined.

    Raises:
        ConfigError: it answers in other classes than labelled pictures and videos have.
    """
    from mien.pipeline import Analyzer
    from mien.types import EXPRESSIONS

    analyzer = Analyzer(
        _model(options), views=options.views, expect=options.expect, device=options.device
    )
    say_device(options, analyzer.device)
    spec = analyzer.classifier.spec
    if spec.labels != EXPRESSIONS:
        raise ConfigError(
            f"{what} are labelled with {', '.join(EXPRESSIONS)}, and {spec.name} answers "
            f"{', '.join(spec.labels)}. Examine it on crops"
        )
    return analyzer


def _slices(options: argparse.Namespace) -> int:
    """Examine models on degraded pictures, print, and where it is asked for, write the report."""
    from mien.classifier import ExpressionClassifier
    from mien.console import Progress
    from mien.datasets import EVERY_SPLIT, shows_lights
    from mien.slices import CropReader, PictureReader, describe, format_sliced, slice_set
    from mien.types import EXPRESSIONS

    data, light = options.data, shows_lights(options.data)
    if light and options.pipeline:
        raise ConfigError(f"{data}: these crops are too tight to look for faces in them. "
                          "Leave out --pipeline")  # fmt: skip
    if light and (options.split != EVERY_SPLIT or options.sample is not None):
        raise ConfigError(f"{data}: faces under a moving light are examined together. "
                          "Leave out --split, --sample")  # fmt: skip
    kind = PictureReader if options.pipeline else CropReader
    models = options.model or [None]
    classifiers = [ExpressionClassifier(m, threads=2) for m in models]
    readers = [kind(classifier, views=options.views) for classifier in classifiers]
    size = max(classifier.spec.input_px for classifier in classifiers)
    if len({reader.name for reader in readers}) < len(readers):
        raise ConfigError("--model: two models of the same name. Give each once")
    if options.pipeline:
        _say_pictures(options)
    elif not light:
        _say_crops(options, EXPRESSIONS, classifiers)
    problems: list[str] = []
    with Progress(None, "pictures", quiet=options.json) as progress:
        sliced = slice_set(
            readers, data, split=options.split, pipeline=options.pipeline, pose=options.pose,
            sample=options.sample, seed=options.seed, size_px=size,
            progress=progress.update, problem=problems.append,
        )  # fmt: skip
    for problem in problems:
        say(f"mien: {problem}")
    if options.json:
        print(json.dumps([s.to_dict() for s in sliced]))
    else:
        print(printable(f"{describe(sliced)}\n\n{format_sliced(sliced)}", lines=True))
    if options.report:
        from mien.evaluation_report import write_slices_report

        write_slices_report(Path(options.report), sliced)
        say(f"mien: {Path(options.report) / 'index.html'}")
    return GOOD


def _pictures(options: argparse.Namespace, name: str) -> tuple[Answers, Evaluation]:
    from mien.console import Progress
    from mien.datasets import load_pictures, split_name
    from mien.evaluate import answer_pictures, of_pose, summarize

    analyzer = _analyzer(options, "--pipeline: full pictures")
    pictures = load_pictures(options.data, options.split)
    _say_pictures(options)
    problems: list[str] = []
    with Progress(len(pictures), "pictures", quiet=options.json) as progress:
        everything = answer_pictures(
            analyzer,
            pictures,
            views=options.views,
            progress=progress.update,
            problem=problems.append,
        )
    for problem in problems:
        say(f"mien: {problem}")
    answers, spec = of_pose(everything, options.pose), analyzer.classifier.spec
    return answers, summarize(
        answers, spec, data=name, split=split_name(options.split), views=options.views,
        balanced=analyzer.balanced, pose=options.pose,
    )  # fmt: skip


def _crops(options: argparse.Namespace, name: str) -> tuple[Answers, Evaluation]:
    from mien.classifier import ExpressionClassifier
    from mien.datasets import HELD_OUT, load_crops, split_name
    from mien.evaluate import answer_crops, held_out, summarize
    from mien.types import EXPRESSIONS

    classifier = ExpressionClassifier(
        _model(options), threads=2, classes=options.classes, device=options.device
    )
    say_device(options, classifier.device)
    balanced = bool(options.expect)
    # Votes are for rows of the seven, whatever the eight classes are that people chose.
    labels = EXPRESSIONS if options.classes else classifier.spec.labels
    size = classifier.spec.input_px
    known = None
    if split_name(options.split) == HELD_OUT:
        known, data = held_out(options.data, classifier.entry.spec())
    else:
        data = load_crops(options.data, options.split, size_px=size, classes=labels)
    _say_crops(options, labels, [classifier])
    if options.classes:
        data = data.by_votes()
    if options.train_data:
        known = load_crops(options.train_data, "Training", size_px=size, classes=labels)
    answers = answer_crops(classifier, data, views=options.views, balanced=balanced)
    return answers, summarize(
        answers,
        classifier.spec,
        data=name,
        split=data.split.replace(" ", "-"),  # as the option takes it
        views=options.views,
        balanced=balanced,
        fresh=None if known is None else data.unseen(known),
    )


def _say_pictures(options: argparse.Namespace) -> None:
    """What of a set of full pictures is not examined, and what may make its figures look better."""
    from mien.datasets import EVERY_SPLIT
    from mien.datasets.remarks import left_out, training_too
    from mien.types import EXPRESSIONS

    remark(left_out(options.data, EXPRESSIONS, options.split))
    if options.split == EVERY_SPLIT:
        remark(training_too(options.data))


def _say_crops(
    options: argparse.Namespace, labels: Sequence[str], examined: Sequence[ExpressionClassifier]
) -> None:
    """What of a set of crops is not examined, and what may make its figures look better."""
    from mien.datasets import EVERY_SPLIT, split_name
    from mien.datasets.remarks import left_out, oblong, training_too
    from mien.evaluate import learned_too

    data, split = options.data, split_name(options.split)
    advice = "In full pictures, --pipeline finds the faces first"
    remark(left_out(data, labels, split), oblong(data, advice))
    if split == EVERY_SPLIT:
        learned = [learned_too(data, classifier.entry.spec()) for classifier in examined]
        remark(*(learned if any(learned) else [training_too(data)]))


def _folds(options: argparse.Namespace, name: str) -> tuple[Answers, Evaluation]:
    require_training()
    from mien.datasets.remarks import left_out
    from mien.evaluate import Answers, LabelledFaces, learned_too, summarize
    from mien.models import find_model
    from mien.training.export import fold_spec
    from mien.training.folds import cross_validate

    recipe = chosen_recipe(options)
    remark(left_out(options.data, recipe.data.classes))
    for known in dict.fromkeys(filter(None, (recipe.init, *recipe.fit.teachers))):
        remark(learned_too(options.data, find_model(known).spec(), folds=True))
    out = Path(options.out or "runs/folds") / recipe.name
    rows, probs, folds = cross_validate(recipe, options.data, out, resume=options.resume, note=say)
    answers = Answers(**vars(LabelledFaces.of(rows)), probs=probs)
    split = f"{_FOLDS[folds]} folds by subject, {'fine-tuned' if recipe.init else 'from scratch'}"
    return answers, summarize(answers, fold_spec(recipe), data=name, split=split)
