"""report.json of a run, study, OOD experiment or round trip as an object with tables, for notebooks."""

from html import escape
from typing import Any

import pandas as pd

from probe.report.ood import schema as ood_schema
from probe.report.roundtrip import export as roundtrip_export
from probe.report.roundtrip import schema as roundtrip_schema
from probe.report.run import export
from probe.report.run import schema as run_schema
from probe.report.study import schema as study_schema

SHOWN = 10
"""Rows of a table in a notebook."""


class Shown:
    """How a report looks in a notebook: a line, its verdicts, and the first rows of its table."""

    def to_pandas(self) -> pd.DataFrame:
        raise NotImplementedError

    def sentences(self) -> list[str]:
        raise NotImplementedError

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        said = "".join(f"<li>{escape(one)}</li>" for one in self.sentences())
        return f"<p>{escape(repr(self)[1:-1])}</p><ul>{said}</ul>{self.to_pandas().head(SHOWN).to_html()}"


class Report(Shown, run_schema.Report):
    """The report of a run; its fields are documented in ``probe.report.run.schema``."""

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdict on each data set."""
        return {name: data.verdict for name, data in self.datasets.items()}

    def to_pandas(self) -> pd.DataFrame:
        """A row per data set, level, method and metric: mean, and ``low`` and ``high`` of its 95 % interval.

        The columns and metrics are those of levels.csv (``probe export``); missing numbers are NaN.
        """
        return _numbers(pd.DataFrame(export.rows(self), columns=list(export.HEAD)), "dataset", "method", "metric")

    def __repr__(self) -> str:
        return f"<Report: {self.model.class_}, {self.dictionary.atoms} atoms, {_count(self.datasets, 'data set')}>"

    def sentences(self) -> list[str]:
        """The summary and the verdicts."""
        return [*self.summary, *(f"{name}: {one}" for name, one in self.verdicts.items())]


class StudyReport(Shown, study_schema.StudyReport):
    """The report of a study; its fields are documented in ``probe.report.study.schema``."""

    @property
    def verdicts(self) -> dict[str, list[str]]:
        """The verdicts on each data set."""
        return {name: data.verdicts_in_words for name, data in self.datasets.items()}

    def to_pandas(self) -> pd.DataFrame:
        """A row per section (data set), value of the axis and column: mean and standard deviation over n seeds.

        The second column has the name of the axis: k, size, epoch or architecture. ``low`` and ``high`` are the 95 %
        interval of the mean where there is one. Missing numbers are NaN.
        """
        rows = [
            (section, point.value, column, one.mean, one.std, *(one.ci95 or (None, None)), one.n)
            for section, data in self.datasets.items()
            for point in data.points
            for column, one in point.columns.items()
        ]
        heads = ["section", self.axis, "column", "mean", "std", "low", "high", "n"]
        return _numbers(pd.DataFrame(rows, columns=heads), "section", self.axis, "column", "n")

    def __repr__(self) -> str:
        return f"<StudyReport: {self.study}, {_count(self.models, 'model')}, {_count(self.datasets, 'section')}>"

    def sentences(self) -> list[str]:
        """The verdicts."""
        return [f"{name}: {one}" for name, many in self.verdicts.items() for one in many]


class OodReport(Shown, ood_schema.OodReport):
    """The report of an OOD experiment; its fields are documented in ``probe.report.ood.schema``."""

    @property
    def verdicts(self) -> list[str]:
        """The verdicts on the claims about the trajectory score."""
        return self.verdicts_in_words

    def to_pandas(self) -> pd.DataFrame:
        """A row per OOD set and score: AUROC, FPR95 and average precisions, each with ``_low`` and ``_high`` of its
        95 % interval (NaN where there is none)."""
        measures = ("auroc", "fpr95", "aupr_out", "aupr_in")
        rows = []
        for name, one in self.sets.items():
            for score, found in one.scores.items():
                row: dict[str, Any] = {"set": name, "group": one.group, "score": score}
                for measure in measures:
                    value = getattr(found, measure)
                    low, high = value.ci95 or (None, None)
                    row |= {measure: value.value, f"{measure}_low": low, f"{measure}_high": high}
                rows.append(row)
        return _numbers(pd.DataFrame(rows), "set", "group", "score")

    def __repr__(self) -> str:
        return f"<OodReport: {_count(self.sets, 'OOD set')}, {_count(self.scores, 'score')}>"

    def sentences(self) -> list[str]:
        """The verdicts."""
        return self.verdicts


class RoundtripReport(Shown, roundtrip_schema.RoundtripReport):
    """The report of a round trip; its fields are documented in ``probe.report.roundtrip.schema``."""

    @property
    def verdicts(self) -> dict[str, str]:
        """What is left and what settles, by model."""
        return self.headlines

    def to_pandas(self) -> pd.DataFrame:
        """A row per data set, model, setting, cycle and measure, as in cycles.csv; missing numbers are NaN."""
        table = pd.DataFrame(roundtrip_export.rows(self), columns=list(roundtrip_export.HEAD))
        return _numbers(table, "dataset", "model", "between", "cycle", "measure", "n")

    def __repr__(self) -> str:
        return (
            f"<RoundtripReport: {_count(self.models, 'model')}, {self.cycles} cycles, {_count(self.datasets, 'set')}>"
        )

    def sentences(self) -> list[str]:
        """The verdicts."""
        return list(self.headlines.values())


REPORTS: dict[str, type[Report] | type[StudyReport] | type[OodReport] | type[RoundtripReport]] = {
    "run": Report,
    "study": StudyReport,
    "ood": OodReport,
    "roundtrip": RoundtripReport,
}


def _numbers(table: pd.DataFrame, *others: str) -> pd.DataFrame:
    """The table with all columns but ``others`` as floats."""
    return table.astype({name: float for name in table.columns if name not in others})


def _count(things: Any, noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"
