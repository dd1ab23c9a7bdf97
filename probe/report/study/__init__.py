"""The report of a study: report.json (``schema``), report.md, report.html and figures, from results only."""

from probe.report.study.write import study_table, write_study_report

__all__ = ["study_table", "write_study_report"]
