"""Figures as files."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from probe.files import write_atomically
from probe.report.figures.run import render


def write_figures(folder: Path, figures: Mapping[str, Figure]) -> None:
    """Write each figure as NAME.png and NAME.svg.

    Raises:
        OSError: a file cannot be written.
    """
    for name, figure in figures.items():
        write_atomically(folder / f"{name}.png", render(figure, "png"))
        write_atomically(folder / f"{name}.svg", render(figure, "svg"))
