"""Write the report of an OOD experiment: every file whole or not at all, report.json last."""

import json
from pathlib import Path
from typing import Any

from probe.files import write_atomically
from probe.report.figures.run import render
from probe.report.ood import figures
from probe.report.ood.build import dump, ood_report
from probe.report.ood.html import html
from probe.report.ood.markdown import markdown
from probe.report.ood.read import read_ood


def write_ood_report(path: Path, table: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Write report/ in the directory: figures/*.png and *.svg, report.md, report.html, report.json.

    Args:
        table: the file of scores, below the folder.
        facts: of the training attractors (``probe.studies.ood.scores.References``).

    Returns:
        The content of report.json.
    """
    results = read_ood(path, table, facts)
    report = ood_report(results)
    made = {"overview": figures.overview(report)}
    made |= {name: figures.histograms(report, results.table, name) for name in report.scores}
    folder = path / "report"
    files: dict[str, bytes] = {}
    for name, figure in made.items():
        files |= {f"{name}.png": render(figure, "png"), f"{name}.svg": render(figure, "svg")}
    for name, data in files.items():
        write_atomically(folder / "figures" / name, data)
    write_atomically(folder / "report.md", markdown(report))
    write_atomically(folder / "report.html", html(report, files))
    content = dump(report)
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(folder / "report.json", text + "\n")
    return content
