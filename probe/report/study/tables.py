"""The table of a study, once for all renderings: values of the axis down, measures across."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from probe.report.page.text import number
from probe.report.study.kinds import study_kind
from probe.report.study.schema import SeedSpread, StudyReport, StudySection


def spread(value: SeedSpread) -> str:
    """``0.91 ± 0.02``, or ``0.91 [0.88, 0.94]`` where the interval is known."""
    mean = number(value.mean)
    if value.ci95 is not None:
        return f"{mean} [{number(value.ci95[0])}, {number(value.ci95[1])}]"
    if value.std is None:
        return mean
    decimals = len(mean.partition(".")[2])
    return f"{mean} ± {number(value.std) if 'e' in mean else f'{value.std:.{decimals}f}'}"


def heads(report: StudyReport) -> list[str]:
    """Heads of the table, the axis first."""
    return [report.axis, *study_kind(report.study).page.heads.values()]


def rows(report: StudyReport, data: StudySection) -> list[list[str]]:
    """Cells of the table, the value of the axis first."""
    names = study_kind(report.study).page.heads
    return [[str(point.value), *(spread(point.columns[name]) for name in names)] for point in data.points]


def study_table(content: Mapping[str, Any]) -> dict[str, Table]:
    """For a terminal: a table for each data set, from the content of report.json; what there is room for."""
    report = StudyReport.model_validate(content)
    page, tables = study_kind(report.study).page, {}
    for name, data in report.datasets.items():
        table = Table(title=name, box=SIMPLE_HEAD, title_justify="left")
        for head in (report.axis, *(page.heads[column] for column in page.brief)):
            table.add_column(head, justify="right")
        for point in data.points:
            brief = (point.columns[column] for column in page.brief)
            table.add_row(str(point.value), *(spread(one.model_copy(update={"ci95": None})) for one in brief))
        tables[name] = table
    return tables
