"""The page of a kind of study, and helpers that several pages share."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from probe.report.run.schema import ReportModel
from probe.report.study.schema import Point, SeedSpread, StudyClaim, StudySection
from probe.results.study import Found, StudyResults


@dataclass(frozen=True)
class Rule:
    """How a verdict is reached.

    Attributes:
        text: the rule in words.
        statistic: the name of ``StudyClaim.statistic``.
        from_baselines: ``by_value`` holds the verdict on changes from several baselines, the claim's own first.
        counted: ``by_value`` has too many values to list those for which the claim holds; they are counted.
    """

    text: str
    statistic: str
    from_baselines: bool = False
    counted: bool = False


@dataclass(frozen=True)
class StudyPage:
    """The parts of a page. Each function gets the results of one section, in the order of the grid.

    Attributes:
        axis: of the table's rows: k, size, epoch, architecture.
        model: schema of a result file's values.
        heads: column heads of the table by name in ``Point.columns``. brief: columns that fit into a terminal.
        note: how to read the table.
        rules: of the verdicts, by ``StudyClaim.rule``.
        points: rows of the table.
        claims: the paper's claims with their verdicts.
        figures: by name, None if there is nothing to draw; called with the section's name, its report, its results,
            and those of the whole study.
        warnings: sentences.
    """

    axis: str
    model: type[ReportModel]
    heads: Mapping[str, str]
    brief: Sequence[str]
    note: str
    rules: Mapping[str, Rule]
    points: Callable[[Sequence[Found[Any]]], list[Point]]
    claims: Callable[[Sequence[Found[Any]]], list[StudyClaim]]
    figures: Callable[[str, StudySection, Sequence[Found[Any]], StudyResults], Mapping[str, Figure | None]]
    warnings: Callable[[Sequence[Found[Any]]], list[str]] = lambda found: []


def by_axis(
    found: Sequence[Found[Any]], axis: str, columns: Mapping[str, Callable[[Any], float | None]]
) -> list[Point]:
    """A point for each value of the models' attribute ``axis``, ascending, with the columns' spread over models."""
    values = sorted({getattr(one.model, axis) for one in found})
    return [
        Point(
            value=value,
            columns={
                name: seed_spread([column(one.model) for one in found if getattr(one.model, axis) == value])
                for name, column in columns.items()
            },
        )
        for value in values
    ]


def seed_spread(values: Sequence[float | None]) -> SeedSpread:
    """Mean and standard deviation over seeds; no mean if a seed has no value."""
    there = [value for value in values if value is not None]
    if len(there) < len(values):
        return SeedSpread(mean=None, std=None, n=len(values))
    std = statistics.stdev(there) if len(there) > 1 else None
    return SeedSpread(mean=statistics.fmean(there), std=std, n=len(values))


def first_seed(found: Sequence[Found[Any]]) -> list[Found[Any]]:
    """The results of the first seed, for figures that have room for one seed only."""
    return [one for one in found if one.model.seed == found[0].model.seed]
