"""What the page of one kind of study is made of, and what all kinds make alike."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from matplotlib.figure import Figure

from probe.report.run.schema import Open
from probe.report.study.schema import Claim, DatasetReport, Point, Spread
from probe.results.study import Found, StudyResults

V = TypeVar("V", int, str)


@dataclass(frozen=True)
class Page:
    """The parts of a page; each function is given the result files of one section, in the order of the grid.

    Attributes:
        axis: what the rows of the table are: k, size, epoch, architecture.
        model: what a result file says of its model.
        heads: columns of the table, by their names in ``Point``; brief: those that a terminal has room for.
        note: how to read the table.
        rules: of the verdicts, by ``Claim.rule``.
        points: rows of the table.
        claims: of the paper.
        figures: by name, None where there is nothing to draw; given the name of the section, too.
        warnings: sentences.
    """

    axis: str
    model: type[Open]
    heads: Mapping[str, str]
    brief: Sequence[str]
    note: str
    rules: Mapping[str, str]
    points: Callable[[Sequence[Found[Any]]], list[Point]]
    claims: Callable[[Sequence[Found[Any]]], list[Claim]]
    figures: Callable[[str, DatasetReport, Sequence[Found[Any]], StudyResults], Mapping[str, Figure | None]]
    warnings: Callable[[Sequence[Found[Any]]], list[str]] = lambda found: []


def by_axis(
    found: Sequence[Found[Any]], axis: Callable[[Any], V], columns: Callable[[Any], Mapping[str, float | None]]
) -> list[Point]:
    """A point for each value of the axis, rising, with the spread of the columns over its models."""
    at: dict[V, list[Mapping[str, float | None]]] = {}
    for one in found:
        at.setdefault(axis(one.model), []).append(columns(one.model))
    return [
        Point(value=value, columns={name: spread([one[name] for one in at[value]]) for name in at[value][0]})
        for value in sorted(at)
    ]


def spread(values: Sequence[float | None]) -> Spread:
    """Mean and standard deviation over seeds; no mean where one of them has no value."""
    there = [value for value in values if value is not None]
    if len(there) < len(values):
        return Spread(mean=None, std=None, n=len(values))
    return Spread(mean=statistics.fmean(there), std=statistics.stdev(there) if len(there) > 1 else None, n=len(values))


def first_seed(found: Sequence[Found[Any]]) -> list[Found[Any]]:
    """The results of the first seed, for pictures of which there is room for one seed only."""
    return [one for one in found if one.model.seed == found[0].model.seed]
