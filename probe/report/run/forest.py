"""The picture at the top of a run's page: ratios to each control, and where the advantage comes from.

Places are in percent of the width of a track, for the page's style sheet; ``probe.report.figures.forest`` draws the
same for print.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from probe.methods import METHODS, OURS, label, methods, metrics
from probe.report.page.text import interval, number, percent, with_interval
from probe.report.run.schema import ControlComparison, Decomposition, Judged, Mean, Report
from probe.report.run.verdict import JUDGED

FURTHEST = 10.0
"""Ratios above this and below its inverse are drawn at the edge."""
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10)
BETWEEN = (0.8, 0.9, 1, 1.1, 1.25)
"""Ticks where all ratios are near 1."""
PARTS = {"mean": "their mean", "covariance": "their covariance", "atoms": "the end points themselves"}
"""Of the advantage over the random basis, with names for a legend."""
COLOURS = {"mean": "#E69F00", "covariance": "#56B4E9", "atoms": next(one.colour for one in METHODS if one.name == OURS)}


@dataclass(frozen=True)
class Mark:
    """A ratio with its simultaneous interval on a track; ``dot`` is None without a ratio, ``bar`` (left, width)
    without an interval."""

    name: str
    kind: str
    dot: float | None
    bar: tuple[float, float] | None
    value: str
    said: str


@dataclass(frozen=True)
class Panel:
    """A control, with a mark for each data set."""

    method: str
    title: str
    note: str
    oracle: bool
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Forest:
    """All controls by one metric; ``ticks`` are (place, text)."""

    metric: str
    label: str
    ticks: Sequence[tuple[float, str]]
    panels: Sequence[Panel]


def compared(report: Report, metric: str) -> dict[str, dict[str, ControlComparison]]:
    """Comparisons by control and data set, in the order of tables: controls that compete, then oracles."""
    order = sorted(methods(), key=lambda name: methods()[name].sees_data)
    by: dict[str, dict[str, ControlComparison]] = {control: {} for control in order}
    for name, data in report.datasets.items():
        for one in data.comparisons:
            if one.metric == metric:
                by[one.to][name] = one
    return {control: found for control, found in by.items() if found}


def span(found: dict[str, dict[str, ControlComparison]]) -> tuple[float, float]:
    """The least and the largest ratio of an axis that shows all of these but those to oracles, and 1."""
    competing = [ones for control, ones in found.items() if not methods()[control].sees_data] or list(found.values())
    ratios = [one.ratio for ones in competing for one in ones.values() if one.ratio.mean is not None]
    ends = [end for ratio in ratios for end in (ratio.mean, *(ratio.simultaneous or ())) if end is not None]
    low, high = min([*ends, 0.9]) / 1.05, max([*ends, 1.1]) * 1.05
    return inside(low), inside(high)


def inside(ratio: float) -> float:
    """The ratio, or the end of the longest axis."""
    return min(max(ratio, 1 / FURTHEST), FURTHEST)


def ticks(low: float, high: float) -> list[float]:
    """Round ratios between the ends."""
    return [tick for tick in (TICKS if high / low > 2.5 else BETWEEN) if low <= tick <= high]


def forests(report: Report) -> list[Forest]:
    """One for each metric that verdicts are drawn by."""
    return [made for metric in JUDGED if (made := _forest(report, metric))]


def _forest(report: Report, metric: Judged) -> Forest | None:
    if not (found := compared(report, metric)):
        return None
    low, high = span(found)

    def place(ratio: float) -> float:
        return 100 * log(min(max(ratio, low), high) / low) / log(high / low)

    def mark(name: str, one: ControlComparison) -> Mark:
        ratio, ends = one.ratio, one.ratio.simultaneous
        bar = (place(ends[0]), place(ends[1]) - place(ends[0])) if ends else None
        dot = None if ratio.mean is None else place(ratio.mean)
        numbers = f"{number(one.attractors)} / {number(one.other)} = {number(ratio.mean)}"
        text = f"{name}: {numbers} {interval(Mean(mean=ratio.mean, ci95=ends))}".rstrip()
        kind = one.result if one.result in ("beats", "loses") else "none"
        return Mark(name, kind, dot, bar, number(ratio.mean), f"{text}, {one.result}")

    panels = [
        Panel(
            method=control,
            title=label(control, report.subject),
            note=tally(control, list(ones.values())),
            oracle=methods()[control].sees_data,
            marks=[mark(name, one) for name, one in ones.items()],
        )
        for control, ones in found.items()
    ]
    shown = [(place(tick), f"{tick:g}") for tick in ticks(low, high)]
    return Forest(metric, metrics()[metric].label, shown, panels)


def tally(control: str, found: Sequence[ControlComparison]) -> str:
    """``beaten on 5 of 6``, above a panel; an oracle does not compete."""
    if methods()[control].sees_data:
        return "oracle, does not compete"
    results, n = [one.result for one in found], len(found)
    beaten, lost = results.count("beats"), results.count("loses")
    if n == 1:
        return {"beats": "beaten", "loses": "wins"}.get(results[0], results[0])
    parts = [f"beaten on {beaten} of {n}", *([f"wins on {lost}"] if lost else [])]
    return ", ".join(parts)


@dataclass(frozen=True)
class Part:
    """A piece of a stacked bar."""

    name: str
    colour: str
    left: float
    width: float
    said: str


@dataclass(frozen=True)
class Stack:
    """The decomposition of one data set: its pieces, the total and its interval (left, width)."""

    name: str
    parts: Sequence[Part]
    zero: float
    total: float
    bar: tuple[float, float] | None
    value: str
    sentence: str


def decompositions(report: Report) -> dict[str, Decomposition]:
    """By data set, where the run has one whose numbers exist."""
    found = {name: data.decomposition for name, data in report.datasets.items()}
    return {name: one for name, one in found.items() if one and None not in shares(one).values()}


def shares(found: Decomposition) -> dict[str, float | None]:
    """The parts of the advantage, as shares of the random basis's error."""
    return {name: getattr(found, name).mean for name in PARTS}


def stacked(values: Sequence[float]) -> list[float]:
    """Where each piece of a stacked bar begins: those above 0 go to the right of 0, the others to the left."""
    starts, up, down = [], 0.0, 0.0
    for value in values:
        starts.append(up if value >= 0 else down + value)
        up, down = up + max(value, 0), down + min(value, 0)
    return starts


def stacks(report: Report) -> list[Stack]:
    """The decompositions of all data sets on one scale."""
    found = decompositions(report)
    values = {name: [share or 0.0 for share in shares(one).values()] for name, one in found.items()}
    totals = [end for one in found.values() for end in one.total.ci95 or ()]
    low = min([sum(min(v, 0) for v in row) for row in values.values()] + totals, default=0.0)
    high = max([sum(max(v, 0) for v in row) for row in values.values()] + totals, default=0.0)
    low, high = min(low, 0.0), max(high, 0.01)

    def place(share: float) -> float:
        return 100 * (share - low) / (high - low)

    made = []
    for name, one in found.items():
        parts = [
            Part(part, COLOURS[part], place(start), place(start + abs(value)) - place(start), _share(part, one))
            for part, start, value in zip(PARTS, stacked(values[name]), values[name], strict=True)
        ]
        total, ends = one.total.mean or 0.0, one.total.ci95
        bar = (place(ends[0]), place(ends[1]) - place(ends[0])) if ends else None
        made.append(Stack(name, parts, place(0), place(total), bar, percent(round(total, 3)), one.sentence))
    return made


def _share(part: str, found: Decomposition) -> str:
    return f"{PARTS[part]}: {with_interval(getattr(found, part))}"
