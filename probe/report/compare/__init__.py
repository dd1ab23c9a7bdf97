"""Finished runs side by side: compare.json (``schema``), compare.csv, compare.md, compare.html, from results only."""

from probe.report.compare.page import write_comparison

__all__ = ["write_comparison"]
