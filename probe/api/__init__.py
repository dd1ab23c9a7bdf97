"""probe from Python: start or open a run, study, OOD experiment or round trip, and read its results by name."""

from probe.api.comparison import Comparison, compare
from probe.api.reports import OodReport, Report, StudyReport
from probe.api.work import Run, open_run, run

__all__ = ["Comparison", "OodReport", "Report", "Run", "StudyReport", "compare", "open_run", "run"]
