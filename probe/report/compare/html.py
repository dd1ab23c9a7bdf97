"""compare.html: one file, nothing to load, no script."""

from probe.report.compare.markdown import title
from probe.report.compare.schema import Comparison
from probe.report.compare.tables import SIMILARITY_NOTE, dataset_table, differs_table, runs_table, similarity_table
from probe.report.page.pictures import uri
from probe.report.run.html import environment


def html(report: Comparison, figure: bytes | None) -> str:
    """The page; ``figure`` is the SVG of ``figures.ratios``, None without data sets."""
    page = environment().get_template("compare/compare.html.j2")
    return page.render(
        report=report,
        title=title(report),
        figure=uri("image/svg+xml", figure) if figure else None,
        runs=runs_table(report),
        differs=differs_table(report),
        dataset_table=dataset_table,
        similarity=similarity_table(report),
        similarity_note=SIMILARITY_NOTE,
    )
