"""Figures for reports. Imports numpy and whole, and matplotlib inside functions (extra `report`).

Every function writes one picture file and returns nothing. The look is plain: no grid where there
is a number, one colour where there is one quantity.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mien.whole import whole

_INK = "#1f2a44"
_SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")  # Okabe & Ito, 2008


@contextmanager
def _figure(file: Path, width_in: float, height_in: float) -> Iterator[Any]:
    """Axes of a new figure that is saved to `file` at the end."""
    with _panels(file, width_in, height_in, 1) as (axes,):
        yield axes


@contextmanager
def _panels(
    file: Path, width_in: float, height_in: float, n: int, *, columns: int = 1
) -> Iterator[Any]:
    """The same with `n` axes: below each other they share their horizontal one, in columns not."""
    # The object interface: pyplot would open a window system and keep every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    rows = -(-n // columns)
    grid = figure.subplots(rows, columns, sharex=columns == 1, squeeze=False).ravel()
    for empty in grid[n:]:
        empty.remove()
    panels = grid[:n]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=_INK)
    yield panels
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():  # names in scripts that the font does not have become boxes
        warnings.filterwarnings("ignore", message="Glyph ")
        with whole(file) as partial:
            figure.savefig(partial, dpi=130)


def count_chart(counts: Mapping[str, Mapping[str, int]], splits: Sequence[str], file: Path) -> None:
    """Bars of the number of pictures per class, stacked by split.

    Args:
        counts: for each class its number of pictures by split, in the order to be drawn.
        splits: the splits, in the order to be stacked.
        file: picture to write.
    """
    with _figure(file, 8, 4) as axes:
        base = [0] * len(counts)
        for split, colour in zip(splits, _SERIES * len(splits), strict=False):
            heights = [by_split.get(split, 0) for by_split in counts.values()]
            axes.bar(list(counts), heights, bottom=base, color=colour, label=split)
            base = [low + height for low, height in zip(base, heights, strict=True)]
        for x, total in enumerate(base):
            axes.text(x, total, f"{total:,}", ha="center", va="bottom", color=_INK)
        axes.set_ylabel("pictures")
        axes.legend(frameon=False)


def confusion_chart(
    confusion: Sequence[Sequence[int]], names: Sequence[str], file: Path, *, normalized: bool
) -> None:
    """A confusion matrix, rows the truth; as counts, or as shares of each row.

    Args:
        confusion: counts `(K, K)`; a column more is of pictures in which no face was found.
        names: of the K classes.
        file: picture to write.
        normalized: whether shares are written into the cells.
    """
    counts = np.asarray(confusion, np.float64)
    columns = [*names, "no face"][: counts.shape[1]]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    with _figure(file, 6, 5.2) as axes:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(columns)), columns, rotation=35, ha="right")
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("answer")
        axes.set_ylabel("truth")
        for row in range(len(names)):
            for column in range(len(columns)):
                share = shares[row, column]
                text = f"{share:.0%}" if normalized else f"{counts[row, column]:,.0f}"
                colour = "white" if share > 0.55 else _INK
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)


def per_class_chart(per_class: Mapping[str, Mapping[str, float]], file: Path) -> None:
    """Bars of every class's `precision`, `recall` and `f1`, 0..1."""
    measures = ("precision", "recall", "f1")
    with _figure(file, 8, 3.6) as axes:
        for i, (measure, colour) in enumerate(zip(measures, _SERIES, strict=False)):
            x = np.arange(len(per_class)) + (i - 1) * 0.27
            heights = [row[measure] for row in per_class.values()]
            axes.bar(x, heights, 0.25, color=colour, label=measure)
        axes.set_xticks(range(len(per_class)), list(per_class))
        axes.set_ylim(0, 1)
        axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.15))


