"""Figures of ``bottleneck`` and ``training_size`` studies."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator, NullFormatter, NullLocator

from probe.report.figures.drawing import canvas, picture_rows
from probe.report.study.schema import StudySection
from probe.results.study import Found

LABELS = {"k": "bottleneck k", "size": "training images"}
# Okabe and Ito's palette; marks distinguish the lines in grey print.
LINES: dict[str, dict[str, tuple[str, str, str]]] = {
    "memorization": {
        "mem": ("attractors", "#D55E00", "o"),
        "null_test": ("unseen test images", "#0072B2", "s"),
        "null_reconstructed": ("reconstructed test images", "#56B4E9", "v"),
        "null_mean": ("mean training image", "#009E73", "P"),
        "null_noise": ("noise", "#4D4D4D", "^"),
        "null_untrained": ("untrained network", "#CC79A7", "D"),
    },
    "mean squared error": {"test_error": ("test", "#0072B2", "s"), "train_error": ("train", "#009E73", "o")},
    "distinct attractors": {
        "distinct_euclidean": ("relative Euclid", "#D55E00", "o"),
        "distinct_cosine": ("cosine", "#0072B2", "s"),
    },
    "rank at 90 % of the variance": {"rank": ("decoded attractors", "#D55E00", "o")},
    "median steps": {"steps": ("all starts", "#4D4D4D", "o")},
    "share": {
        "share_converged": ("starts that converged", "#009E73", "o"),
        "share_certified": ("attractors certified", "#D55E00", "s"),
    },
}
LOGARITHMIC = ("distinct attractors", "median steps")


def sweep(name: str, axis: str, data: StudySection, variance: float) -> Figure:
    """All measures against the axis: means over seeds, bars of one standard deviation."""
    with canvas(11, 7.4) as figure:
        for axes, (title, lines) in zip(figure.subplots(2, 3).flat, LINES.items(), strict=True):
            for column, (label, colour, mark) in lines.items():
                _line(axes, data, column, label, colour, mark)
            _x_axis(axes, [int(point.value) for point in data.points], LABELS[axis])
            _y_axis(axes, title)
            axes.set_title(title.replace("90", f"{100 * variance:g}"), loc="left", fontsize=11)
            if len(lines) > 1:
                axes.legend(fontsize=8, ncol=2, loc="upper left", bbox_to_anchor=(-0.05, -0.17))  # below: hides no line
        figure.suptitle(name, x=0.01, ha="left", fontsize=12)
    return figure


def _y_axis(axes: Axes, title: str) -> None:
    if title in LOGARITHMIC:
        axes.set_yscale("log")
        for formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            formatter(LogFormatter(minor_thresholds=(2, 0.5)))  # 60 instead of 6 x 10^1
    elif title == "share":
        axes.set_ylim(-0.03, 1.03)
    elif title == "mean squared error":
        axes.set_ylim(bottom=0)
    elif title.startswith("rank"):
        axes.set_ylim(0, max(axes.get_ylim()[1], 1))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _line(axes: Axes, data: StudySection, column: str, label: str, colour: str, mark: str) -> None:
    points = [(p.value, p.columns[column]) for p in data.points if p.columns[column].mean is not None]
    x, y = [value for value, _ in points], [spread.mean or 0.0 for _, spread in points]
    bars = [spread.std or 0.0 for _, spread in points]
    first = column == "mem"
    axes.errorbar(
        x, y, yerr=bars, label=label, color=colour, ls="--" if mark == "s" else "-", marker=mark, markersize=4.5,
        lw=2.2 if first else 1.4, capsize=2, zorder=3 if first else 2,
    )  # fmt: skip


def _x_axis(axes: Axes, values: Sequence[int], label: str) -> None:
    axes.set_xscale("log")
    axes.set_xticks(values, [str(value) for value in values])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)


def losses(axis: str, found: Sequence[Found[Any]]) -> Figure:
    """Training loss against epoch, one line for each value of the axis; ``found`` are models of one seed."""
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(found)))
    with canvas(11, 3.8) as figure:
        axes = figure.subplots()
        for one, colour in zip(found, colours, strict=True):
            epochs = range(1, len(one.model.loss) + 1)
            axes.plot(epochs, one.model.loss, color=colour, lw=1.4, label=f"{axis} = {getattr(one.model, axis)}")
        axes.set_xscale("log")  # small training sets take many epochs, and most happens in the first
        axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_title(f"training loss, seed {found[0].model.seed}", loc="left", fontsize=11)
        axes.legend(fontsize=8, ncol=2)
    return figure


def gallery(axis: str, found: Sequence[Found[Any]]) -> Figure | None:
    """Decoded attractors, largest basins first, a row for each value of the axis; None if none were kept."""
    chosen = [(one.model, one.arrays["gallery"]) for one in found if len(one.arrays["gallery"])]
    if not chosen:
        return None
    rows = {f"{axis} = {getattr(one, axis)}\n{one.distinct_euclidean} in all": images for one, images in chosen}
    width, height = max(0.85 * max(map(len, rows.values())) + 1.4, 3.2), 0.85 * len(rows) + 0.5
    return picture_rows(rows, f"decoded attractors, seed {found[0].model.seed}", width, height)
