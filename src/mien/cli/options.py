"""Options that several verbs have, each declared once: its words, its type, its default.

What one verb alone has stands in its file. Beside a declaration stands what reads it, where that is
more than a value.
"""

from __future__ import annotations

import argparse
from math import inf
from typing import TYPE_CHECKING, Any

from mien.cli.exits import say
from mien.errors import ConfigError

if TYPE_CHECKING:
    from mien.datasets import FaceCrops
    from mien.training.recipe import Recipe

Parser = argparse.ArgumentParser


def require(good: bool, option: str, expected: str, found: object) -> None:
    """Refuse an option's value unless it is good.

    Raises:
        ConfigError: it is not.
    """
    if not good:
        raise ConfigError(f"{option}: expected {expected}, got {found}")


# --- what is read, and what is written ---------------------------------------------------------


def add_model(
    parser: Parser,
    about: str = "expression model; see `mien models list`",
    *,
    several: bool = False,
) -> None:
    """Declare `--model`; with `several`, it may be given more than once."""
    action = "append" if several else "store"
    parser.add_argument("--model", action=action, metavar="NAME_OR_FILE", help=about)


def add_data(
    parser: Parser, about: str = "a data set, see docs/training.md", *, required: bool = True
) -> None:
    """Declare `--data`: labelled pictures."""
    parser.add_argument("--data", required=required, metavar="PATH", help=about)


def add_split(parser: Parser, where: str = "") -> None:
    """Declare `--split`: which rows of `--data`."""
    # The default is `mien.datasets.EVERY_SPLIT`; that room would make `mien --help` slow.
    about = f"Training, PublicTest, …{where}"
    parser.add_argument("--split", default="all", metavar="NAME", help=about)


def rows_to_calibrate(rows: FaceCrops, training: FaceCrops) -> FaceCrops:
    """Those that do not stand among the training rows; says how many do.

    Raises:
        DatasetError: none is left.
    """
    fresh = rows.without(training)
    if len(fresh) < len(rows):
        say(
            f"mien: calibrates on {len(fresh):,} of {len(rows):,} rows: the others stand, pixel "
            "for pixel, among the Training rows"
        )
    return fresh


def add_seed(parser: Parser, about: str) -> None:
    """Declare `--seed`."""
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help=f"{about} (0)")


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, at least 0, found {text!r}")
    return int(text)


def add_model_out(parser: Parser) -> None:
    """Declare `--out` of verbs that make a model."""
    parser.add_argument("--out", required=True, metavar="FILE", help="the .onnx file to write")


def add_overwrite(parser: Parser) -> None:
    """Declare `--overwrite`."""
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs")


def add_json(parser: Parser, about: str = "as one JSON object") -> None:
    """Declare `--json`."""
    parser.add_argument("--json", action="store_true", help=about)


def add_quiet(parser: Parser) -> None:
    """Declare `--quiet`."""
    parser.add_argument("--quiet", action="store_true", help="no progress, table or summary")


def add_markers(parser: Parser) -> None:
    """Declare `--markers`."""
    about = "CSV with time_s,label[,source]: moments to mark"
    parser.add_argument("--markers", metavar="FILE", help=about)


# --- how faces are read ------------------------------------------------------------------------


def add_analysis(parser: Parser, *, threads: int) -> None:
    """Declare what says how to analyse pictures and videos; `threads` is how many by default."""
    add = parser.add_argument
    add_model(parser)
    add("--shape", action="store_true", help="pose of each head; eyes, brows and mouth")
    add_views(parser)
    add_answers(parser)
    add("--min-score", type=float, default=0.5, metavar="P", help="detector threshold (0.5)")
    add("--detector-px", type=int, metavar="N", help="longer side of what the detector sees")
    add("--start", type=float, default=0.0, metavar="S", help="begin a video at this second")
    add("--end", type=float, default=inf, metavar="S", help="and end it before this one")
    add("--every", type=int, default=1, metavar="N", help="only each N-th frame of a video")
    add("--fps", type=float, metavar="R", help="at most R frames of a video a second")
    add_over_time(parser)
    add("--max-pixels", type=int, metavar="N", help="refuse larger pictures (100,000,000)")
    add(
        "--threads",
        type=int,
        default=threads,
        metavar="N",
        help=f"CPU threads of each network ({threads})",
    )
    add_device(parser)