def reliability_chart(
    confidence: npt.NDArray[np.floating], correct: npt.NDArray[np.bool_], file: Path
) -> None:
    """How often answers of a given confidence are right: on the diagonal, if well calibrated.

    Bars below show how many answers have that confidence.

    Args:
        confidence: `(N,)`, 0..1.
        correct: `(N,)`, which answers are right.
        file: picture to write.
    """
    edges = np.linspace(0, 1, 11)
    index = np.clip(np.ceil(confidence * 10).astype(int) - 1, 0, 9)
    counts = np.bincount(index, minlength=10)
    with _figure(file, 5, 4.6) as axes:
        axes.plot([0, 1], [0, 1], color="#9aa3b5", linewidth=1, label="perfectly calibrated")
        axes.bar(
            edges[:-1], counts / max(counts.max(), 1) * 0.25, 0.1, align="edge", color="#dfe5f1"
        )
        filled = counts > 0
        sums = np.bincount(index, confidence, 10), np.bincount(index, correct, 10)
        mean_confidence, accuracy = (total[filled] / counts[filled] for total in sums)
        axes.plot(mean_confidence, accuracy, "o-", color=_SERIES[0], label="this model")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share of right answers")
        axes.legend(frameon=False, loc="upper left")


def coverage_chart(
    confidence: npt.NDArray[np.floating],
    correct: npt.NDArray[np.bool_],
    answered: npt.NDArray[np.bool_],
    file: Path,
) -> None:
    """Accuracy of the most confident answers against their share of all pictures.

    Args:
        confidence: `(N,)`, 0 for a picture in which no face was found.
        correct: `(N,)`, which answers are right.
        answered: `(N,)`, which are not uncertain: a point of their own.
        file: picture to write.
    """
    order = np.argsort(-confidence, kind="stable")
    coverage = np.arange(1, len(order) + 1) / len(order)
    accuracy = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    with _figure(file, 5, 4.6) as axes:
        axes.plot(coverage, accuracy, color=_SERIES[0])
        if answered.any():
            given, right = float(answered.mean()), float(correct[answered].mean())
            axes.plot([given], [right], "o", color=_SERIES[5])
            axes.annotate(
                f"answers that are not uncertain:\n{right:.1%} of {given:.0%} are right",
                (given, right),
                xytext=(-8, 14),
                textcoords="offset points",
                ha="right",
            )
        axes.set(xlim=(0, 1), xlabel="share of faces answered", ylabel="share of right answers")


