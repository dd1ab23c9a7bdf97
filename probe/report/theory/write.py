"""The theory page of a run: theory.json, theory.md, theory.html and figures, from the record of ``probe.studies``."""

from pathlib import Path
from typing import Any

from probe.report.page.content import Page, Provenance
from probe.report.page.markdown import table
from probe.report.page.write import rendered, write
from probe.report.theory.figures import drawn
from probe.report.theory.sections import statements

FACTS = ("model", "images", "settings", "git_revision", "versions", "platform")


def write_theory(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Write the folder, theory.json last; every file whole or not at all.

    Returns:
        The content of theory.json.
    """
    parts, model = statements(content), content["model"]
    figures = drawn(content)
    page = Page(
        f"Theory: {model['class']} from {model['source']}, d = {model['d']}",
        "The statements of the paper, measured on this run.",
        [],
        [part.section(part.name in figures) for part in parts],
        Provenance(str(content["command"]), {key: content[key] for key in FACTS}),
    )
    content = {**content, "verdicts": {part.name: part.sentences for part in parts}}
    by_path = {f"figures/{name}": figure for name, figure in figures.items()}
    write(folder, rendered(page, "theory", by_path), "theory", content)
    return content


def summary(content: dict[str, Any]) -> str:
    """For a terminal: the verdicts and the table of each statement."""
    parts = []
    for part in statements(content):
        rows = table(part.table.head, part.table.rows, escaped=True)
        parts.append("\n".join([part.title, *(f"- {one}" for one in part.sentences), "", rows]))
    return "\n\n".join(parts) + "\n"
