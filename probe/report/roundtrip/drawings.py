"""The figures: measures and colour drift against the cycle, spectra, and pictures side by side."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from probe.measures import IDENTITY
from probe.report.figures.drawing import canvas, legend_name
from probe.report.roundtrip import words
from probe.report.roundtrip.schema import Curve, RoundtripReport, Series, SetReport
from probe.report.roundtrip.tables import SHIFTS

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Of models, in order (Okabe and Ito's palette)."""
CONTROL = "#777777"
CHANNELS = {"shift_red": "#C0392B", "shift_green": "#2E8B57", "shift_blue": "#2C5AA0"}
LEFT, WIDTH, HEIGHT = 1.0, 2.3, 1.75
"""Inches: the names at the left, and a panel."""
QUALITY, STATE = ("psnr", "ssim", "lpips", "ciede2000", "saturated"), ("norm", "moved", "from_start")
UNITS = {
    "psnr": "PSNR (dB)",
    "saturated": "share saturated",
    "norm": "latent norm\n(start = 1)",
    "moved": "latent step\n(norm of start = 1)",
    "from_start": "latent distance\nto the start\n(norm of start = 1)",
}
LOGARITHMIC = ("moved",)
ROOM = 1.5
"""Inches of an entry of the legend."""
LOUDEST = 60.0
"""dB: what a spectrum shows at most."""


def quality(report: RoundtripReport, data: SetReport) -> Figure | None:
    """A row for each measure of the picture, a column for each setting, a line for each model."""
    return _grid(report, data, [one for one in QUALITY if _known(data, one)])


def latent(report: RoundtripReport, data: SetReport) -> Figure | None:
    """The same for the latent."""
    return _grid(report, data, [one for one in STATE if _known(data, one)])


def _known(data: SetReport, measure: str) -> bool:
    return any(measure in one.curves for one in data.series)


def _grid(report: RoundtripReport, data: SetReport, rows: Sequence[str]) -> Figure | None:
    if not rows:
        return None

    def draw(axes: Axes, measure: str, between: str) -> None:
        for one in data.series:
            # What loses nothing is far above the rest, and its line says nothing.
            if one.between == between and measure in one.curves and not (one.lossless and measure == "psnr"):
                _line(axes, report.cycles_drawn, one.curves[measure], _style(report, one))
        curves = [one.curves[measure] for one in data.series if one.between == between and measure in one.curves]
        # A model that loses nothing moves by 0, which has no logarithm.
        if measure in LOGARITHMIC and any(mean for curve in curves for mean in curve.mean):
            axes.set_yscale("log")

    names = {measure: UNITS.get(measure, words.measure_label(measure)) for measure in rows}
    return _panels(report, names, draw, _models(report, control=rows[0] not in STATE), "cycle")


def drift(report: RoundtripReport, data: SetReport) -> Figure | None:
    """The mean shift of red, green and blue, in levels of 8 bits; a row for each model."""
    shown = [one for one in data.series if not one.lossless and all(name in one.curves for name in SHIFTS)]
    if not shown:
        return None

    def draw(axes: Axes, model: str, between: str) -> None:
        axes.axhline(0, color="#222222", lw=0.8, ls=":")
        for one in shown:
            if (one.model, one.between) == (model, between):
                for name, colour in CHANNELS.items():
                    _line(axes, report.cycles_drawn, one.curves[name], {"color": colour}, 255)

    names = {one.model: f"{words.model_label(one.model)}\n(levels of 255)" for one in shown}
    lines = [Line2D([], [], color=colour, label=name.removeprefix("shift_")) for name, colour in CHANNELS.items()]
    return _panels(report, names, draw, lines, "cycle", least=2.0)


def spectra(report: RoundtripReport, data: SetReport) -> Figure | None:
    """Power against the image's own by frequency, a line for each cycle; a row for each model."""
    shown = [one for one in data.series if not one.lossless]
    if not shown:
        return None
    middle = (np.array(report.bands[1:]) + np.array(report.bands[:-1])) / 2
    shades = matplotlib.colormaps["viridis"](np.linspace(0.9, 0.0, len(report.cycles_shown)))
    colours = dict(zip(report.cycles_shown, map(matplotlib.colors.to_hex, shades), strict=True))

    def draw(axes: Axes, model: str, between: str) -> None:
        axes.axhline(0, color="#222222", lw=0.8, ls=":")
        for one in shown:
            if (one.model, one.between) == (model, between):
                for spectrum in one.spectra:
                    gain = np.clip(np.array(spectrum.gain, dtype=float), -LOUDEST, LOUDEST)
                    axes.plot(middle, gain, color=colours[spectrum.cycle], lw=1.4)

    names = {one.model: f"{words.model_label(one.model)}\npower (dB)" for one in shown}
    lines = [Line2D([], [], color=colour, label=_after(cycle)) for cycle, colour in colours.items()]
    return _panels(report, names, draw, lines, "cycles per pixel", logarithmic=False, least=2.0)


