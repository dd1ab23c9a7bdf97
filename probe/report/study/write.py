"""Write a study's report: every file whole or not at all, report.json last."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from probe.files import write_atomically
from probe.report.figures import render
from probe.report.study import figures
from probe.report.study.build import dump, study_report
from probe.report.study.html import html
from probe.report.study.markdown import figure_names, markdown
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
    results = read_study(study, cells)
    report = study_report(results)
    folder = study / "report"
    files: dict[str, bytes] = {}
    for name, figure in _figures(report, results).items():
        files |= {f"{name}.png": render(figure, "png"), f"{name}.svg": render(figure, "svg")}
    for name, data in files.items():
        write_atomically(folder / "figures" / name, data)
    write_atomically(folder / "report.md", markdown(report, {Path(name).stem for name in files}))
    write_atomically(folder / "report.html", html(report, files))
    content = dump(report)
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(folder / "report.json", text + "\n")
    return content


def _figures(report: StudyReport, results: StudyResults) -> dict[str, Figure]:
    made: dict[str, Figure | None] = {}
    for name, data in report.datasets.items():
        mine = [(m, a) for m, a in zip(results.models, results.arrays, strict=True) if m.dataset == name]
        models, arrays = [model for model, _ in mine], [one for _, one in mine]
        curve, pictures, loss = figure_names(name)
        made[curve] = figures.sweep(name, report.axis, data, results.config.measure.variance)
        made[pictures] = figures.gallery(report.axis, models, arrays)
        made[loss] = figures.losses(report.axis, models)
    return {name: figure for name, figure in made.items() if figure is not None}
