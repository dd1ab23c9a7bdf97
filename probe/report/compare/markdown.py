"""compare.md: notes, tables, and a link to the figure."""

from probe.report.compare.schema import Comparison
from probe.report.compare.tables import (
    SIMILARITY_NOTE,
    Table,
    dataset_table,
    differs_table,
    runs_table,
    similarity_table,
)
from probe.report.page.text import listed
from probe.report.run.markdown import code, table, text

FIGURE = "ratios"


def title(report: Comparison) -> str:
    return f"Comparison of {listed([run.name for run in report.runs])}"


def markdown(report: Comparison) -> str:
    """The page."""
    parts = [f"# {text(title(report))}", "\n".join(f"- {text(note)}" for note in report.notes)]
    parts += ["## What the solver found", _table(runs_table(report))]
    parts += ["## In what the runs differ", _table(differs_table(report)) if report.differs else "In nothing."]
    if report.datasets:
        parts += ["## Data sets", f"![ratios to the random orthogonal basis]({FIGURE}.png)", report.rule]
    for name, data in report.datasets.items():
        about = ", ".join(f"{text(run)}: {n} images, sha256 {code(str(data.sha256[run]))}" for run, n in data.n.items())
        parts += [f"### {text(name)}", about + ".", _table(dataset_table(data))]
    if report.similarities:
        parts += ["## Similarity of dictionaries", _table(similarity_table(report)), text(SIMILARITY_NOTE)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(one: Table) -> str:
    return table([text(cell) for cell in one.head], one.rows)
