"""Where a study is run. Imports the training side, evaluate, and what lies below them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lightning_fabric import Fabric

from mien.datasets import FaceCrops, LabelledPicture, load_pictures, load_training
from mien.datasets.crops import SMALLEST_PX
from mien.datasets.remarks import left_out, oblong
from mien.errors import ConfigError, DivergedError, ModelError
from mien.evaluate import LabelledFaces, answer_crops, answer_faces, cut_faces, of_pose, summarize
from mien.pipeline import Analyzer
from mien.slices import CropReader, slice_crops
from mien.study.plan import Study, Variant
from mien.study.result import StudyResult, Trial
from mien.training.benchmark import PASSES
from mien.training.checkpoint import LOG, read_log
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
            asks for other rows to watch than the first variant's.
        ModelError: the weights that a variant starts from, or its teachers, cannot be read. Both
            are found before anything is trained.
        DatasetError: a set cannot be read. Full pictures are opened before anything is trained.
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
        try:
            require_a_start(recipe)
            make_optimizer(build_network(recipe.network, len(recipe.data.classes)), recipe.fit)
        except (ConfigError, ModelError) as error:
            raise type(error)(f"{variant.name}: {error}") from error
    sets = {Path(path): load_pictures(path) for path in pictures}
    advice = "Of full pictures, `mien data crop` cuts the faces out"
    for remark in (left_out(data, reference.data.classes), oblong(data, advice)):
        if remark:
            note(remark)
    fabric = fabric or make_fabric()
    bench = _Bench(Path(data), sets, study.slices, out, fabric, threads, note)
    finished = []
    for number, (variant, seed, recipe) in enumerate(trials, 1):
        note(f"{study.name} {number}/{len(trials)}: {variant.name}, seed {seed}")
        finished.append(bench.finish(variant, seed, recipe))
    return StudyResult(study.name, study.question, tuple(finished))


@dataclass(frozen=True)
class _TrialKey:
    """What a trial is made of: where a saved one is of the same, it is done."""

    recipe: Recipe
    data: str
    watched: str
    pictures: tuple[str, ...]
    slices: int

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "recipe": self.recipe.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> _TrialKey:
        recipe = recipe_from_dict(values["recipe"], where)
        pictures, slices = tuple(values["pictures"]), values.get("slices", 0)
        return cls(recipe, values["data"], values.get("watched", ""), pictures, slices)


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

    def finish(self, variant: Variant, seed: int, recipe: Recipe) -> Trial:
        """Read the trial's result, or go on with it, or begin it."""
        run = self.out / f"{variant.folder}-{seed}"
        train, watched = self._training(recipe)
        names = tuple(path.resolve().name for path in self.pictures)
        key = _TrialKey(recipe, train.fingerprint(), watched.fingerprint(), names, self.slices)
        saved = run / _TRIAL
        if saved.is_file():
            record = json.loads(saved.read_text(encoding="utf-8"))
            if _TrialKey.from_dict(record["made_of"], str(saved)) == key:
                return Trial.from_dict(record["trial"])
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
        with whole(saved) as partial:
            partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        return trial

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
        passes = 1 if recipe.network.frozen else PASSES
        macs = sum(count_macs(network, row.size_px) for row in log)
        return Trial(
            variant.name,
            seed,
            epochs=len(log),
            parameters=spec.parameters,
            macs=spec.macs,
            trained_tmac=passes * macs * int(usable_rows(recipe, train).sum()) / 1e12,
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
