"""Estimates with their intervals along a horizontal axis, one row each."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes

Ends = Sequence[float] | None


def marks(
    axes: Axes, rows: Iterable[tuple[float, float | None, Ends]], colour: str, mark: str, label: str | None = None
) -> None:
    """Draw (height, mean, interval) of each row that has a mean; the label is in the legend in any case."""
    known = [(y, mean, ends or (mean, mean)) for y, mean, ends in rows if mean is not None]
    heights, means = [y for y, _, _ in known], np.array([mean for _, mean, _ in known])
    bars = np.abs(np.array([ends for _, _, ends in known]).reshape(-1, 2).T - means)
    axes.errorbar(means, heights, xerr=bars, ls="none", marker=mark, ms=5, color=colour, capsize=2, lw=1.4, label=label)


def row_names(axes: Axes, names: Sequence[str], margin: float = 0.5) -> None:
    """Name the rows 0, 1, ..., from top to bottom."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 1 + margin, -margin)
