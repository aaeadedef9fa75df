"""Where a study is run. Imports the training side, evaluate, and what lies below them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from lightning_fabric import Fabric

from mien.datasets import FaceCrops, LabelledPicture, load_pictures, load_training
from mien.datasets.crops import SMALLEST_PX
from mien.datasets.remarks import left_out, oblong
from mien.errors import ConfigError, DatasetError, DivergedError, ModelError
from mien.evaluate import LabelledFaces, answer_crops, answer_faces, cut_faces, of_pose, summarize
from mien.pipeline import Analyzer
from mien.slices import CropReader, slice_crops
from mien.study.plan import Study, Variant
from mien.study.result import StudyResult, Trial
from mien.training.benchmark import passes_of
from mien.training.checkpoint import CHECKPOINT, LOG, Origin, load_checkpoint, read_log
from mien.training.data import usable_rows
from mien.training.export import export, load_trained
from mien.training.fit import fit, make_fabric, require_a_start
from mien.training.initial import as_started
from mien.training.optimizer import make_optimizer
from mien.training.recipe import Recipe, recipe_from_dict
from mien.training.zoo import build_network, count_macs
from mien.types import EXPRESSIONS, Views
from mien.whole import whole

Note = Callable[[str], None]

_TRIAL: Final = "trial.json"
_VIEWS: Final[tuple[Views, ...]] = ("single", "flip")


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
        ConfigError: a variant's recipe is wrong, has other classes than `pictures` and slices, or
            asks for other rows to watch than the first variant's; or a run in `out` is of another.
        ModelError: the weights that a variant starts from, or its teachers, cannot be read, or a
            run in `out` was trained with others.
        DatasetError: a set cannot be read, lacks what a variant learns from, or is not that of a
            run in `out`. All these are found before anything is trained.
    """
    trials = [
        (variant, seed, as_started(recipe, [*study.set, *variant.set]))
        for variant, seed, recipe in study.trials()
    ]
    first, _, reference = trials[0]
    for variant, _, recipe in trials:
        if (pictures or study.slices) and recipe.data.classes != EXPRESSIONS:
            raise ConfigError(
                f"{variant.name}: full pictures and slices are labelled with "
                f"{', '.join(EXPRESSIONS)}, and its data.classes are "
                f"{', '.join(recipe.data.classes)}. Leave the pictures and `slices` out"
            )
        for key in ("classes", "holdout"):
            if getattr(recipe.data, key) != getattr(reference.data, key):
                raise ConfigError(
                    f"{variant.name}: data.{key} is not that of {first.name}. Variants are "
                    "compared on the same rows: make a study for each"
                )
        with _named(variant):
            require_a_start(recipe)
            make_optimizer(build_network(recipe.network, len(recipe.data.classes)), recipe.fit)
    sets = {Path(path): load_pictures(path) for path in pictures}
    advice = "Of full pictures, `mien data crop` cuts the faces out"
    for remark in (left_out(data, reference.data.classes), oblong(data, advice)):
        if remark:
            note(remark)
    fabric = fabric or make_fabric()
    bench = _Bench(Path(data), sets, study.slices, out, fabric, threads, note)
    bench.require_all(trials)
    finished = []
    for number, (variant, seed, recipe) in enumerate(trials, 1):
        note(f"{study.name} {number}/{len(trials)}: {variant.name}, seed {seed}")
        finished.append(bench.finish(variant, seed, recipe))
    return StudyResult(study.name, study.question, tuple(finished))


@contextmanager
def _named(variant: Variant, advice: str = "") -> Iterator[None]:
    """Say of which variant an error is, and what else to do."""
    try:
        yield
    except (ConfigError, DatasetError, ModelError) as error:
        raise type(error)(f"{variant.name}: {error}{advice}") from error


@dataclass(frozen=True)
class _TrialKey:
    """What a trial is made of: where a saved one is of the same, it is done."""

    recipe: Recipe
    origin: Origin
    watched: str
    pictures: tuple[str, ...]
    shown: str
    slices: int

    def to_dict(self) -> dict[str, Any]:
        values = {**vars(self), **vars(self.origin), "recipe": self.recipe.to_dict()}
        del values["origin"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str, now: _TrialKey) -> _TrialKey:
        """Read back what `to_dict` gave; hashes that it did not give once are as they are now."""
        recipe = recipe_from_dict(values["recipe"], where)
        votes = values.get("votes", now.origin.votes)
        origin = Origin(values["data"], votes, values.get("models", now.origin.models))
        pictures, slices = tuple(values["pictures"]), values.get("slices", 0)
        shown = values.get("shown", now.shown)
        return cls(recipe, origin, values.get("watched", ""), pictures, shown, slices)


def _listed(sets: Mapping[Path, Sequence[LabelledPicture]]) -> str:
    """A hash of which pictures there are, how large their files are, and what they are labelled."""
    digest = hashlib.sha256()
    for folder, pictures in sets.items():
        for picture in pictures:
            name = os.path.relpath(picture.path, folder)
            digest.update(f"{name!a} {picture.path.stat().st_size} {picture.label}\n".encode())
    return digest.hexdigest()


