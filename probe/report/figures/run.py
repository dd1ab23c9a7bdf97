"""Figures of a run: those of its report, and the layout of the paper's Figure 4."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from probe.dynamics import Outcome
from probe.methods import BASELINE, OURS, OUTCOME_COLOURS, label, methods, metrics
from probe.report.figures.drawing import STYLE, canvas, mosaic, picture_grid, picture_rows
from probe.report.run.schema import DatasetErrors, GalleryAtom, Report, Starts

SMALLEST = 1e-16
"""Residuals below are drawn here; a residual of exactly 0 has no logarithm."""
ACROSS = 8
"""Pictures in a row of the gallery."""
PAPER_WIDTH, PAPER_PANEL, PAPER_COLUMNS = 6.75, 1.75, 3
"""The paper's figure, in inches: the text width of a two-column page, and the height of a row of at most 3 panels."""
SMALL = {**STYLE, "font.size": 7, "axes.titlesize": 8, "axes.linewidth": 0.6, "grid.linewidth": 0.4,
         "xtick.major.width": 0.6, "ytick.major.width": 0.6, "ytick.minor.width": 0.4}  # fmt: skip
ROUNDING = 1e-6
"""Errors below this share of the largest are rounding errors of a complete basis: not drawn in the paper's figure."""


def curve(data: DatasetErrors, metric: str, subject: str) -> Figure:
    """A metric against the number of atoms, all methods, with 95 % bands and the level of the autoencoder alone."""
    with canvas(5.4, 4.3) as figure:
        axes = figure.subplots()
        for method in methods():
            _line(axes, data, metric, method, subject)
        if (floor := data.autoencoder_floor.of(metric).mean) is not None:
            axes.axhline(floor, color="#222222", ls=":", lw=1.4, label="autoencoder floor")
        axes.axvline(data.five_percent, color="#BBBBBB", lw=1, zorder=0.5)
        axes.annotate(
            "5 % of d", (data.five_percent, 1), (3, -2), xycoords=("data", "axes fraction"),
            textcoords="offset points", va="top", fontsize=8, color="#777777",
        )  # fmt: skip
        _log_axis(axes, [level.atoms for level in data.levels])
        if metrics()[metric].better == "low":
            axes.set_ylim(bottom=0)
        axes.set_xlabel("atoms allowed per image")
        axes.set_title(metrics()[metric].heading, loc="left", fontsize=11)
        figure.legend(loc="outside lower center", ncol=3, fontsize=9)
    return figure


def sizes(found: Starts, atoms: int, subject: str) -> Figure:
    """Ratio to the random orthogonal basis against the size of the dictionary, with 95 % bands."""
    with canvas(5.4, 3.8) as figure:
        axes = figure.subplots()
        for method, rows in found.sizes.items():
            known = [(row.atoms, row.ratio.mean, row.ratio.ci95) for row in rows if row.atoms and row.ratio.mean]
            if not known:
                continue
            points = [(size, mean, *(ends or (mean, mean))) for size, mean, ends in known]
            size, mean, low, high = zip(*sorted(points), strict=True)
            one, name = methods()[method], label(method, subject)
            axes.fill_between(size, low, high, alpha=0.18, linewidth=0, color=one.colour)
            axes.plot(size, mean, lw=1.6, marker=one.mark, markersize=4.5, color=one.colour, label=name)
        axes.axhline(1, color="#222222", ls=":", lw=1.4, label=label(BASELINE))
        _log_axis(axes, [row.atoms for rows in found.sizes.values() for row in rows if row.atoms])
        axes.set_xlabel("atoms in the dictionary")
        axes.set_title(f"latent MSE / random orthogonal, {atoms} atoms in the code", loc="left", fontsize=11)
        figure.legend(loc="outside lower center", ncol=3, fontsize=9)
    return figure


