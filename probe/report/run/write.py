"""Write a run's report: every file whole or not at all, report.json last."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from probe.files import write_atomically
from probe.report.figures import run as figures
from probe.report.run.build import dump, report_of
from probe.report.run.html import html
from probe.report.run.markdown import markdown
from probe.report.run.schema import Report
from probe.report.run.tables import report_subject
from probe.results.run import Results, read_results

EXAMPLES = ("original", "autoencoder", "attractors", "random_orthogonal")
"""Rows of the figure of examples."""


def write_report(run: Path) -> dict[str, Any]:
    """Write report/ in the run directory: figures/*.png and *.svg, report.md, report.html, report.json.

    Returns:
        The content of report.json.

    Raises:
        UserError: as ``build_report``.
    """
    results = read_results(run)
    report = report_of(results, run)
    folder = run / "report"
    files: dict[str, bytes] = {}
    for name, figure in _figures(report, results).items():
        files[f"{name}.png"] = figures.render(figure, "png")
        files[f"{name}.svg"] = figures.render(figure, "svg")
    for name, data in files.items():
        write_atomically(folder / "figures" / name, data)
    names = {Path(name).stem for name in files}
    write_atomically(folder / "report.md", markdown(report, names))
    write_atomically(folder / "report.html", html(report, results, files))
    content = dump(report)
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(folder / "report.json", text + "\n")
    return content


def _figures(report: Report, results: Results) -> dict[str, Figure]:
    """Figures by file name; those of a data set begin with its name."""
    subject, solver = report_subject(report), report.solver
    made = {
        "steps": figures.steps_histogram(results.starts, solver.max_steps),
        "residual": figures.residual_histogram(results.starts, solver.tolerance),
    }
    if len(results.gallery):
        made["gallery"] = figures.gallery(results.gallery, report.gallery[: len(results.gallery)])
    for name, data in report.datasets.items():
        made[f"{name}_latent_mse"] = figures.curve(data, "latent_mse", subject)
        made[f"{name}_pixel_mse"] = figures.curve(data, "pixel_mse", subject)
        if results.datasets[name].examples:
            images = results.datasets[name].examples_at(data.five_percent)
            shown = {key: images[key] for key in EXAMPLES if key in images}
            made[f"{name}_examples"] = figures.examples(shown, subject, data.five_percent)
    return made
