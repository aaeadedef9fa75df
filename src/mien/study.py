"""A study: variants of one recipe, trained alike and examined alike, in one table.

May import evaluate and what lies below it; training is imported by `run_study` alone, so that a
finished study can be read without torch. A question such as "does attention help?" is a TOML file
in recipes/studies/, and its answer the table that one command makes of it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from mien.datasets import FaceCrops, load_pictures, load_training
from mien.errors import ConfigError
from mien.evaluate import (
    Evaluation,
    LabelledFaces,
    answer_crops,
    answer_faces,
    cut_faces,
    of_pose,
    summarize,
)
from mien.metrics import paired_difference
from mien.pipeline import Analyzer

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from mien.training.recipe import Recipe

Note = Callable[[str], None]

_TRIAL: Final = "trial.json"
#: Forward, and backward through weights and through inputs: each is as much work as the other.
_PASSES: Final = 3


@dataclass(frozen=True)
class Variant:
    """What one row of the table changes: `--set` texts such as `augment.flip=false`."""

    name: str
    set: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """Which variants of which recipe.

    Attributes:
        name, question: its title.
        recipe: the recipe that is varied.
        seeds: every variant is trained once with each.
        set: what all variants change, such as a shorter schedule.
        variants: the rows. The first is what the others are compared with.
    """

    name: str
    question: str
    recipe: Path
    seeds: tuple[int, ...]
    set: tuple[str, ...]
    variants: tuple[Variant, ...]

    def trials(self) -> Iterator[tuple[Variant, int, Recipe]]:
        """Every run: variants within seeds, so that a study cut short still compares."""
        from mien.training.recipe import load_recipe

        for seed in self.seeds:
            for variant in self.variants:
                changes = [*self.set, *variant.set, f"fit.seed={seed}", f'name="{variant.name}"']
                yield variant, seed, load_recipe(self.recipe, changes)


@dataclass(frozen=True)
class Trial:
    """One finished run.

    Attributes:
        variant, seed: which.
        epochs, parameters: of the run.
        macs: multiply-accumulates for one crop at the model's own size.
        trained_tmac: those of the whole training, forward and backward, in units of 10^12: what it
            cost whatever the machine did beside it.
        core_hours: processor time that it took here.
        evaluations: on the watched rows with one view, with the mirror image, then on each set of
            full pictures seen from the front.
        correct: which watched rows were read rightly with the mirror image, `0` or `1` each.
        failure: why it could not be finished; empty otherwise.
    """

    variant: str
    seed: int
    epochs: int
    parameters: int
    macs: int
    trained_tmac: float
    core_hours: float
    evaluations: tuple[Evaluation, ...]
    correct: str
    failure: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "evaluations": [e.to_dict() for e in self.evaluations]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Trial:
        """Read back what `to_dict` gave."""
        evaluations = tuple(Evaluation.from_dict(e) for e in values["evaluations"])
        return cls(**{**values, "evaluations": evaluations})


@dataclass(frozen=True)
class StudyResult:
    """A study's title, its reference variant, and what came of its trials."""

    name: str
    question: str
    trials: tuple[Trial, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "name": self.name,
            "question": self.question,
            "trials": [trial.to_dict() for trial in self.trials],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StudyResult:
        """Read back what `to_dict` gave."""
        trials = tuple(Trial.from_dict(trial) for trial in values["trials"])
        return cls(values["name"], values["question"], trials)


def load_study(path: str | Path) -> Study:
    """Read a study; its recipe's path is relative to the study's own folder.

    Raises:
        ConfigError: no such file, broken TOML, a key too many or too few, or a wrong type.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Give a study") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    expected: dict[str, type] = {"name": str, "question": str, "recipe": str, "variants": list}
    _check(table, {**expected, "seeds": list, "set": list}, expected, str(path))
    variants = []
    for row in table["variants"]:
        where = f"{path}: variants"
        if not isinstance(row, dict):
            raise ConfigError(f"{where}: expected [[variants]] sections, found {row!r}")
        _check(row, {"name": str, "set": list}, {"name": str}, where)
        variants.append(Variant(row["name"], _texts(row.get("set", []), where)))
    names = [variant.name for variant in variants]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"{path}: expected variants with names of their own, found {names}")
    seeds = table.get("seeds", [0])
    if not seeds or not all(type(seed) is int for seed in seeds):
        raise ConfigError(f"{path}: seeds: expected whole numbers, found {seeds}")
    return Study(
        table["name"],
        table["question"],
        path.parent / table["recipe"],
        tuple(seeds),
        _texts(table.get("set", []), f"{path}: set"),
        tuple(variants),
    )


def read_result(path: str | Path) -> StudyResult:
    """Read a finished study's `study.json`.

    Raises:
        ConfigError: no such file, or not one of a study.
    """
    try:
        return StudyResult.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Check the path") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: not the study.json of `mien study` ({error!r})") from error


def _check(
    table: dict[str, Any], known: dict[str, type], needed: dict[str, type], where: str
) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}. Known: {', '.join(known)}")
    for key, kind in known.items():
        if key in needed and key not in table:
            raise ConfigError(f"{where}: lacks `{key}`")
        if key in table and not isinstance(table[key], kind):
            raise ConfigError(f"{where}: {key}: expected {kind.__name__}, found {table[key]!r}")


def _texts(values: list[Any], where: str) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise ConfigError(f'{where}: expected texts such as "augment.flip=false", found {values}')
    return tuple(values)


def run_study(
    study: Study,
    data: str | Path,
    out: Path,
    *,
    pictures: Sequence[str | Path] = (),
    fabric: Fabric | None = None,
    threads: int | None = None,
    note: Note = lambda text: None,
) -> StudyResult:
    """Train and examine every variant with every seed; what is finished is not done again.

    Args:
        study: what to do.
        data: a set of face crops. Its rows to watch judge the variants.
        out: folder for a run each, and for detections that they share.
        pictures: sets of full pictures to examine the variants on as well.
        fabric: device and precision; None for the usual.
        threads: CPU threads.
        note: called with a line on what is going on.

    Raises:
        ConfigError: a variant's recipe is wrong. Found before anything is trained.
        DatasetError: a set cannot be read.
    """
    from mien.training.fit import make_fabric

    trials = list(study.trials())
    fabric = fabric or make_fabric()
    bench = _Bench(Path(data), [Path(p) for p in pictures], out, fabric, threads, note)
    finished = []
    for number, (variant, seed, recipe) in enumerate(trials, 1):
        note(f"{study.name} {number}/{len(trials)}: {variant.name}, seed {seed}")
        finished.append(bench.finish(variant, seed, recipe))
    return StudyResult(study.name, study.question, tuple(finished))


class _Bench:
    """Where the trials of a study are run: data and cut faces are read once and kept."""

    def __init__(
        self,
        data: Path,
        pictures: Sequence[Path],
        out: Path,
        fabric: Fabric,
        threads: int | None,
        note: Note,
    ) -> None:
        self.data, self.pictures, self.out = data, pictures, out
        self.fabric, self.threads, self.note = fabric, threads, note
        self._rows: dict[tuple[Any, ...], tuple[FaceCrops, FaceCrops]] = {}
        self._faces: dict[tuple[Any, ...], LabelledFaces] = {}

    def finish(self, variant: Variant, seed: int, recipe: Recipe) -> Trial:
        """Read the trial's result, or go on with it, or begin it."""
        from mien.training.checkpoint import CHECKPOINT
        from mien.training.fit import fit

        run = self.out / f"{_file_name(variant.name)}-{seed}"
        train, watched = self._training(recipe)
        known = {
            "recipe": recipe.to_dict(),
            "data": train.fingerprint(),
            "pictures": [path.resolve().name for path in self.pictures],
        }
        saved = run / _TRIAL
        if saved.is_file():
            record = json.loads(saved.read_text(encoding="utf-8"))
            if record["made_of"] == known:
                return Trial.from_dict(record["trial"])
        try:
            fit(
                recipe,
                train,
                watched,
                run,
                fabric=self.fabric,
                resume=(run / CHECKPOINT).is_file(),
                cache=self.out,
                threads=self.threads,
                report=lambda epoch: self.note(
                    f"  epoch {epoch.epoch}/{epoch.epochs}  loss {epoch.loss:.3f}  "
                    f"PublicTest {epoch.accuracy:.2%}  {epoch.wall_s:.0f} s"
                ),
            )
            trial = self._examine(variant, seed, run, watched, len(train))
        except ConfigError as error:
            if not str(error).startswith(f"{run}: the loss became"):
                raise
            # A variant that cannot learn is an answer too; the others are not its hostages.
            self.note(f"  {error}")
            trial = Trial(variant.name, seed, 0, 0, 0, 0.0, 0.0, (), "", str(error))
        record = {"made_of": known, "trial": trial.to_dict()}
        saved.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        return trial

    def _training(self, recipe: Recipe) -> tuple[FaceCrops, FaceCrops]:
        key = (recipe.data.classes, recipe.data.holdout, recipe.fit.seed)
        if key not in self._rows:
            classes, holdout, seed = key
            self._rows = {
                key: load_training(self.data, classes=classes, holdout=holdout, seed=seed)
            }
        return self._rows[key]

    def _examine(
        self, variant: Variant, seed: int, run: Path, watched: FaceCrops, pictures: int
    ) -> Trial:
        from mien.training.checkpoint import LOG, read_log
        from mien.training.export import export, load_trained
        from mien.training.zoo import count_macs

        recipe, network, data_sha256, _ = load_trained(run)
        file = run / "model.onnx"
        spec = export(recipe, network, watched, file, data_sha256=data_sha256, half=True)
        analyzer = Analyzer(file, threads=2)
        name = self.data.resolve().stem
        found = []
        for tta in (False, True):
            answers = answer_crops(analyzer.classifier, watched, tta=tta)
            found.append(summarize(answers, spec, data=name, split="PublicTest", tta=tta))
        correct = "".join("01"[int(right)] for right in answers.correct)
        for path in self.pictures:
            shown = answer_faces(analyzer.classifier, self._cut(analyzer, path))
            front = of_pose(shown, "front")
            found.append(summarize(front, spec, data=path.resolve().name, pose="front"))
        log = read_log(run / LOG)
        passes = 1 if recipe.network.frozen else _PASSES
        macs = sum(count_macs(network, row.size_px) for row in log)
        return Trial(
            variant.name,
            seed,
            len(log),
            spec.parameters,
            spec.macs,
            passes * macs * pictures / 1e12,
            sum(row.cpu_s for row in log) / 3600,
            tuple(found),
            correct,
        )

    def _cut(self, analyzer: Analyzer, path: Path) -> LabelledFaces:
        spec = analyzer.classifier.spec
        key = (path, spec.crop_scale, spec.crop_upright, spec.input_px)
        if key not in self._faces:
            self.note(f"  finding the faces in {path}")
            self._faces[key] = cut_faces(analyzer, load_pictures(path))
        return self._faces[key]


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text.lower())


