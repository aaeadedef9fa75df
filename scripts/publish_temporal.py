"""From a trained temporal model to a published one: its line in the registry, and its card.

    python scripts/publish_temporal.py models/mien-s-temporal.onnx --figures over_time.md

`--figures` is what `benchmarks/over_time.py` printed about this very file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from publish_model import register

from mien.models import ModelEntry, file_sha256
from mien.temporal import TemporalModel

_CARD = """\
# {name}, version {version}

Reads expressions over time: a recurrent network of {parameters:,} weights that follows each face.
Its input is the answers and features of `{classifier}` (SHA-256 `{classifier_sha256}`), and of no
other file. It keeps {state} numbers for each face and looks only back.

- Learned from {training_data}.
- Terms: {licence}.
- Made with {made_with}, commit `{commit}`; SHA-256 of the file `{sha256}`.

## How good is it

`python benchmarks/over_time.py --data ../shared/data`, whose first lines say what is counted:

{figures}

Five recipes were compared by this table (it chose the weight on changes, and the mouths), and five
trainings of this version (6 to 8 clips, 27 to 33 peaks), so the last row is a little optimistic.
With so few clips, differences of one or two mean nothing.

On composed sequences of people who were held out of training (the recipe's `holdout` and
`same_person`):

| answers | frames read rightly | changes a second |
|---|---|---|
| single frames | {single_accuracy:.1%} | {single_changes_per_s:.2f} |
| averaged over 0.2 s | {smooth_accuracy:.1%} | {smooth_changes_per_s:.2f} |
| temporal model | {temporal_accuracy:.1%} | {temporal_changes_per_s:.2f} |

## Limits

It has learned from posed expressions that were faded in and out, not from spontaneous ones.
Micro-expressions are as short as what it has learned to ignore as mistakes. What `{classifier}`'s
card says about intended and excluded use holds here too. `--smooth 0.2` does without this model.
"""


def main() -> None:
    """Publish one temporal model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="in models/")
    parser.add_argument("--figures", type=Path, required=True, help="a table in Markdown")
    options = parser.parse_args()
    text = card(options.file, options.figures.read_text(encoding="utf-8").strip())
    options.file.with_suffix(".md").write_text(text, encoding="utf-8")
    spec = TemporalModel(ModelEntry(options.file.stem, options.file, None)).spec
    register(options.file, spec.name, wheel=True, default=False, continues=spec.classifier_sha256)


def card(file: Path, figures: str) -> str:
    """The card of a temporal model's file, around the table that was measured."""
    spec = TemporalModel(ModelEntry(file.stem, file, None)).spec
    return _CARD.format(**{**vars(spec), **spec.metrics}, sha256=file_sha256(file), figures=figures)


if __name__ == "__main__":
    main()
