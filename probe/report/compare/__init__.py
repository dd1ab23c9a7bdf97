"""Finished runs side by side: compare.json (``schema``), compare.csv, compare.md, compare.html, from results only."""

from probe.report.compare.write import write_comparison

__all__ = ["write_comparison"]
