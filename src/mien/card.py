"""A model card: what a model is, how it was examined, and what it must not be used for.

May import numpy, datasets, models and evaluate. The text is made from the model's own `ModelSpec`
and from saved evaluations, so that no figure in a card is typed by hand. The outline follows
Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mien.datasets import EVERY_SPLIT
from mien.evaluate import Evaluation, figure
from mien.models import ModelSpec

#: The 63%: labels that agree with `FaceCrops.by_votes`. No command prints it.
_USE = """\
## Intended use

Describing what a face shows, in pictures and videos whose subjects know about it and agree:
research on expression, media and audience studies, interfaces that react to a face,
self-observation, accessibility. A person decides what follows from an answer, never the model
alone.

## Excluded use

- Inferring the emotions of people at work or in education: prohibited in the European Union since
  2 February 2025 (Regulation (EU) 2024/1689, Article 5(1)(f)), medical and safety uses excepted.
- Diagnosis, lie detection, hiring, policing, insurance, border control, or any decision about a
  person; covert observation.

An expression is not an emotion: the model reads what a face shows, not what a person feels.

## Limits

- FER2013's labels are disputed: the majority of ten later annotators (FER+) agrees with them on
  63% of the 31,942 Training and PublicTest pictures in which it sees an expression. A figure on
  FER2013 therefore says how far a model shares the habits of those labels, not how often it is
  right about a face.
- Disgust is rare in the training data (436 of 28,709 pictures); fear and sad are often confused
  with each other and with neutral.
- The pictures come from a web search of 2013. They carry no record of age, skin colour or origin:
  accuracy probably differs between groups, and by how much has not been measured.
- Profiles, covered mouths or eyes, strong side light and faces under about 24 pixels are read
  worse; the answer is then often `uncertain`, but not always. How much each costs:
  [docs/robustness.md](../docs/robustness.md).
- A posed expression at its peak is easier than a spontaneous one. Figures on posed sets (CK+,
  KDEF) do not carry over to daily life.