def analyzer_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_analysis` declares, as arguments of `Analyzer`.

    Raises:
        ConfigError: a value is impossible.
    """
    from mien.sources import MAX_PIXELS, Span

    score, px, pixels = options.min_score, options.detector_px, options.max_pixels
    start, end, every, fps = options.start, options.end, options.every, options.fps
    require(0 < score < 1, "--min-score", "a number between 0 and 1", score)
    require(px is None or px >= 32, "--detector-px", "at least 32", px)
    require(options.threads >= 1, "--threads", "at least 1", options.threads)
    require(0 <= start < end, "--start, --end", "0 <= start < end", f"{start:g} and {end:g}")
    require(every >= 1, "--every", "at least 1", every)
    require(fps is None or fps > 0, "--fps", "a positive number", fps)
    require(pixels is None or pixels >= 1, "--max-pixels", "at least 1", pixels)
    return {
        "model": options.model,
        "min_score": score,
        "detector_px": px,
        "views": options.views,
        "classes": options.classes,
        "expect": options.expect,
        "threads": options.threads,
        "max_pixels": pixels or MAX_PIXELS,
        "span": Span(start, end, every, fps),
        "shape": options.shape,
        "device": options.device,
        **over_time_arguments(options),
    }


def add_over_time(parser: Parser) -> None:
    """Declare what says how a face's answers in a video are joined."""
    over_time = parser.add_mutually_exclusive_group()
    over_time.add_argument(
        "--smooth",
        type=float,
        metavar="S",
        help="average a video's answers over S seconds, instead of the temporal model",
    )
    over_time.add_argument(
        "--temporal", metavar="NAME_OR_FILE", help="temporal model for videos; see docs/video.md"
    )


def over_time_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_over_time` declares, as arguments of `Analyzer`.

    Raises:
        ConfigError: a value is impossible.
    """
    smooth = options.smooth
    require(smooth is None or 0 <= smooth < inf, "--smooth", "seconds, at least 0", smooth)
    return {"smooth_s": smooth, "temporal": options.temporal}


def add_views(parser: Parser) -> None:
    """Declare what says how often to look at each face."""
    parser.add_argument(
        "--views",
        choices=("single", "flip", "shifts"),
        default="single",
        help="flip: each mirror image too; shifts: both, in nine places (18 times the work)",
    )
    parser.add_argument(
        "--tta", action="store_const", dest="views", const="flip", help="short for --views flip"
    )


def add_answers(parser: Parser) -> None:
    """Declare what says which kind of answers are wanted."""
    parser.add_argument(
        "--classes",
        choices=("ferplus",),
        default="",
        help="answer in FER+'s eight classes, contempt among them, if the model has them",
    )
    parser.add_argument(
        "--expect",
        choices=("balanced",),
        default="",
        help="assume that all expressions are equally likely, as in sets of posed ones",
    )


def add_device(parser: Parser) -> None:
    """Declare `--device`: on what networks compute."""
    parser.add_argument(
        "--device",
        default="cpu",
        metavar="NAME",
        help="where the networks compute: cpu (default), cuda, cuda:1, openvino, openvino:gpu, "
        "coreml, or auto: cuda where it works, else cpu",
    )


def say_device(options: argparse.Namespace, device: str) -> None:
    """Say what `--device auto` has come to."""
    if options.device == "auto":
        say(f"mien: computes on {device}")


# --- how networks are trained ------------------------------------------------------------------


def add_training(parser: Parser) -> None:
    """Declare what says on what to train: `--threads` and `--precision`."""
    add = parser.add_argument
    add("--threads", type=int, metavar="N", help="CPU threads (all cores)")
    add(
        "--precision",
        default="auto",
        choices=("auto", "32-true", "bf16-mixed", "16-mixed"),
        help="auto: bfloat16 where the device computes in it",
    )


def check_training(options: argparse.Namespace) -> None:
    """Refuse impossible values of what `add_training` declares.

    Raises:
        ConfigError: there is one.
    """
    threads = options.threads
    require(threads is None or threads >= 1, "--threads", "at least 1", threads)


def add_changes(parser: Parser, example: str) -> None:
    """Declare `--set`, which changes a recipe's values."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="override",
        help=f"change one value of the recipe, such as {example}; repeatable",
    )


def add_init(parser: Parser, where: str = "") -> None:
    """Declare `--init`, the model to start from."""
    about = f"{where}start from this model's weights (fine-tuning)"
    parser.add_argument("--init", metavar="NAME_OR_FILE", help=about)


def chosen_recipe(options: argparse.Namespace) -> Recipe:
    """The recipe as `--set` and `--init` change it, with the network that it starts from.

    With `--init` it may be left out, and then is the one for fine-tuning.

    Raises:
        ConfigError: no such recipe, or a change that it does not know, or that the model to start
            from decides.
        ModelError: no such model.
    """
    from mien.training.recipe import load_recipe

    init = [f"init={options.init}"] if options.init else []
    if not options.recipe and not init:
        raise ConfigError("no recipe: give one, or by --init a model to go on from by `fine-tune`")
    recipe = load_recipe(options.recipe or "fine-tune", [*options.override, *init])
    if not recipe.init:
        return recipe
    from mien.training.initial import as_started  # which loads torch

    return as_started(recipe, options.override)
