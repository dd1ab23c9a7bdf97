"""The report of a study: report.json (``schema``), report.md, report.html and figures, from results only."""

from probe.report.study.tables import study_table
from probe.report.study.write import write_study_report

__all__ = ["study_table", "write_study_report"]
