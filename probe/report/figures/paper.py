"""The layout of the paper's Figure 4: error against number of atoms, a small panel per data set, for print."""

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from probe.methods import BASELINE, OURS, label, methods, metrics
from probe.report.figures.run import STYLE, line, log_axis
from probe.report.run.schema import DatasetErrors, Report

WIDTH = 6.75
"""Inches: the text width of a two-column page."""
PANEL = 1.75
"""Inches: height of a row."""
COLUMNS = 3
SMALL = {**STYLE, "font.size": 7, "axes.titlesize": 8, "axes.linewidth": 0.6, "grid.linewidth": 0.4,
         "xtick.major.width": 0.6, "ytick.major.width": 0.6, "ytick.minor.width": 0.4}  # fmt: skip
ROUNDING = 1e-6
"""Errors below this share of the largest are rounding errors of a complete basis: not drawn."""


def paper_figure(report: Report, metric: str = "pixel_mse") -> Figure:
    """The dictionary against the random orthogonal basis, other controls faint; both axes logarithmic, 95 % bands."""
    columns = max(min(COLUMNS, len(report.datasets)), 1)
    rows = max(-(-len(report.datasets) // columns), 1)
    with matplotlib.rc_context(SMALL):
        figure = Figure(figsize=(WIDTH, PANEL * rows + 0.4), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, (name, data) in zip(panels.flat, report.datasets.items(), strict=False):
            _panel(axes, data, metric, report.subject)
            axes.set_title(name, loc="left", pad=3)
        for axes in panels.flat[len(report.datasets) :]:
            axes.set_axis_off()
        for axes in panels[:, 0]:
            axes.set_ylabel(metrics()[metric].heading)
        figure.supxlabel("atoms", fontsize=7)
        handles = {key: one for axes in panels.flat for one, key in zip(*axes.get_legend_handles_labels(), strict=True)}
        if handles:
            figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncol=4, fontsize=7)
    return figure


def _panel(axes: Axes, data: DatasetErrors, metric: str, subject: str) -> None:
    means = [errors.of(metric).mean for level in data.levels for errors in level.methods.values()]
    least = ROUNDING * max((mean for mean in means if mean is not None), default=0.0)
    for method in methods():
        faint = method not in (OURS, BASELINE)
        line(axes, data, metric, method, label(method, subject), scale=0.6, faint=faint, least=least)
    if floor := data.autoencoder_floor.of(metric).mean:
        axes.axhline(floor, color="#222222", ls=":", lw=0.9, label="autoencoder floor")
    log_axis(axes, [level.atoms for level in data.levels])
    axes.set_xticks([tick for place, tick in enumerate(axes.get_xticks()) if place % 2 == 0])
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # labels even for less than a decade
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
