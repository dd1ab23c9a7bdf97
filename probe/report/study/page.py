"""A kind of study, its page, and what its table is made of."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from probe.report.model import ReportModel
from probe.report.page.content import Table
from probe.report.page.text import number
from probe.report.study.schema import Point, SeedSpread, StudyClaim, StudySection
from probe.results.study import Found, StudyResults
from probe.studies.sweeps.grid import Backbone, Cell, Measured, Tell, cells

Column = tuple[str, Callable[[Any], float | SeedSpread | None]]
"""A head, and the number of one record of a row: of a model, unless the page has other rows."""
Figures = Mapping[str, Figure | None]
"""By name; None if there is nothing to draw."""
Rows = Mapping[Any, Sequence[Any]]
"""For each value of the axis the records, one per seed."""


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
        columns: of the table, by name in ``Point.columns``.
        note: how to read the table.
        rules: of the verdicts, by ``StudyClaim.rule``.
        claims: the paper's claims with their verdicts.
        figures: called with the section's name, its report, its results, and those of the whole study.
        rows: of the table; default: models by their attribute ``axis``.
        brief: columns that fit into a terminal; default: all.
        warnings: sentences.
    """

    axis: str
    model: type[ReportModel]
    columns: Mapping[str, Column]
    note: str
    rules: Mapping[str, Rule]
    claims: Callable[[Sequence[Found[Any]]], list[StudyClaim]]
    figures: Callable[[str, StudySection, Sequence[Found[Any]], StudyResults], Figures]
    rows: Callable[[Sequence[Found[Any]]], Rows] | None = None
    brief: Sequence[str] = ()
    warnings: Callable[[Sequence[Found[Any]]], list[str]] = lambda found: []

    def points(self, found: Sequence[Found[Any]]) -> list[Point]:
        """The rows of the table."""
        if self.rows:
            return points(self.columns, self.rows(found))
        of_models = {value: [one.model for one in group] for value, group in by_axis(found, self.axis).items()}
        return points(self.columns, of_models)


@dataclass(frozen=True)
class StudyKind:
    """What one kind of study measures and reports; its configuration is in ``probe.studies.sweeps.kinds``.

    Attributes:
        name: the value of ``study`` in a configuration.
        measure: a ``TrainedModel`` or ``Backbone`` to what its result file holds, given the configuration and a
            function that reports progress.
        page: how the results are reported.
        shards: what the study has one result for, given the configuration and ``n_train``, ``channels`` and ``side`` of
            each data set: ``cells`` of a grid of trained models, or architectures.
    """

    name: str
    measure: Callable[[Any, Any, Tell], Measured]
    page: StudyPage
    shards: Callable[[Any, Mapping[str, Mapping[str, int]]], Sequence[Cell | Backbone]] = cells


def points(columns: Mapping[str, Column], rows: Rows) -> list[Point]:
    """A point for each row, with the columns' spread over its records."""
    return [
        Point(value=value, columns={name: seed_spread(map(of, records)) for name, (_, of) in columns.items()})
        for value, records in rows.items()
    ]


def by_axis(found: Sequence[Found[Any]], axis: str) -> dict[int, list[Found[Any]]]:
    """The results for each value of the models' attribute ``axis``, ascending."""
    values = sorted({getattr(one.model, axis) for one in found})
    return {value: [one for one in found if getattr(one.model, axis) == value] for value in values}


def seed_spread(values: Iterable[float | SeedSpread | None]) -> SeedSpread:
    """Mean and standard deviation over seeds; no mean if a seed has no value. A single spread stays as it is."""
    given = list(values)
    if len(given) == 1 and isinstance(given[0], SeedSpread):
        return given[0]
    means = [one.mean if isinstance(one, SeedSpread) else one for one in given]
    there = [mean for mean in means if mean is not None]
    if len(there) < len(means):
        return SeedSpread(mean=None, std=None, n=len(means))
    std = statistics.stdev(there) if len(there) > 1 else None
    return SeedSpread(mean=statistics.fmean(there), std=std, n=len(means))


def table(
    axis: str, columns: Mapping[str, Column], rows: Sequence[Point], only: Sequence[str] = (), *, intervals: bool = True
) -> Table:
    """The value of the axis, then the columns, by default all."""
    names = only or list(columns)
    cells = [[str(at.value), *(_cell(at.columns[name], intervals) for name in names)] for at in rows]
    return Table([axis, *(columns[name][0] for name in names)], cells)


def _cell(value: SeedSpread, interval: bool) -> str:
    """``0.91 ± 0.02``, or ``0.91 [0.88, 0.94]`` where the interval is known."""
    mean = number(value.mean)
    if interval and value.ci95 is not None:
        return f"{mean} [{number(value.ci95[0])}, {number(value.ci95[1])}]"
    if value.std is None:
        return mean
    decimals = len(mean.partition(".")[2])
    return f"{mean} ± {number(value.std) if 'e' in mean else f'{value.std:.{decimals}f}'}"


def first_seed(found: Sequence[Found[Any]]) -> list[Found[Any]]:
    """The results of the first seed, for figures that have room for one seed only."""
    return [one for one in found if one.model.seed == found[0].model.seed]


def counted(models: Sequence[Any], warnings: Mapping[str, Callable[[Any], bool]]) -> list[str]:
    """The warnings that are true of some models; each says of how many, as ``{few} of {all} models``."""
    few = {text: sum(map(applies, models)) for text, applies in warnings.items()}
    return [text.format(few=n, all=len(models)) for text, n in few.items() if n]
