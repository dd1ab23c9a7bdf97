"""The tables of the page."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from probe.dynamics import Outcome
from probe.metrics.images import LOSSLESS
from probe.names import shortened
from probe.report.page.content import Table
from probe.report.page.text import number, with_interval
from probe.report.roundtrip import words
from probe.report.roundtrip.schema import Difference, Extreme, RoundtripReport, Series, SetReport, Spectrum
from probe.report.run.schema import Mean

NAMES = "model, between cycles"
SHIFTS = ("shift_red", "shift_green", "shift_blue")
LONGEST = 32
"""Characters of an image's id."""
MINUS = " \N{MINUS SIGN} "


def overview(report: RoundtripReport, *, brief: bool = False) -> Table:
    """Mean PSNR at the cycles of the headline, over all images, and what settles; ``brief`` fits into a terminal."""
    steps = words.told(report)
    head = [NAMES, *(f"{'' if brief else 'PSNR '}after {cycle}" for cycle in steps)]
    head += [*([] if brief else [f"colour drift after {steps[-1]}"]), "settle", "diverge"]
    rows = []
    for one in report.overall.series:
        counts, drifted = one.settled.outcomes, [words.at(report, one, name, report.cycles) for name in SHIFTS]
        levels = [words.level(report, one, cycle) for cycle in steps]
        ends = [f"{counts['converged'] + counts['cycle']} of {one.n}", str(counts["diverged"])]
        rows.append([_name(one), *levels, *([] if brief else [_three(drifted)]), *ends])
    return Table(head, rows)


def levels(report: RoundtripReport, data: SetReport, measure: str = "psnr") -> Table:
    """A measure at the cycles shown, with intervals."""
    head = [NAMES, *map(_cycle, report.cycles_shown)]
    return Table(head, [[_name(one), *_cells(report, one, measure)] for one in data.series])


def _cells(report: RoundtripReport, one: Series, measure: str) -> list[str]:
    curve = one.curves.get(measure)
    if curve is None:
        return ["-"] * len(report.cycles_shown)
    cells = []
    for cycle in report.cycles_shown:
        place = report.cycles_drawn.index(cycle)
        mean, low, high = curve.mean[place], curve.low[place], curve.high[place]
        ends = None if low is None or high is None else (low, high)
        capped = measure == "psnr" and mean is not None and mean >= LOSSLESS
        shown = "lossless" if capped else with_interval(Mean(mean=mean, ci95=ends))
        cells.append(shown + words.left_out(report, one, measure, cycle))
    return cells


def rfid(report: RoundtripReport, data: SetReport) -> Table:
    """rFID at the cycles shown, of all images or of as many as have not diverged; no rows if it was not measured."""
    rows = []
    for one in data.series:
        if one.rfid:
            found = {each.cycle: f"{with_interval(each)}{_of_fewer(each.n, one.n)}" for each in one.rfid}
            rows.append([_name(one), str(one.n), *(found.get(cycle, "-") for cycle in report.cycles_shown)])
    return Table([NAMES, "n", *map(_cycle, report.cycles_shown)], rows)


def _of_fewer(n: int, images: int) -> str:
    return f" (n = {n})" if n < images else ""


def until(report: RoundtripReport, data: SetReport) -> Table:
    """Median cycles until PSNR has fallen; without controls that lose nothing."""
    rows = [
        [_name(one), *(words.until_cell(one.until[mark], one.n, f"> {report.cycles}") for mark in report.marks)]
        for one in data.series
        if not one.lossless
    ]
    return Table([NAMES, *report.marks.values()], rows)


def outcomes(report: RoundtripReport, data: SetReport) -> Table:
    """Where the pictures of each model end."""
    shown = [one for one in data.series if not one.lossless]
    with_run = any(one.settled.at_attractors is not None for one in shown)
    with_places = any(one.settled.places is not None for one in shown)
    head = [NAMES, *(OUTCOMES[one] for one in Outcome), "certified", *(["distinct"] if with_places else [])]
    head += ["settled by cycle (median)", *(["at an attractor of the run"] if with_run else [])]
    rows = []
    for one in shown:
        found = one.settled
        certified = f"{found.certified} of {found.examined}" if found.examined else "-"
        cells = [*(str(found.outcomes[each.label]) for each in Outcome), certified]
        cells += ["-" if found.places is None else str(found.places)] if with_places else []
        cells.append(words.until_cell(found.cycle, one.n))
        if with_run:
            cells.append("-" if found.at_attractors is None else f"{found.at_attractors} at {found.attractors}")
        rows.append([_name(one), *cells])
    return Table(head, rows)


