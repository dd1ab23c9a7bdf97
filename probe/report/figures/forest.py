"""Ratios to every control as a forest plot, and the parts of the advantage, as on a run's page."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from probe.methods import label, methods, metrics
from probe.report.figures.drawing import canvas, marks, row_names
from probe.report.run.forest import (
    COLOURS,
    PARTS,
    compared,
    decompositions,
    inside,
    shares,
    span,
    stacked,
    tally,
    ticks,
)
from probe.report.run.schema import ControlComparison, Report

ACROSS = 3
"""Panels beside each other."""
KINDS = {"beats": ("#00795A", "o"), "loses": ("#C2410C", "s")}
OTHER = ("#62666F", "D")


def forest(report: Report, metric: str) -> Figure:
    """Error with the end points over the error with a control, a panel per control, with simultaneous intervals."""
    found = compared(report, metric)
    low, high = span(found)
    rows = -(-len(found) // ACROSS)
    height = 0.24 * max((len(ones) for ones in found.values()), default=1) + 0.75
    with canvas(9.6, height * rows + 0.4) as figure:
        panels = figure.subplots(rows, ACROSS, squeeze=False, sharex=True)
        for axes, (control, ones) in zip(panels.flat, found.items(), strict=False):
            _panel(axes, ones)
            axes.set(xscale="log", xlim=(low, high))
            title = f"/ {label(control, report.subject)}\n{tally(control, list(ones.values()))}"
            axes.set_title(title, loc="left", fontsize=8.5)
            axes.xaxis.set_major_locator(FixedLocator(ticks(low, high)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.tick_params(labelbottom=True, labelsize=8)
            if methods()[control].sees_data:
                axes.spines[["left", "bottom"]].set_linestyle("--")
        for axes in panels.flat[len(found) :]:
            axes.set_axis_off()
        title = f"{metrics()[metric].label}, {report.subject} / control; below 1 the {report.subject} are better"
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    return figure


def _panel(axes: Axes, ones: dict[str, ControlComparison]) -> None:
    axes.axvline(1, color="#222222", lw=1)
    for kind in dict.fromkeys(one.result for one in ones.values()):
        rows = [(y, one.ratio) for y, one in enumerate(ones.values()) if one.result == kind]
        shown = [
            (y, inside(ratio.mean), [inside(end) for end in ratio.simultaneous or ()] or None)
            for y, ratio in rows
            if ratio.mean is not None
        ]
        marks(axes, shown, *KINDS.get(kind, OTHER))
    row_names(axes, list(ones))
    axes.grid(axis="y", visible=False)


def decomposition(report: Report) -> Figure:
    """How much of the advantage over the random basis is the end points' mean, their covariance, and themselves."""
    found = decompositions(report)
    with canvas(7.2, 0.42 * len(found) + 1.3) as figure:
        axes = figure.subplots()
        for y, one in enumerate(found.values()):
            values = [100 * (share or 0) for share in shares(one).values()]
            for part, start, value in zip(PARTS, stacked(values), values, strict=True):
                axes.barh(y, abs(value), left=start, height=0.6, color=COLOURS[part], label=None if y else PARTS[part])
        totals = [
            (y, 100 * (one.total.mean or 0), [100 * end for end in one.total.ci95 or ()] or None)
            for y, one in enumerate(found.values())
        ]
        marks(axes, totals, "#111111", "|", "all together, with its 95 % interval")
        axes.axvline(0, color="#222222", lw=1)
        row_names(axes, list(found))
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("% of the random orthogonal basis's mean latent MSE")
        axes.set_title("What makes the end points better than the random orthogonal basis", loc="left", fontsize=10)
        figure.legend(loc="outside lower center", ncol=2, fontsize=8)
    return figure
