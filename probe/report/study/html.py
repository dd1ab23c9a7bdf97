"""report.html of a study: one file, nothing to load, no script."""

import json
from collections.abc import Mapping, Sequence
from functools import partial

from markupsafe import Markup

from probe.report.page.pictures import uri
from probe.report.run.html import environment, flat
from probe.report.study.kinds import study_kind
from probe.report.study.schema import StudyReport
from probe.report.study.tables import heads, rows


def html(report: StudyReport, files: Mapping[str, bytes], figures: Mapping[str, Sequence[str]]) -> str:
    """The page.

    Args:
        files: figures by file name; the SVG are embedded.
        figures: of each data set, by name.
    """
    facts = {key: value for key, value in report.provenance.items() if key not in ("config", "command")}

    def pictures(name: str) -> list[tuple[str, Markup]]:
        return [(one, uri("image/svg+xml", files[f"{one}.svg"])) for one in figures[name]]

    page = environment().get_template("study/study.html.j2")
    return page.render(
        report=report,
        trained=sum(data.n_train is not None for data in report.datasets.values()),
        heads=heads(report),
        rows=partial(rows, report),
        note=study_kind(report.study).page.note,
        pictures=pictures,
        provenance=[(key.replace("_", " "), flat(value)) for key, value in facts.items()],
        config=json.dumps(report.provenance["config"], indent=2, ensure_ascii=False),
    )