"""


def figures_table(evaluations: Sequence[Evaluation]) -> list[str]:
    """The rows of a Markdown table, one per evaluation, each with the command that makes it."""
    lines = [
        "| data | n | accuracy (95% interval) | macro F1 | ECE | answered, right when answered "
        "| `mien evaluate …` |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {_data(e)} | {e.n:,} | {accuracy_told(e)} | {e.macro_f1:.3f} | {figure(e.ece, '.3f')} "
        f"| {e.answered:.0%}, {figure(e.answered_accuracy, '.1%')} | `{command_of(e)}` |"
        for e in evaluations
    ]
    return lines


def accuracy_told(evaluation: Evaluation) -> str:
    """The accuracy with its interval: the one over people, where the examination knows them."""
    people = evaluation.by_person
    low, high = people.get("accuracy_ci95", evaluation.accuracy_ci95)
    over = f", over {people['people']:,} people" if people else ""
    return f"{evaluation.accuracy:.1%} ({low:.1%} to {high:.1%}{over})"


def model_card(spec: ModelSpec, sha256: str, evaluations: Sequence[Evaluation]) -> str:
    """The card as Markdown.

    Args:
        spec: the model's own description.
        sha256: hash of the model file.
        evaluations: examinations of that very file, in the order to be shown.
    """
    lines = [
        f"# {spec.name}, version {spec.version}",
        "",
        "<!-- Made by scripts/publish_model.py; change src/mien/card.py, not this file. -->",
        "",
        f"Expression of a face: {', '.join(spec.labels)}.",
        "",
        "| | |",
        "|---|---|",
        f"| network | {spec.recipe['network']['name']}, {spec.parameters:,} parameters, "
        f"{spec.macs / 1e6:.1f} million multiply-accumulates a face |",
        *_numbers(spec),
        f"| input | one grey face of {spec.input_px} x {spec.input_px} pixels, {_rule(spec)} |",
        f"| output | {len(spec.labels)} probabilities that sum to 1, at temperature "
        f"{spec.temperature:.3f} |",
        *_expectations(spec),
        f"| `uncertain` | below a confidence of {spec.uncertain_below:.3f}: chosen so that at "
        f"least 85% of the other answers are right on {spec.metrics['calibration_n']:,.0f} rows of "
        "PublicTest |",
        f"| training data | {spec.training_data} |",
        f"| terms | {spec.licence} |",
        f"| recipe | embedded in the file; seed {spec.recipe['fit']['seed']}, data "
        f"`{spec.data_sha256[:16]}`, commit `{spec.commit[:12] or 'unknown'}` |",
        f"| SHA-256 | `{sha256}` |",
        "",
        "## Figures",
        "",
        f"{_chosen(spec)} PrivateTest, the test set, has not been looked at.",
        "",
        "CK+ and KDEF are sets of posed expressions. Their full pictures go through the whole "
        "pipeline (detection, alignment, classification), and a face that is not found counts as "
        "wrong, and as not answered. Nothing was learned from these sets, but they are not blind: "
        "they were looked at when the crop rule was fixed and when it was decided what to publish "
        "([docs/experiments.md](../docs/experiments.md)).",
        "",
        *figures_table(evaluations),
        "",
        *_explained(evaluations),
        *_deduplicated(evaluations),
        *_coverage(evaluations),
    ]
    for e in evaluations:
        lines += [f"### By class: {_data(e)}", ""]
        lines += ["| class | n | precision | recall | F1 |", "|---|---|---|---|---|"]
        lines += [
            f"| {name} | {row['n']:,} | {row['precision']:.3f} | {row['recall']:.3f} "
            f"| {row['f1']:.3f} |"
            for name, row in e.per_class.items()
        ]
        lines += ["", *_never(e)]
    return "\n".join([*lines, _USE])


def _never(evaluation: Evaluation) -> list[str]:
    """The classes that no face was read as."""
    said = np.sum(evaluation.confusion, axis=0)
    never = [name for name, times in zip(evaluation.per_class, said, strict=False) if not times]
    return [f"None of these faces was read as {' or '.join(never)}.", ""] if never else []


def _coverage(evaluations: Sequence[Evaluation]) -> list[str]:
    """How often the most confident answers are right."""
    if not evaluations:
        return []
    levels = evaluations[0].coverage
    shares = " | ".join(f"{level['coverage']:.0%}" for level in levels)
    lines = ["### If only the most confident are answered", ""]
    lines += [f"| data | {shares} |", "|---" * (len(levels) + 1) + "|"]
    lines += [
        f"| {_data(e)} | " + " | ".join(f"{level['accuracy']:.1%}" for level in e.coverage) + " |"
        for e in evaluations
    ]
    return [*lines, ""]


def _chosen(spec: ModelSpec) -> str:
    """Where the weights come from, and what PublicTest chose."""
    recipe = spec.recipe
    begun = Path(recipe.get("init") or recipe["network"].get("weights", "")).name
    learned = f"What it learned from is stated above{f'; it began as `{begun}`' if begun else ''}."
    if teachers := recipe.get("fit", {}).get("teachers"):
        named = ", ".join(f"`{Path(teacher).name}`" for teacher in teachers)
        learned += f" Other models taught it: {named}."
    chosen = ["the temperature and the threshold"]
    if "shares_taken_back" in spec.metrics:
        chosen.insert(0, "how far the preference for common classes is taken back")
    if recipe.get("fusion", {}).get("method") == "logprob":
        chosen.insert(0, "the members' weights")
    elif spec.members:
        learned += " The layer that joins its members was fitted to Training rows."
    elif spec.averaged_from:
        learned += " How much each of the averaged models counts was given, not learned."
    elif recipe["fit"].get("select") == "best":
        chosen.insert(0, "the epoch whose weights are taken")
    else:
        learned += " The weights are those after the last epoch."
    return (
        f"{learned} PublicTest chose {', '.join(chosen)}: it is the validation set, and figures on "
        "it are a little optimistic."
    )


def _explained(evaluations: Sequence[Evaluation]) -> list[str]:
    """What the columns of the table mean."""
    if not evaluations:
        return []
    if all(e.gated for e in evaluations):
        left = (
            "the answers that are `uncertain`: below the threshold, or whose face cannot be read."
        )
    else:
        left = (
            "answers below the threshold, by confidence alone. In use, faces that are `badly-lit` "
            "or `covered` are `uncertain` as well ([docs/quality.md](../docs/quality.md)); "
            "`covered` marks 2.4% of PublicTest."
        )
        if any(e.pose == "front" and e.missed for e in evaluations):
            left += " Pictures whose face is not found count as seen from the front and as turned."
    if any(e.data == "kdef" and e.by_person for e in evaluations):
        left += (
            " People are those that file names tell apart: in this copy of KDEF its sessions, two "
            "of each person."
        )
    return [
        "Macro F1 is the mean F1 of the classes that occur as truth or as answer; a class without "
        "pictures (neutral in CK+) counts as 0 once it is answered. ECE is the expected "
        "calibration error: how far confidence is from the share of right answers, 0 at best. "
        f'"Answered" leaves out {left}',
        "",
    ]


def _deduplicated(evaluations: Sequence[Evaluation]) -> list[str]:
    """The accuracy on pictures that are not among the Training rows."""
    lines = [
        f"- {_data(e)}: {e.deduplicated_accuracy:.1%} of {e.deduplicated_n:,}"
        for e in evaluations
        if e.deduplicated_accuracy is not None
    ]
    if not lines:
        return []
    return ["Accuracy without pictures that are pixel for pixel in Training too:", "", *lines, ""]


def _numbers(spec: ModelSpec) -> list[str]:
    """Rows for models whose numbers were averaged or rounded."""
    rows = []
    if spec.averaged_from:
        parts = ", ".join(f"`{sha}` ({share:.2g})" for sha, share in spec.averaged_from)
        rows.append(f"| weights | the mean of those of the models with SHA-256 {parts} |")
    if not spec.quantized_from:
        return rows
    same = spec.metrics["same_answers"]
    return [
        *rows,
        f"| numbers | of 8 bits, rounded from the model with SHA-256 `{spec.quantized_from}`; "
        f"{same:.1%} of the answers on PublicTest are the same |",
    ]


def _expectations(spec: ModelSpec) -> list[str]:
    """Rows for what a model expects, and for the answers in FER+'s classes."""
    rows = []
    if spec.class_shares:
        shares = ", ".join(
            f"{name} {share:.1%}"
            for name, share in zip(spec.labels, spec.class_shares, strict=True)
        )
        rows.append(f"| expects | {shares}; with `--expect balanced` all alike |")
    if spec.ferplus_temperature:
        rows.append(
            "| `--classes ferplus` | eight shares of votes (with contempt), at temperature "
            f"{spec.ferplus_temperature:.3f}; `uncertain` below "
            f"{spec.ferplus_uncertain_below:.3f} |"
        )
    return rows


