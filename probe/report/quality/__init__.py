"""The JSON of ``probe quality`` (``schema``), and how it is made and shown."""

from probe.report.quality.build import quality_report, set_quality, shown

__all__ = ["quality_report", "set_quality", "shown"]
