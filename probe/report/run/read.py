"""Read the report.json of a run."""

from pathlib import Path

from probe.reading import read_object
from probe.report.run.schema import Report
from probe.results import layout
from probe.results.files import reading
from probe.results.run import check_is_run


def read_report(run: Path) -> Report:
    """The report that `probe report` wrote into a run directory.

    Raises:
        UserError: it is missing, truncated, or of another schema.
    """
    check_is_run(run)
    with reading(run / layout.REPORT_JSON, f"probe report {run}") as path:
        content = read_object(path)
        ours, theirs = Report.model_fields["schema_version"].default, content.get("schema_version")
        if theirs != ours:
            raise ValueError(f"its schema_version is {theirs}, this probe reads {ours}")
        return Report.model_validate(content)