def _after(cycle: int) -> str:
    return f"after {cycle} cycle{'s' if cycle > 1 else ''}"


def _panels(
    report: RoundtripReport,
    rows: dict[str, str],
    draw: Callable[[Axes, str, str], None],
    legend: Sequence[Line2D],
    below: str,
    *,
    logarithmic: bool = True,
    least: float = 0.0,
) -> Figure:
    """A panel for each row and setting; panels of a row share their axis, which spans at least so much."""
    columns = list(report.betweens)
    with canvas(LEFT + WIDTH * len(columns), 0.9 + HEIGHT * len(rows)) as figure:
        grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex=True, sharey="row")
        for row, (key, name) in zip(grid, rows.items(), strict=True):
            for axes, between in zip(row, columns, strict=True):
                draw(axes, key, between)
                if logarithmic:
                    _cycles(axes, report)
                _light(axes, left=axes is row[0], bottom=row is grid[-1])
                if axes is grid[0][columns.index(between)]:
                    axes.set_title(words.between_label(between), loc="left", fontsize=10)
                if row is grid[-1]:
                    axes.set_xlabel(below, fontsize=9)
            row[0].set_ylabel(name, fontsize=9)
            _at_least(row[0], least)
        columns_of_legend = max(1, min(len(legend), int(figure.get_figwidth() / ROOM)))
        figure.legend(handles=list(legend), loc="outside lower center", ncol=columns_of_legend, fontsize=9)
    return figure


def _light(axes: Axes, *, left: bool, bottom: bool) -> None:
    """Few lines: a page has many panels, and half of the bytes of one are its ticks and grid."""
    axes.tick_params(labelsize=8, which="both", left=left, bottom=bottom)
    axes.grid(visible=False, axis="x")
    if axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(4))


def _at_least(axes: Axes, span: float) -> None:
    """Widen an axis around its middle, so that next to nothing does not look like much."""
    low, high = axes.get_ylim()
    if high - low < span:
        axes.set_ylim((low + high - span) / 2, (low + high + span) / 2)


def _cycles(axes: Axes, report: RoundtripReport) -> None:
    """A logarithmic axis with the table's cycles as ticks, without those that are too near to the next."""
    ticks = [one for one in report.cycles_shown if one == report.cycles or one * 1.3 < report.cycles]
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([str(one) for one in ticks]))


def across(report: RoundtripReport, measure: str) -> Figure | None:
    """A measure, a row for each data set."""
    if not _known(report.overall, measure):
        return None

    def draw(axes: Axes, dataset: str, between: str) -> None:
        for one in report.datasets[dataset].series:
            if one.between == between and measure in one.curves and not one.lossless:
                _line(axes, report.cycles_drawn, one.curves[measure], _style(report, one))

    label = UNITS.get(measure, words.measure_label(measure))
    return _panels(report, {name: f"{name}\n{label}" for name in report.datasets}, draw, _models(report), "cycle")


def _line(axes: Axes, cycles: Sequence[int], curve: Curve, style: Mapping[str, str], scale: float = 1) -> None:
    """The mean and its interval as a band."""
    mean, low, high = (scale * np.array(part, dtype=float) for part in (curve.mean, curve.low, curve.high))
    axes.plot(cycles, mean, color=style["color"], ls=style.get("ls", "-"), lw=1.5)
    if not np.isnan(low).all():
        axes.fill_between(cycles, low, high, color=style["color"], alpha=0.15, lw=0)


def _style(report: RoundtripReport, one: Series) -> dict[str, str]:
    if one.model == IDENTITY:
        return {"color": CONTROL, "ls": ":"}
    return {"color": COLOURS[list(report.models).index(one.model) % len(COLOURS)]}


def _models(report: RoundtripReport, *, control: bool = True) -> list[Line2D]:
    models, first = [*report.models, *([IDENTITY] if control else [])], next(iter(report.betweens))
    styles = {words.model_label(model): _style(report, report.overall.of(model, first)) for model in models}
    return [
        Line2D([], [], label=legend_name(name), color=style["color"], ls=style.get("ls", "-"))
        for name, style in styles.items()
    ]