def slices_chart(
    panels: Sequence[tuple[str, str, Sequence[str]]],
    models: Mapping[str, Sequence[Mapping[str, Sequence[float]]]],
    file: Path,
) -> None:
    """Small multiples: shares of right answers against how much pictures are degraded.

    Args:
        panels: for each way of degrading its title, its unit, and its amounts.
        models: for each model and each panel, lists of as many numbers as there are amounts:
            `right` with the ends of its interval, `low` and `high`; and where a model can be
            uncertain, `answered` and `answered_right` (NaN where nothing was answered), 0..1.
            What the first model answers is drawn as bars.
        file: picture to write.
    """
    columns = min(3, len(panels))
    height = 0.5 + 2.1 * -(-len(panels) // columns)
    with _panels(file, 3.2 * columns, height, len(panels), columns=columns) as grid:
        for i, (axes, (title, unit, amounts)) in enumerate(zip(grid, panels, strict=True)):
            x = np.arange(len(amounts))
            for m, (name, colour) in enumerate(zip(models, _SERIES * len(models), strict=False)):
                own = models[name][i]
                right = np.asarray(own["right"])
                around = np.abs(np.array([own["low"], own["high"]]) - right)
                place = x + 0.06 * (m - (len(models) - 1) / 2)  # so that intervals stay apart
                if m == 0 and "answered" in own:
                    axes.bar(x, own["answered"], 0.7, color="#dfe5f1", label=f"{name} answers")
                axes.errorbar(place, right, around, color=colour, marker="o", markersize=3.5,
                              linewidth=1.4, elinewidth=1, label=f"{name}, right")  # fmt: skip
                if "answered_right" in own:
                    axes.plot(place, own["answered_right"], ":", color=colour, linewidth=1.4,
                              label=f"{name}, right of its answers")  # fmt: skip
            axes.set(xticks=x, xticklabels=amounts, ylim=(0, 1), yticks=(0, 0.5, 1))
            axes.tick_params(labelsize=8)
            axes.set_title(title, loc="left", fontsize=10, color=_INK)
            axes.set_xlabel(unit, fontsize=8)
        handles, labels = grid[0].get_legend_handles_labels()
        grid[0].figure.legend(handles, labels, ncols=3, frameon=False, fontsize=8,
                              loc="outside lower center")  # fmt: skip


def learning_curves(
    epochs: Sequence[int], losses: Sequence[float], accuracies: Sequence[float], file: Path
) -> None:
    """The training loss, and the accuracy on the rows that are watched (0..1), by epoch."""
    with _figure(file, 8, 4) as axes:
        axes.plot(epochs, losses, color=_SERIES[1])
        axes.set_xlabel("epoch")
        axes.set_ylabel("training loss", color=_SERIES[1])
        other = axes.twinx()
        other.plot(epochs, accuracies, color=_SERIES[0])
        other.set_ylabel("accuracy on watched rows", color=_SERIES[0])
        other.spines[["top"]].set_visible(False)
        best = int(np.argmax(accuracies))
        other.annotate(
            f"{accuracies[best]:.1%}", (epochs[best], accuracies[best]), color=_SERIES[0],
            xytext=(0, 6), textcoords="offset points", ha="center",
        )  # fmt: skip


class FaceCurve(NamedTuple):
    """One face of a timeline: its title, times `(N,)` in seconds, probabilities `(N, K)` (NaN where
    it is out of sight), and segments as (expression, start, end).
    """

    title: str
    times_s: npt.NDArray[np.float64]
    probs: npt.NDArray[np.float64]
    segments: Sequence[tuple[str, float, float]]


def timeline_chart(
    faces: Sequence[FaceCurve],
    labels: Sequence[str],
    colours: Sequence[str],
    span_s: tuple[float, float],
    moments: Sequence[tuple[float, str]],
    file: Path,
) -> None:
    """Stacked probabilities over time, one panel a face, with its segments as bars below.

    Args:
        faces: one a panel, from the top.
        labels, colours: of the K classes.
        span_s: where the axis of time begins and ends.
        moments: seconds and words; a line through all panels, with its words above them.
        file: picture to write.
    """
    height = 1.2 + 1.7 * len(faces) + (1 if moments else 0)
    with _panels(file, 11, height, len(faces)) as panels:
        for axes, (title, times, probs, segments) in zip(panels, faces, strict=True):
            areas = axes.stackplot(times, probs.T, colors=colours, labels=labels, linewidth=0)
            for name, start, end in segments:
                colour = colours[labels.index(name)]
                axes.barh(-0.08, end - start, 0.1, start, color=colour, linewidth=0)
            for at_s, _ in moments:
                axes.axvline(at_s, color=_INK, linewidth=1.2, linestyle="--")
            axes.set(
                xlim=(span_s[0], max(span_s[1], span_s[0] + 1e-3)),
                ylim=(-0.15, 1),
                yticks=(0, 0.5, 1),
            )
            # Words of others (a person's name, a moment's) may hold dollars; they are no formulas.
            axes.set_title(title, loc="left", fontsize=10, color=_INK, parse_math=False)
        if moments:
            words = [what if len(what) <= 30 else f"{what[:29]}\u2026" for _, what in moments]
            turned = {"rotation": 30, "rotation_mode": "anchor", "ha": "left", "fontsize": 8}
            above = panels[0].secondary_xaxis("top")
            above.set_xticks([at_s for at_s, _ in moments], words, parse_math=False, **turned)
            above.spines["top"].set_visible(False)
        panels[-1].set_xlabel("seconds")
        figure = panels[-1].figure
        figure.legend(areas, labels, ncols=len(labels), frameon=False, loc="outside lower center")
