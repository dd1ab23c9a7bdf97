"""The figure of a comparison: the error of each run's dictionary relative to its random basis, by data set."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probe.methods import METHODS
from probe.report.compare.protocol import FIVE
from probe.report.compare.schema import MEASURES, ComparedError, ComparisonReport, Measure
from probe.report.figures.drawing import canvas, legend_name, marks, row_names

SHOWN: tuple[Measure, ...] = ("latent_ratio", "pixel_ratio")


def ratios(report: ComparisonReport) -> Figure:
    """Ratios at 5 % of d with 95 % intervals, data sets down, a mark per run; 1 is the random orthogonal basis."""
    names = list(report.datasets)
    height = 1.3 + len(names) * (0.22 + 0.14 * len(report.runs)) + 0.2 * len(report.runs)
    with canvas(8.6, height) as figure:
        panels = figure.subplots(1, len(SHOWN), sharey=True, squeeze=False)[0]
        for axes, measure in zip(panels, SHOWN, strict=True):
            for place, run in enumerate(report.runs):
                _marks(axes, report, measure, place, run.name)
            axes.axvline(1, color="#222222", ls=":", lw=1.4)
            axes.set_xlabel(MEASURES[measure])
        row_names(panels[0], names, margin=0.6)
        figure.suptitle("at 5 % of d; below 1: better than random", x=0.01, ha="left", fontsize=11)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncol=min(4, len(labels)), fontsize=9)
    return figure


def _marks(axes: Axes, report: ComparisonReport, measure: Measure, place: int, run: str) -> None:
    method = METHODS[place % len(METHODS)]
    shift = 0.7 / max(len(report.runs), 2) * (place - (len(report.runs) - 1) / 2)
    found = [_at_five(report, name, run, measure) for name in report.datasets]
    rows = [(row + shift, one.value.mean, one.value.ci95) for row, one in enumerate(found) if one]
    marks(axes, rows, method.colour, method.mark, legend_name(run))


def _at_five(report: ComparisonReport, dataset: str, run: str, measure: Measure) -> ComparedError | None:
    for level in report.datasets[dataset].levels:
        if level.fraction == FIVE:
            return next((one.measures.get(measure) for one in level.runs if one.run == run), None)
    return None