def paper_figure(report: Report, metric: str = "pixel_mse") -> Figure:
    """Error against number of atoms, a small panel per data set, for print; 95 % bands, and other controls faint.

    The number of atoms is logarithmic, and so is a metric of which less is better.
    """
    columns = max(min(PAPER_COLUMNS, len(report.datasets)), 1)
    rows = max(-(-len(report.datasets) // columns), 1)
    with canvas(PAPER_WIDTH, PAPER_PANEL * rows + 0.4, SMALL) as figure:
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes, (name, data) in zip(panels.flat, report.datasets.items(), strict=False):
            _paper_panel(axes, data, metric, report.subject)
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


def _paper_panel(axes: Axes, data: DatasetErrors, metric: str, subject: str) -> None:
    logarithmic = metrics()[metric].better == "low"
    means = [errors.of(metric).mean for level in data.levels for errors in level.methods.values()]
    least = ROUNDING * max((mean for mean in means if mean is not None), default=0.0) if logarithmic else -math.inf
    for method in methods():
        _line(axes, data, metric, method, subject, scale=0.6, faint=method not in (OURS, BASELINE), least=least)
    if floor := data.autoencoder_floor.of(metric).mean:
        axes.axhline(floor, color="#222222", ls=":", lw=0.9, label="autoencoder floor")
    _log_axis(axes, [level.atoms for level in data.levels])
    axes.set_xticks([tick for place, tick in enumerate(axes.get_xticks()) if place % 2 == 0])
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # labels even for less than a decade
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _line(
    axes: Axes,
    data: DatasetErrors,
    metric: str,
    method: str,
    subject: str,
    *,
    scale: float = 1.0,
    faint: bool = False,
    least: float = -math.inf,
) -> None:
    """A method's means over the levels that are at least ``least``, with their 95 % band; ``scale`` of line and mark"""
    one, first = methods()[method], method == OURS
    means = [(level.atoms, level.methods[method].of(metric)) for level in data.levels if method in level.methods]
    known = [(atoms, found.mean, found.ci95) for atoms, found in means if found.mean is not None]
    points = [(atoms, mean, *(ends or (mean, mean))) for atoms, mean, ends in known if mean >= least]
    if not points:
        return
    atoms, middle, low, high = zip(*points, strict=True)
    style: dict[str, Any] = {"color": one.colour, "zorder": 3 if first else 2}
    axes.fill_between(atoms, low, high, alpha=0.06 if faint else 0.18, linewidth=0, **style)
    style |= {"ls": "--" if one.sees_data else "-", "alpha": 0.45 if faint else 1}
    width, name = scale * (2.2 if first else 1.4), label(method, subject)
    axes.plot(atoms, middle, lw=width, marker=one.mark, markersize=4.5 * scale, label=name, **style)


def _log_axis(axes: Axes, atoms: Sequence[int]) -> None:
    """Log x axis with plain numbers at powers of two."""
    if not atoms:
        return
    low, high = min(atoms), max(atoms)
    axes.set_xscale("log", base=2)
    axes.set_xlim(low / 1.2, high * 1.2)
    powers = [2**k for k in range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)]
    ticks = [power for power in powers if low / 1.2 <= power <= high * 1.2]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def steps_histogram(starts: dict[str, NDArray[Any]], max_steps: int) -> Figure:
    """Starts by number of steps, stacked by outcome."""
    steps = starts["steps"].astype(float)
    edges = np.histogram_bin_edges(steps, bins=30, range=(0, max(max_steps, 1)))
    return _histogram(steps, starts["outcome"], edges, "steps")


def residual_histogram(starts: dict[str, NDArray[Any]], tolerance: float) -> Figure:
    """Starts by log10 residual, stacked by outcome; residuals that are not finite are left out."""
    finite, line = np.isfinite(starts["residual"]), math.log10(tolerance)
    logs = np.log10(np.maximum(starts["residual"][finite].astype(float), SMALLEST))
    edges = np.histogram_bin_edges(logs, bins=30)
    width = edges[1] - edges[0]  # edges move onto the line, so that no bar straddles it
    edges = line + width * np.arange(np.floor((edges[0] - line) / width), np.ceil((edges[-1] - line) / width) + 1)
    return _histogram(logs, starts["outcome"][finite], edges, "log10 of ||f(z) - z||²", line)


def _histogram(
    values: NDArray[Any], outcome: NDArray[Any], edges: NDArray[Any], name: str, line: float | None = None
) -> Figure:
    with canvas(5.4, 3.4) as figure:
        axes = figure.subplots()
        if present := [o for o in Outcome if (outcome == o).any()]:
            axes.hist(
                [values[outcome == o] for o in present], bins=[float(edge) for edge in edges], stacked=True,
                color=[OUTCOME_COLOURS[o.label] for o in present], label=[o.label for o in present],
                edgecolor="white", linewidth=0.4,
            )  # fmt: skip
        if line is not None:
            axes.axvline(line, color="#222222", ls=":", lw=1.4, label="tolerance")
        axes.set_xlabel(name)
        axes.set_ylabel("starts")
        axes.grid(axis="x", visible=False)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside lower center", ncol=4, fontsize=9)
    return figure


def examples(images: dict[str, NDArray[np.uint8]], subject: str, atoms: int) -> Figure:
    """Rows of images by name: original, autoencoder, and reconstructions."""
    rows = {key if key == "original" else label(key, subject): batch for key, batch in images.items()}
    width, height = len(next(iter(images.values()))) + 1.9, len(rows) + 0.4
    figure = picture_rows(rows, f"reconstructed from {atoms} atoms", width, height, fontsize=10)
    figure.axes[0].set_anchor("E")  # names are to the left
    return figure


def gallery(images: NDArray[np.uint8], atoms: Sequence[GalleryAtom]) -> Figure:
    """Decoded end points, largest basins first, with the number of starts in each."""
    rows = [images[first : first + ACROSS] for first in range(0, len(images), ACROSS)]
    with canvas(ACROSS, len(rows) + 0.2) as figure:
        axes = figure.subplots()
        size = mosaic(axes, picture_grid(rows, ACROSS))
        for i, atom in enumerate(atoms):
            row, column = divmod(i, ACROSS)
            mark = "*" if atom.certificate == "attractor" else ""
            axes.text(
                column * size + size * 0.06, row * size + size * 0.06, f"{atom.basin}{mark}", fontsize=7, va="top",
                bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.2},
            )  # fmt: skip
        axes.set_yticks([])
        axes.set_title("decoded end points, with basin size; * certified attractor", loc="left", fontsize=9)
    return figure
