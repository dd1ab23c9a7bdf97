"""Write a study's report: every file whole or not at all, report.json last."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from probe.files import write_atomically
from probe.report.figures.run import render
from probe.report.study.build import dump, sections, study_report
from probe.report.study.html import html
from probe.report.study.kinds import load_study_config, study_kind
from probe.report.study.markdown import markdown
from probe.report.study.read import StudyResults, read_study
from probe.report.study.schema import StudyReport


def write_study_report(study: Path, cells: Sequence[str]) -> dict[str, Any]:
    """Write report/ in the study's directory: figures/*.png and *.svg, report.md, report.html, report.json.

    Args:
        cells: the models' result files, below the folder.

    Returns:
        The content of report.json.

    Raises:
        UserError: a result is missing, damaged, or not as agreed.
    """
    config = load_study_config(study / "config.yaml")
    results = read_study(study, config, cells, study_kind(config.study).page.model)
    report = study_report(results)
    folder = study / "report"
    figures = _figures(report, results)
    files: dict[str, bytes] = {}
    for name, figure in (pair for of_one in figures.values() for pair in of_one.items()):
        files |= {f"{name}.png": render(figure, "png"), f"{name}.svg": render(figure, "svg")}
    for name, data in files.items():
        write_atomically(folder / "figures" / name, data)
    names = {name: list(of_one) for name, of_one in figures.items()}
    write_atomically(folder / "report.md", markdown(report, names))
    write_atomically(folder / "report.html", html(report, files, names))
    content = dump(report)
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(folder / "report.json", text + "\n")
    return content


def _figures(report: StudyReport, results: StudyResults) -> dict[str, dict[str, Figure]]:
    """Of each data set, by name."""
    page = study_kind(report.study).page
    made = {
        name: page.figures(name, report.datasets[name], found, results) for name, found in sections(results).items()
    }
    return {
        name: {one: figure for one, figure in of_one.items() if figure is not None} for name, of_one in made.items()
    }