OUTCOMES = {
    Outcome.CONVERGED: "fixed point",
    Outcome.CYCLE: "cycle",
    Outcome.MAX_STEPS: "still changing",
    Outcome.DIVERGED: "diverged",
}


def drift(report: RoundtripReport, data: SetReport) -> Table:
    """Mean shift of red, green and blue after each of the cycles shown, in levels of 8 bits."""
    head = [NAMES, *map(_cycle, report.cycles_shown)]
    rows = []
    for one in data.series:
        if not one.lossless and all(name in one.curves for name in SHIFTS):
            places = map(report.cycles_drawn.index, report.cycles_shown)
            shifts = [[one.curves[name].mean[place] for name in SHIFTS] for place in places]
            rows.append([_name(one), *map(_three, shifts)])
    return Table(head, rows)


def _three(shifts: Sequence[float | None]) -> str:
    """``+3.2 / 0.0 / -1.4``."""
    return " / ".join(map(levels_of_8_bits, shifts))


def levels_of_8_bits(shift: float | None) -> str:
    """``+3.2``; ``+32``: one decimal below 10."""
    return "-" if shift is None else _signed(255 * shift) if abs(255 * shift) < 9.95 else f"{255 * shift:+.0f}"


def _signed(value: float) -> str:
    return "0.0" if abs(value) < 0.05 else f"{value:+.1f}"


def differences(report: RoundtripReport, found: list[Difference], measure: str, *, models: bool) -> Table:
    """Differences of a measure, of models or of what happens between cycles, paired by image."""
    rows = []
    for one in found:
        if measure in one.measures and (one.model != one.against_model) == models:
            mine, others = words.between_label(one.between), words.between_label(one.against_between)
            pair = f"{one.model}{MINUS}{one.against_model}, {mine}" if models else f"{one.model}, {mine}{MINUS}{others}"
            cells = list(map(with_interval, one.measures[measure]))
            if measure == "psnr" and one.lossless:
                without = [f" (without {k} lossless)" if k else "" for k in one.lossless]
                cells = [cell + more for cell, more in zip(cells, without, strict=True)]
            rows.append([pair, *cells])
    return Table([NAMES, *map(_cycle, report.cycles_shown)], rows)


def detail(report: RoundtripReport, data: SetReport) -> Table:
    """Gain or loss of the highest frequencies, those of the upper half."""
    rows = []
    for one in data.series:
        if not one.lossless:
            rows.append([_name(one), *(_gain(_upper(report, spectrum)) for spectrum in one.spectra)])
    return Table([NAMES, *map(_cycle, report.cycles_shown)], rows)


def _upper(report: RoundtripReport, spectrum: Spectrum) -> list[float]:
    """Gains of the bands in the upper half of the frequencies."""
    middle = [(low + high) / 2 for low, high in pairwise(report.bands)]
    known = zip(middle, spectrum.gain, strict=True)
    return [gain for at, gain in known if gain is not None and at > report.bands[-1] / 2]


def _gain(gains: list[float]) -> str:
    return f"{_signed(fmean(gains))} dB" if gains else "-"


def extremes(report: RoundtripReport, data: SetReport) -> Table:
    """Worst and best image of every model and setting, by PSNR at the end."""
    head = [NAMES]
    head += ["worst image", "PSNR after 1", f"after {report.cycles}", "best image", "PSNR after 1"]
    rows = []
    for one in data.series:
        if not one.lossless:
            both = (one.worst, one.best)
            ends = [(_image(report, each), f"{number(each.first)} dB", _end(each.last)) for each in both]
            rows.append([_name(one), *ends[0], *ends[1]])
    return Table([*head, f"after {report.cycles}"], rows)


def _image(report: RoundtripReport, one: Extreme) -> str:
    return f"{one.dataset}, {one.image} ({shortened(one.id, LONGEST)})" if len(report.datasets) > 1 else one.id


def _end(psnr: float | None) -> str:
    return "diverged" if psnr is None else f"{number(psnr)} dB"


def _name(one: Series) -> str:
    return f"{words.model_label(one.model)}, {words.between_label(one.between)}"


def _cycle(cycle: int) -> str:
    return f"{cycle} cycle{'s' if cycle > 1 else ''}"
