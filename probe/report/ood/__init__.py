"""The report of an OOD experiment: report.json (``schema``), report.md, report.html and figures, from results only."""

from probe.report.ood.page import ood_table, write_ood_report

__all__ = ["ood_table", "write_ood_report"]