def command_of(evaluation: Evaluation) -> str:
    """The arguments of `mien evaluate` that make this evaluation again."""
    words = [f"--data {evaluation.data}", f"--model {evaluation.model}"]
    if evaluation.pipeline:
        words.append("--pipeline")
    if not evaluation.pipeline or evaluation.split != EVERY_SPLIT:
        words.append(f"--split {evaluation.split}")
    if evaluation.pose != "all":
        words.append(f"--pose {evaluation.pose}")
    if evaluation.views != "single":
        words.append("--tta" if evaluation.views == "flip" else f"--views {evaluation.views}")
    if evaluation.classes:
        words.append(f"--classes {evaluation.classes}")
    if evaluation.expect:
        words.append(f"--expect {evaluation.expect}")
    if evaluation.deduplicated_n is not None:
        words.append(f"--train-data {evaluation.data}")
    return " ".join(words)


def _data(evaluation: Evaluation) -> str:
    expect = ", all expressions equally likely" if evaluation.expect else ""
    if evaluation.pipeline:
        pose = {"all": "", "front": ", front", "turned": ", turned"}[evaluation.pose]
        split = "" if evaluation.split == EVERY_SPLIT else f" {evaluation.split}"
        return f"{evaluation.data}{split}{pose}, whole pipeline{expect}"
    views = {"single": "one view", "flip": "with mirror image", "shifts": "18 views"}
    labels = ", FER+ classes" if evaluation.classes else ""
    return f"{evaluation.data} {evaluation.split}{labels}, {views[evaluation.views]}{expect}"


def _rule(spec: ModelSpec) -> str:
    turned = "turned upright" if spec.crop_upright else "not turned"
    return f"a square of {spec.crop_scale:g} times the detector's box, {turned}"
