"""The figure of a comparison: how far each run's dictionary is from its random basis, by data set."""

from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probe.methods import METHODS
from probe.report.compare.protocol import FIVE
from probe.report.compare.schema import MEASURES, Comparison, Measure, Value
from probe.report.figures.run import STYLE, legend_name

SHOWN: tuple[Measure, ...] = ("latent_ratio", "pixel_ratio")


def ratios(report: Comparison) -> Figure:
    """Ratios at 5 % of d with 95 % intervals, data sets down, a mark per run; 1 is the random orthogonal basis."""
    names = list(report.datasets)
    height = 1.3 + len(names) * (0.22 + 0.14 * len(report.runs)) + 0.2 * len(report.runs)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, height), layout="constrained")
        panels = figure.subplots(1, len(SHOWN), sharey=True, squeeze=False)[0]
        for axes, measure in zip(panels, SHOWN, strict=True):
            for place, run in enumerate(report.runs):
                _marks(axes, report, measure, place, run.name)
            axes.axvline(1, color="#222222", ls=":", lw=1.4)
            axes.set_xlabel(MEASURES[measure])
        panels[0].set_yticks(range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.4, -0.6)
        figure.suptitle("at 5 % of d; below 1: better than random", x=0.01, ha="left", fontsize=11)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncol=min(4, len(labels)), fontsize=9)
    return figure


def _marks(axes: Axes, report: Comparison, measure: Measure, place: int, run: str) -> None:
    colours, marks = [one.colour for one in METHODS], [one.mark for one in METHODS]
    step = 0.7 / max(len(report.runs), 2)
    shown = [
        (row + step * (place - (len(report.runs) - 1) / 2), value.value.mean, value.value.ci95)
        for row, name in enumerate(report.datasets)
        if (value := _at_five(report, name, run, measure)) is not None and value.value.mean is not None
    ]
    style: dict[str, Any] = {"color": colours[place % len(colours)]}
    axes.plot([mean for _, mean, _ in shown], [y for y, _, _ in shown], ls="", marker=marks[place % len(marks)],
              markersize=5, label=legend_name(run), **style)  # fmt: skip
    for y, _, ends in shown:
        if ends is not None:
            axes.plot(ends, (y, y), lw=1.6, **style)


def _at_five(report: Comparison, dataset: str, run: str, measure: Measure) -> Value | None:
    for level in report.datasets[dataset].levels:
        if level.fraction == FIVE:
            return next((one.measures.get(measure) for one in level.runs if one.run == run), None)
    return None
