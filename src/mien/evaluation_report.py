"""One page out of an examination: figures, tables, mistakes. May import evaluate, slices, plots,
annotate, plain_page.

The page is plain HTML beside its PNG files; it needs nothing from the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

import numpy as np

from mien import plots
from mien.annotate import contact_sheet
from mien.evaluate import Answers, Evaluation, figure, format_evaluation
from mien.plain_page import plain_page
from mien.sinks import save_picture
from mien.slices import Sliced, describe, draw_sliced, format_sliced
from mien.whole import whole

_MISTAKES: Final = 40  # pictures in the grid of the most confident ones
_BATCH: Final = 32  # faces whose true and predicted labels are listed

_STYLE: Final = """
img { max-width: 100% } .pair { display: flex; flex-wrap: wrap; gap: 1rem }
.pair img { flex: 1 1 24rem; min-width: 0 }
pre { overflow-x: auto; background: #f5f7fb; padding: 1rem } .wrong { color: #b3261e }
@media (prefers-color-scheme: dark) { pre { background: #1b2130 } img { background: #fff }
  .wrong { color: #ff8a80 } }
"""


def write_report(folder: Path, evaluation: Evaluation, answers: Answers, *, seed: int) -> None:
    """Write `index.html` and its figures into `folder`, replacing an earlier report there.

    Args:
        folder: is made if need be.
        evaluation: the figures.
        answers: the single answers behind them.
        seed: chooses the batch whose labels are listed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = list(evaluation.per_class)
    confidence, correct, found = answers.confidence, answers.correct, answers.found
    for file, normalized in (("confusion.png", False), ("confusion-rows.png", True)):
        plots.confusion_chart(evaluation.confusion, names, folder / file, normalized=normalized)
    plots.per_class_chart(evaluation.per_class, folder / "classes.png")
    plots.reliability_chart(confidence[found], correct[found], folder / "reliability.png")
    answered = answers.answered(evaluation.uncertain_below)
    plots.coverage_chart(confidence, correct, answered, folder / "coverage.png")
    mistakes = _most_confident_mistakes(answers)
    if len(mistakes):
        titles = [
            f"{names[answers.labels[i]][:7]} > {names[answers.predicted[i]][:7]}" for i in mistakes
        ]
        sheet = contact_sheet(list(answers.crops[mistakes]), titles, columns=8, cell_px=112)
        save_picture(sheet, folder / "mistakes.png", overwrite=True)
    title = f"{evaluation.model} v{evaluation.version} on {evaluation.data}"
    _write(folder, title, _body(evaluation, answers, names, len(mistakes), seed))


def _write(folder: Path, title: str, body: Iterable[str]) -> None:
    with whole(folder / "index.html") as partial:
        partial.write_bytes(plain_page(title, body, style=_STYLE))


def _most_confident_mistakes(answers: Answers) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    wrong = np.nonzero(~answers.correct & answers.found)[0]
    order = np.argsort(-answers.confidence[wrong], kind="stable")
    return wrong[order][:_MISTAKES]


def _body(
    evaluation: Evaluation, answers: Answers, names: Sequence[str], mistakes: int, seed: int
) -> Iterator[str]:
    yield f"<pre>{escape(format_evaluation(evaluation))}</pre>"
    yield "<h2>Confusion: what is taken for what</h2><div class=pair>"
    yield '<img src="confusion.png" alt="Confusion matrix in counts, as in the table above">'
    yield '<img src="confusion-rows.png" alt="The same as shares of each true class"></div>'
    yield "<h2>By class</h2>"
    yield '<img src="classes.png" alt="Precision, recall and F1 of every class, as in the table">'
    yield "<h2>Can the confidence be trusted?</h2><div class=pair>"
    yield (
        f'<img src="reliability.png" alt="Reliability diagram, calibration error '
        f'{figure(evaluation.ece, ".3f")}">'
    )
    yield (
        f'<img src="coverage.png" alt="Accuracy against share answered: {evaluation.answered:.0%} '
        f'answered, {figure(evaluation.answered_accuracy, ".1%")} of them right"></div>'
    )
    if mistakes:
        yield "<h2>The most confident mistakes</h2><p>Truth &gt; answer.</p>"
        yield f'<img src="mistakes.png" alt="{mistakes} faces that were confidently misread">'
    yield "<h2>One batch, class by class</h2>"
    yield from _batch(answers, names, seed)


def _batch(answers: Answers, names: Sequence[str], seed: int) -> Iterator[str]:
    """The true and predicted labels of some random faces, sorted by their true class."""
    chosen = np.random.default_rng(seed).permutation(len(answers))[:_BATCH]
    called = [*names, "no face"]
    yield "<table><tr><th>true class<th>answers</tr>"
    for label, name in enumerate(names):
        said = [called[answers.predicted[i]] for i in chosen if answers.labels[i] == label]
        cells = [
            escape(answer) if answer == name else f'<span class="wrong">{escape(answer)}</span>'
            for answer in said
        ]
        answers_cell = ", ".join(cells) or "none in this batch"
        yield f'<tr><td>{escape(name)}<td style="text-align:left">{answers_cell}</tr>'
    yield "</table>"


def write_slices_report(folder: Path, sliced: Sequence[Sliced]) -> None:
    """Write `index.html` and `slices.png` into `folder`, replacing an earlier report there.

    Args:
        folder: is made if need be.
        sliced: models examined on the same degraded pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw_sliced(sliced, folder / "slices.png")
    lines = [
        f"<p>{escape(describe(sliced))}</p>",
        '<img src="slices.png" alt="Share of right answers against how much pictures are degraded, '
        'as in the table below">',
        '<h2>Figures</h2><div style="overflow-x: auto"><table>',
    ]
    head, _, *rows = format_sliced(sliced).splitlines()
    for tag, row in [("th", head), *(("td", row) for row in rows)]:
        cells = (escape(cell.strip().replace("**", "")) for cell in row.strip("|").split("|"))
        lines.append("<tr>" + "".join(f"<{tag}>{cell}" for cell in cells) + "</tr>")
    lines.append("</table></div>")
    _write(folder, f"Degraded pictures: {sliced[0].data}", lines)