def format_study(result: StudyResult) -> str:
    """The study as Markdown. Means over seeds; differences are paired, row by row."""
    variants = list(dict.fromkeys(trial.variant for trial in result.trials))
    groups = {v: [t for t in result.trials if t.variant == v and not t.failure] for v in variants}
    sets = [e.data for e in result.trials[0].evaluations[2:]]
    seeds = len({trial.seed for trial in result.trials})
    rare = _rarest(result)
    heads = [
        "variant",
        "PublicTest",
        *(["of each seed"] if seeds > 1 else []),
        f"against {variants[0]}",
        "macro F1",
        f"recall of {rare}",
        *(f"{name}, front" for name in sets),
        "epochs",
        "M weights",
        "TMAC",
        "core-hours",
    ]
    lines = [result.question, "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name in variants:
        trials = groups[name]
        if not trials:
            lines.append(f"| {name} | failed: the loss became infinite |")
            continue
        flips = [trial.evaluations[1] for trial in trials]
        cells = [name, f"{fmean(e.accuracy for e in flips):.1%}"]
        if seeds > 1:
            cells.append(", ".join(f"{e.accuracy:.1%}" for e in flips))
        cells += [
            "" if name == variants[0] else _difference(groups[variants[0]], trials),
            f"{fmean(e.macro_f1 for e in flips):.3f}",
            f"{fmean(e.per_class[rare]['recall'] for e in flips):.1%}",
            *(
                f"{fmean(trial.evaluations[2 + i].accuracy for trial in trials):.1%}"
                for i in range(len(sets))
            ),
            f"{trials[0].epochs}",
            f"{trials[0].parameters / 1e6:.1f}",
            f"{fmean(trial.trained_tmac for trial in trials):.0f}",
            f"{fmean(trial.core_hours for trial in trials):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    n = result.trials[0].evaluations[1].n if result.trials[0].evaluations else 0
    lines += [
        "",
        f"PublicTest (n = {n:,}) with the mirror image; {', '.join(sets) or 'no pictures'} with "
        f"one view; {seeds} seed{'s' if seeds > 1 else ''} each. Differences in points with their "
        "95% interval over the rows: it does not hold what another seed would change.",
    ]
    return "\n".join(lines)


def _rarest(result: StudyResult) -> str:
    counts = result.trials[0].evaluations[1].per_class
    return min(counts, key=lambda name: counts[name]["n"])


def _difference(reference: Sequence[Trial], trials: Sequence[Trial]) -> str:
    shared = {trial.seed for trial in reference} & {trial.seed for trial in trials}
    if not shared:
        return "no seed in common"
    first, second = (
        np.mean([_bits(trial.correct) for trial in group if trial.seed in shared], axis=0)
        for group in (reference, trials)
    )
    mean, low, high = (100 * value for value in paired_difference(first, second))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def _bits(text: str) -> npt.NDArray[np.float64]:
    return np.array([int(digit) for digit in text], np.float64)
