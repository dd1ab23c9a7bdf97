"""Figures of a run. Each is a Figure of its own, without pyplot's global state, on white."""

import io
import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter, NullFormatter, NullLocator
from numpy.typing import NDArray

from probe.dynamics import Outcome
from probe.methods import OURS, OUTCOME_COLOURS, label, methods, metrics
from probe.names import printable, shortened
from probe.report.run.schema import DatasetErrors, GalleryAtom

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
    "svg.hashsalt": "probe",  # else ids in the file differ from one writing to the next
}
SMALLEST = 1e-16
"""Residuals below are drawn here; a residual of exactly 0 has no logarithm."""


METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What matplotlib would otherwise write into a file: its version and the time."""


WIDEST, WIDEST_IN_LEGEND, WIDEST_TICK = 300, 60, 48
"""Characters in a line of text; more leave no room for the axes."""


def render(figure: Figure, kind: Literal["png", "svg", "pdf"]) -> bytes:
    """The figure as the bytes of a file, the same for the same figure. Names in it are drawn as plain text."""
    _as_text(figure)
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box is drawn instead
        figure.savefig(buffer, format=kind, dpi=150, metadata=METADATA[kind])
    return buffer.getvalue()


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


def curve(data: DatasetErrors, metric: str, subject: str) -> Figure:
    """A metric against the number of atoms, all methods, with 95 % bands and the level of the autoencoder alone."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.4, 4.3), layout="constrained")
        axes = figure.subplots()
        for method in methods():
            line(axes, data, metric, method, label(method, subject))
        if (floor := data.autoencoder_floor.of(metric).mean) is not None:
            axes.axhline(floor, color="#222222", ls=":", lw=1.4, label="autoencoder floor")
        axes.axvline(data.five_percent, color="#BBBBBB", lw=1, zorder=0.5)
        axes.annotate(
            "5 % of d", (data.five_percent, 1), (3, -2), xycoords=("data", "axes fraction"),
            textcoords="offset points", va="top", fontsize=8, color="#777777",
        )  # fmt: skip
        log_axis(axes, [level.atoms for level in data.levels])
        if metrics()[metric].better == "low":
            axes.set_ylim(bottom=0)
        axes.set_xlabel("atoms allowed per image")
        axes.set_title(metrics()[metric].heading, loc="left", fontsize=11)
        figure.legend(loc="outside lower center", ncol=3, fontsize=9)
    return figure


def line(
    axes: Axes,
    data: DatasetErrors,
    metric: str,
    method: str,
    name: str,
    *,
    scale: float = 1.0,
    faint: bool = False,
    least: float = 0.0,
) -> None:
    """A method's means over the levels with their 95 % band.

    Args:
        scale: of lines and marks.
        least: means below it are left out.
    """
    one = methods()[method]
    points = [
        (level.atoms, errors.mean, errors.ci95 or (errors.mean, errors.mean))
        for level in data.levels
        if method in level.methods
        and (errors := level.methods[method].of(metric)).mean is not None
        and errors.mean >= least
    ]
    if not points:
        return
    atoms, means, bands = zip(*points, strict=True)
    low, high = zip(*bands, strict=True)
    first = method == OURS
    style: dict[str, Any] = {"color": one.colour, "zorder": 3 if first else 2}
    axes.fill_between(atoms, low, high, alpha=0.06 if faint else 0.18, linewidth=0, **style)
    style |= {"ls": "--" if one.sees_data else "-", "alpha": 0.45 if faint else 1}
    width = scale * (2.2 if first else 1.4)
    axes.plot(atoms, means, lw=width, marker=one.mark, markersize=4.5 * scale, label=name, **style)


def log_axis(axes: Axes, atoms: Sequence[int]) -> None:
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
    return _histogram(starts["steps"].astype(float), starts["outcome"], "steps", None, high=max_steps)


def residual_histogram(starts: dict[str, NDArray[Any]], tolerance: float) -> Figure:
    """Starts by log10 residual, stacked by outcome; residuals that are not finite are left out."""
    finite = np.isfinite(starts["residual"])
    logs = np.log10(np.maximum(starts["residual"][finite].astype(float), SMALLEST))
    return _histogram(logs, starts["outcome"][finite], "log10 of ||f(z) - z||²", math.log10(tolerance))


def _histogram(
    values: NDArray[Any], outcome: NDArray[Any], name: str, line: float | None, high: float | None = None
) -> Figure:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.4, 3.4), layout="constrained")
        axes = figure.subplots()
        present = [o for o in Outcome if (outcome == o).any()]
        if present:
            bins = np.histogram_bin_edges(values, bins=30, range=None if high is None else (0, max(high, 1)))
            if line is not None:  # an edge on the line, so that no bar straddles it
                width = bins[1] - bins[0]
                ends = np.floor((bins[0] - line) / width), np.ceil((bins[-1] - line) / width)
                bins = line + width * np.arange(ends[0], ends[1] + 1)
            axes.hist(
                [values[outcome == o] for o in present], bins=[float(edge) for edge in bins], stacked=True,
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
    rows = [batch.transpose(0, 2, 3, 1) for batch in images.values()]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.0 * len(rows[0]) + 1.9, 1.0 * len(rows) + 0.4), layout="constrained")
        axes = figure.subplots()
        size = mosaic(axes, np.stack(rows))
        ticks = [(row + 0.5) * size for row in range(len(rows))]
        axes.set_yticks(ticks, [key if key == "original" else label(key, subject) for key in images])
        axes.set_title(f"reconstructed from {atoms} atoms", loc="left", fontsize=10)
        axes.set_anchor("E")  # names are to the left
    return figure


def gallery(images: NDArray[np.uint8], atoms: Sequence[GalleryAtom], columns: int = 8) -> Figure:
    """Decoded end points, largest basins first, with the number of starts in each."""
    shown = images.transpose(0, 2, 3, 1)
    rows = -(-len(shown) // columns)
    blank = np.full((rows * columns - len(shown), *shown.shape[1:]), 255, np.uint8)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(columns, 1.0 * rows + 0.2), layout="constrained")
        axes = figure.subplots()
        grid = np.concatenate([shown, blank]).reshape(rows, columns, *shown.shape[1:])
        size = mosaic(axes, grid)
        for i, atom in enumerate(atoms):
            row, column = divmod(i, columns)
            mark = "*" if atom.certificate == "attractor" else ""
            axes.text(
                column * size + size * 0.06, row * size + size * 0.06, f"{atom.basin}{mark}", fontsize=7, va="top",
                bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.2},
            )  # fmt: skip
        axes.set_yticks([])
        axes.set_title("decoded end points, with basin size; * certified attractor", loc="left", fontsize=9)
    return figure


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
