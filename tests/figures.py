"""Figures that are built as always, and not drawn: to draw them is most of what a small job takes.

Tests of reports draw theirs, and for each kind of job one whole job does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO
from unittest import mock

from matplotlib.figure import Figure

from probe.report.figures import drawing

SAVE = Figure.savefig
"""matplotlib's own."""
TEXT = drawing._as_text
"""What is done to all texts of a figure before it is drawn."""


def blank(figure: Figure, file: BinaryIO, *, format: str, **_: Any) -> None:
    """Instead of ``Figure.savefig``: an empty picture of the figure's shape."""
    width, height = (max(round(10 * inches), 1) for inches in figure.get_size_inches())
    if format == "svg":
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"/>'.encode())
    else:
        from PIL import Image

        Image.new("RGB", (width, height), "white").save(file, format)


def are_drawn() -> bool:
    """Whether figures are drawn here, now."""
    return Figure.savefig is SAVE


@contextmanager
def drawn(whether: bool) -> Iterator[None]:
    """Whether they are drawn in the block, and by processes that begin in it."""
    text = TEXT if whether else lambda figure: None
    with mock.patch.object(Figure, "savefig", SAVE if whether else blank), mock.patch.object(drawing, "_as_text", text):
        yield
