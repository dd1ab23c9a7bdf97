"""The report of a round trip: report.json (``schema``), report.md, report.html, cycles.csv and figures."""

from probe.report.roundtrip.page import roundtrip_table, write_roundtrip_report

__all__ = ["roundtrip_table", "write_roundtrip_report"]
