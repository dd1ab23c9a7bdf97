"""The table of a study, once for all renderings: values of the axis down, measures across."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from probe.report.study.schema import DatasetReport, Spread, StudyReport
from probe.report.words import number

HEADS = {
    "mem": "mem",
    "mem_certified": "of certified",
    "null_test": "test images",
    "null_reconstructed": "reconstructed",
    "null_mean": "mean image",
    "null_noise": "noise",
    "null_untrained": "untrained",
    "test_error": "test MSE",
    "train_error": "train MSE",
    "distinct_cosine": "distinct (cosine)",
    "distinct_euclidean": "distinct (Euclid)",
    "rank": "rank",
    "steps": "median steps",
    "share_converged": "converged",
    "share_certified": "certified",
}
NOTE = (
    "Mean and standard deviation over seeds. mem: largest cosine of a decoded attractor and a training image; behind "
    "it the same for attractors that are certified, and for five null levels. Distinct: end points from training "
    "images' latents, merged by cosine and by relative Euclidean distance; all else is over the latter. Rank: "
    "principal directions that hold 90 % (measure.variance) of the variance of the decoded attractors. Converged: "
    "share of the starts; certified: share of the attractors that were examined."
)


def spread(value: Spread) -> str:
    """``0.91 ± 0.02``."""
    mean = number(value.mean)
    if value.std is None:
        return mean
    decimals = len(mean.partition(".")[2])
    return f"{mean} ± {number(value.std) if 'e' in mean else f'{value.std:.{decimals}f}'}"


def rows(data: DatasetReport) -> list[list[str]]:
    """Cells of the table, the value of the axis first."""
    return [[str(point.value), *(spread(point.columns[name]) for name in HEADS)] for point in data.points]


BRIEF = ("mem", "null_test", "null_noise", "test_error", "distinct_euclidean", "rank", "steps", "share_certified")
"""What a terminal has room for."""


def study_table(content: Mapping[str, Any]) -> dict[str, Table]:
    """For a terminal: a table for each data set, from the content of report.json."""
    report = StudyReport.model_validate(content)
    tables = {}
    for name, data in report.datasets.items():
        table = Table(title=name, box=SIMPLE_HEAD, title_justify="left")
        for head in (report.axis, *(HEADS[column] for column in BRIEF)):
            table.add_column(head, justify="right")
        for point in data.points:
            table.add_row(str(point.value), *(spread(point.columns[column]) for column in BRIEF))
        tables[name] = table
    return tables
