"""The report of a run: report.json (``schema``), report.md, report.html and figures, from results only."""

from probe.report.run.build import build_report
from probe.report.run.decomposition import decomposition_table
from probe.report.run.tables import five_percent_table
from probe.report.run.write import write_report

__all__ = ["build_report", "decomposition_table", "five_percent_table", "write_report"]
