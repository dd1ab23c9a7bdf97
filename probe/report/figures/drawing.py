"""What all figures share: their style, pieces that many have, and the bytes of their files."""

import io
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter
from numpy.typing import NDArray

from probe.names import printable, shortened

STYLE: Any = {  # matplotlib types the keys as one long literal
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same text everywhere
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "pdf.fonttype": 42,  # TrueType, as publishers ask, not Type 3
    "svg.fonttype": "none",  # text, not outlines: half the bytes, and it can be searched
    "svg.hashsalt": "probe",  # else ids in the file differ from one writing to the next
}
METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What matplotlib would otherwise write into a file: its version and the time."""
FONT, FONTS = b"'DejaVu Sans'", b"'DejaVu Sans', Verdana, sans-serif"
"""In an SVG, where the reader may lack the font: the next has nearly the same widths."""
WIDEST, WIDEST_IN_LEGEND, WIDEST_TICK = 300, 60, 48
"""Characters in a line of text; more leave no room for the axes."""
Ends = Sequence[float] | None


@contextmanager
def canvas(width: float, height: float, style: Any = STYLE) -> Iterator[Figure]:
    """A figure of so many inches, without pyplot's global state; drawn on within the block, it has the style."""
    with matplotlib.rc_context(style):
        yield Figure(figsize=(width, height), layout="constrained")


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


def picture_rows(
    rows: Mapping[str, NDArray[np.uint8]], title: str, width: float, height: float, fontsize: int = 9
) -> Figure:
    """Pictures (n, 1 or 3, H, W), a row for each name; rows with fewer pictures end in white."""
    grid = picture_grid(list(rows.values()), max(map(len, rows.values())))
    with canvas(width, height) as figure:
        axes = figure.subplots()
        size = mosaic(axes, grid)
        axes.set_yticks([(row + 0.5) * size for row in range(len(rows))], list(rows))
        axes.set_title(title, loc="left", fontsize=fontsize)
    return figure


def picture_grid(rows: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Rows of pictures (n, 1 or 3, H, W) as (rows, columns, H, W, 3), white where a row has fewer."""
    height, width = rows[0].shape[2:]
    grid = np.full((len(rows), columns, height, width, 3), 255, np.uint8)
    for into, images in zip(grid, rows, strict=True):
        into[: len(images)] = images.transpose(0, 2, 3, 1)
    return grid


def mosaic(axes: Axes, grid: NDArray[np.uint8]) -> int:
    """Draw images (rows, columns, H, W, 3) side by side with white gaps; returns the pitch in pixels."""
    gap = max(1, grid.shape[2] // 16)
    padded = np.pad(grid, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    rows, columns, height, width, channels = padded.shape
    axes.imshow(padded.swapaxes(1, 2).reshape(rows * height, columns * width, channels), interpolation="nearest")
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return height


def render(figure: Figure, kind: Literal["png", "svg", "pdf"]) -> bytes:
    """The figure as the bytes of a file, the same for the same figure. Names in it are drawn as plain text."""
    _as_text(figure)
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box is drawn instead
        figure.savefig(buffer, format=kind, dpi=150, metadata=METADATA[kind])
    return buffer.getvalue().replace(FONT, FONTS) if kind == "svg" else buffer.getvalue()


def legend_name(name: str) -> str:
    """A name for a legend, from which matplotlib leaves out names that begin with an underscore."""
    return f" {name}" if name.startswith("_") else name


class _Names(Formatter):
    """Names along an axis, as text."""

    def __init__(self, of: Formatter):
        self.of = of

    def __call__(self, x: float, pos: int | None = None) -> str:
        return _drawable(self.of(x, pos), WIDEST_TICK).replace("$", r"\$")


def _as_text(figure: Figure) -> None:
    """Make every text but the numbers along axes plain: no formulas (``$``), printable, and not too long.

    Done for the whole figure, because names get into it in many places.
    """
    axes = [axis for one in figure.axes for axis in (one.xaxis, one.yaxis)]
    for axis in axes:
        if isinstance(formatter := axis.get_major_formatter(), FuncFormatter | FixedFormatter):
            axis.set_major_formatter(_Names(formatter))
    ticks = [tick for axis in axes for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())]
    numbers = {id(text) for tick in ticks for text in (tick.label1, tick.label2)} | {id(one.offsetText) for one in axes}
    legends = {id(text) for one in figure.findobj(Legend) for text in one.findobj(Text)}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and id(text) not in numbers:
            text.set_parse_math(False)
            text.set_text(_drawable(text.get_text(), WIDEST_IN_LEGEND if id(text) in legends else WIDEST))


def _drawable(text: str, most: int) -> str:
    return "\n".join(shortened(line, most) for line in printable(text).expandtabs().split("\n"))