@dataclass
class _Bench:
    """Where the trials of a study are run: data and cut faces are read once and kept."""

    data: Path
    pictures: Mapping[Path, Sequence[LabelledPicture]]
    slices: int
    out: Path
    fabric: Fabric
    threads: int | None
    note: Note
    _rows: dict[tuple[Any, ...], tuple[FaceCrops, FaceCrops]] = field(default_factory=dict)
    _faces: dict[tuple[Any, ...], LabelledFaces] = field(default_factory=dict)

    def require_all(self, trials: Sequence[tuple[Variant, int, Recipe]]) -> None:
        """Refuse what the turn of a trial would refuse, before the turn of the first.

        Raises:
            ConfigError, DatasetError, ModelError: there is nothing to learn from, or another run in
                the folder of one.
        """
        for variant, seed, recipe in sorted(trials, key=lambda trial: trial[2].data.input_px):
            run = self._run(variant, seed)
            train, _ = self._training(recipe)
            key = self._key(recipe)
            if _finished(run, key):
                continue
            with _named(variant):
                usable_rows(recipe, train)
            if (run / CHECKPOINT).is_file():
                with _named(variant, f". Or remove {run}, and it is trained anew"):
                    load_checkpoint(run / CHECKPOINT, recipe, key.origin)

    def finish(self, variant: Variant, seed: int, recipe: Recipe) -> Trial:
        """Read the trial's result, or go on with it, or begin it."""
        run = self._run(variant, seed)
        train, watched = self._training(recipe)
        key = self._key(recipe)
        if done := _finished(run, key):
            return done
        try:
            fit(
                recipe,
                train,
                watched,
                run,
                fabric=self.fabric,
                resume=True,
                cache=self.out,
                threads=self.threads,
                report=lambda epoch: self.note(
                    f"  epoch {epoch.epoch}/{epoch.epochs}  loss {epoch.loss:.3f}  "
                    f"watched rows {epoch.accuracy:.2%}  {epoch.wall_s:.0f} s"
                ),
            )
            trial = self._examine(variant, seed, run, train, watched)
        except DivergedError as error:
            # A variant that cannot learn is an answer too; the others are not its hostages.
            self.note(f"  {error}")
            trial = Trial(variant.name, seed, failure=str(error))
        record = {"made_of": key.to_dict(), "trial": trial.to_dict()}
        with whole(run / _TRIAL) as partial:
            partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        return trial

    def _run(self, variant: Variant, seed: int) -> Path:
        return self.out / f"{variant.folder}-{seed}"

    def _key(self, recipe: Recipe) -> _TrialKey:
        train, watched = self._training(recipe)
        names = tuple(path.resolve().name for path in self.pictures)
        origin, judge = Origin.of(recipe, train), watched.fingerprint()
        return _TrialKey(recipe, origin, judge, names, self._shown, self.slices)

    @cached_property
    def _shown(self) -> str:
        return _listed(self.pictures)

    def _training(self, recipe: Recipe) -> tuple[FaceCrops, FaceCrops]:
        rule = recipe.data
        key = (max(rule.input_px, SMALLEST_PX), rule.classes, rule.holdout)
        if key not in self._rows:
            size, classes, holdout = key
            rows = load_training(self.data, size_px=size, classes=classes, holdout=holdout)
            self._rows = {key: rows}
        return self._rows[key]

    def _examine(
        self, variant: Variant, seed: int, run: Path, train: FaceCrops, watched: FaceCrops
    ) -> Trial:
        recipe, network, data_sha256, _ = load_trained(run)
        file = run / "model.onnx"
        fresh = watched.without(train)
        spec = export(recipe, network, fresh, file, data_sha256=data_sha256, half=True)
        analyzer = Analyzer(file, threads=2)
        name = self.data.resolve().stem
        found = []
        for views in _VIEWS:
            answers = answer_crops(analyzer.classifier, watched, views=views)
            found.append(summarize(answers, spec, data=name, split=watched.split, views=views))
        correct = "".join("01"[int(right)] for right in answers.correct)
        for path in self.pictures:
            shown = answer_faces(analyzer.classifier, self._cut(analyzer, path))
            front = of_pose(shown, "front")
            if not len(front):
                self.note(f"  {path}: no face from the front, and so nothing to examine")
                continue
            found.append(summarize(front, spec, data=path.resolve().name, pose="front"))
        sliced = None
        if self.slices:
            reader = CropReader(analyzer.classifier)
            (sliced,) = slice_crops(
                [reader], watched, name=name, split=watched.split, sample=self.slices
            )
        log = read_log(run / LOG)
        macs = sum(count_macs(network, row.size_px) for row in log)
        return Trial(
            variant.name,
            seed,
            epochs=len(log),
            parameters=spec.parameters,
            macs=spec.macs,
            trained_tmac=passes_of(recipe.network)
            * macs
            * int(usable_rows(recipe, train).sum())
            / 1e12,
            core_hours=sum(row.cpu_s for row in log) / 3600,
            evaluations=tuple(found),
            correct=correct,
            sliced=sliced,
        )

    def _cut(self, analyzer: Analyzer, path: Path) -> LabelledFaces:
        spec = analyzer.classifier.spec
        key = (path, spec.crop_scale, spec.crop_upright, spec.input_px)
        if key not in self._faces:
            self.note(f"  finding the faces in {path}")
            self._faces[key] = cut_faces(analyzer, self.pictures[path])
        return self._faces[key]


def _finished(run: Path, key: _TrialKey) -> Trial | None:
    """The result of a trial that is done, and is of the same."""
    saved = run / _TRIAL
    if not saved.is_file():
        return None
    record = json.loads(saved.read_text(encoding="utf-8"))
    if _TrialKey.from_dict(record["made_of"], str(saved), key) != key:
        return None
    return Trial.from_dict(record["trial"])
