"""Finished runs side by side: compare.json (``schema``), compare.csv, compare.md, compare.html, from results only."""
