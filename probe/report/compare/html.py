"""compare.html: one file, nothing to load, no script."""

from importlib import resources

import jinja2

from probe.report.compare.markdown import title
from probe.report.compare.schema import Comparison
from probe.report.compare.tables import SIMILARITY_NOTE, dataset_table, differs_table, runs_table, similarity_table
from probe.report.html import style
from probe.report.pictures import uri


def html(report: Comparison, figure: bytes | None) -> str:
    """The page; ``figure`` is the SVG of ``figures.ratios``, None without data sets."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files("probe.report.compare").joinpath("compare.html.j2").read_text("utf-8")
    return environment.from_string(source).render(
        report=report,
        title=title(report),
        style=style(),
        figure=uri("image/svg+xml", figure) if figure else None,
        runs=runs_table(report),
        differs=differs_table(report),
        dataset_table=dataset_table,
        similarity=similarity_table(report),
        similarity_note=SIMILARITY_NOTE,
    )
