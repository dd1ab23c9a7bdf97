"""report.html of an OOD experiment: one file, nothing to load, no script."""

import json
from collections.abc import Mapping

from probe.report.ood.schema import OodReport
from probe.report.ood.tables import HEADS, by_group, ends_in_words, label, overview_head, overview_rows, rows
from probe.report.page.pictures import uri
from probe.report.run.html import environment, flat


def html(report: OodReport, files: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        files: figures by file name; the SVG are embedded.
    """
    facts = {key: value for key, value in report.provenance.items() if key not in ("config", "command")}
    page = environment().get_template("ood/ood.html.j2")
    return page.render(
        report=report,
        heads=HEADS,
        rows=rows,
        label=label,
        names=by_group(report),
        overview_head=overview_head(report),
        overview_rows=overview_rows(report),
        ends=ends_in_words(report),
        figure=lambda name: uri("image/svg+xml", files[f"{name}.svg"]),
        provenance=[(key.replace("_", " "), flat(value)) for key, value in {**report.model, **facts}.items()],
        config=json.dumps(report.provenance["config"], indent=2, ensure_ascii=False),
    )
