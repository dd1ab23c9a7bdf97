"""Figures that are neither built nor drawn: they are most of what a small job takes.

Tests of reports draw theirs, and for each kind of job one whole job does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO
from unittest import mock

import numpy as np
from matplotlib.figure import Figure

from probe.report.figures import drawing


class Blank:
    """Instead of a figure and of all that is on it: takes whatever is asked of it, and is saved as an empty picture."""

    minposy = 1.0
    """Of the limits of data."""

    def __init__(self, width: float = 1.0, height: float = 1.0):
        self.inches = width, height

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self

    def __getitem__(self, key: Any) -> Any:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def subplots(self, rows: int = 1, columns: int = 1, *, squeeze: bool = True, **_: Any) -> Any:
        grid = np.full((rows, columns), self, dtype=object)
        return grid if not squeeze else grid.squeeze() if grid.size > 1 else self

    def get_legend_handles_labels(self) -> tuple[list[Any], list[str]]:
        return [], []

    def get_ylim(self) -> tuple[float, float]:
        return 0.0, 1.0

    def get_figwidth(self) -> float:
        return self.inches[0]

    def savefig(self, file: BinaryIO, *, format: str, **_: Any) -> None:
        """An empty picture of the figure's shape."""
        width, height = (max(round(10 * inches), 1) for inches in self.inches)
        if format == "svg":
            file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"/>'.encode())
        else:
            from PIL import Image

            Image.new("RGB", (width, height), "white").save(file, format)


def are_drawn() -> bool:
    """Whether figures are drawn here, now."""
    return drawing.Figure is Figure


@contextmanager
def drawn(whether: bool) -> Iterator[None]:
    """Whether they are drawn in the block, and by processes that begin in it."""
    figure = Figure if whether else lambda figsize, **_: Blank(*figsize)
    with mock.patch.object(drawing, "Figure", figure):
        yield
