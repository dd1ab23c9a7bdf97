"""Write a run's report: every file whole or not at all, report.json last."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from probe.report.figures import run as figures
from probe.report.page.write import drawn, write
from probe.report.run.build import dump, report_of
from probe.report.run.html import html
from probe.report.run.markdown import markdown
from probe.report.run.schema import Report
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
    pictures = drawn({f"figures/{name}": figure for name, figure in drawings(report, results).items()})
    content = dump(report)
    pages = {"report.md": markdown(report, pictures), "report.html": html(report, results, pictures)}
    write(run / "report", {**pictures, **pages}, "report", content)
    return content


def drawings(report: Report, results: Results) -> dict[str, Figure]:
    """Figures by file name; those of a data set begin with its name."""
    subject, solver = report.subject, report.solver
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
