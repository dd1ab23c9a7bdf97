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
from probe.results.ood import read_ood
from probe.studies.ood.config import load_ood_config


def write_ood_report(path: Path) -> dict[str, Any]:
    """Write report/ in the directory: figures/*.png and *.svg, report.md, report.html, report.json.

    Returns:
        The content of report.json.
    """
    results = read_ood(path, load_ood_config(path / "config.yaml"))
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
