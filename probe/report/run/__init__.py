"""The report of a run: report.json (``schema``), report.md, report.html and figures, from results only.

Nothing is imported here: who reads report.json needs no torch.
"""
