"""Write a study's report: for each data set the claims, a table (values of the axis down, measures across), figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as MatplotlibFigure
from rich.table import Table as RichTable

from probe.report.page.content import Block, Code, Figure, Note, Page, Provenance, Section, Verdicts
from probe.report.page.text import count
from probe.report.page.write import rendered, write
from probe.report.run.build import dump
from probe.report.study.build import sections, study_report
from probe.report.study.kinds import load_study_config, study_kind
from probe.report.study.page import StudyPage, table
from probe.report.study.schema import StudyReport, StudySection
from probe.results.study import StudyResults, read_study


def write_study_report(study: Path, cells: Sequence[str]) -> dict[str, Any]:
    """Write report/ in the study's directory: figures/*.png and *.svg, report.md, report.html, report.json.

    Args:
        cells: the models' result files, relative to the directory.

    Returns:
        The content of report.json.

    Raises:
        UserError: a result is missing, damaged, or has unexpected content.
    """
    config = load_study_config(study / "config.yaml")
    results = read_study(study, config, cells, study_kind(config.study).page.model)
    report = study_report(results)
    drawn = drawings(report, results)
    by_path = {f"figures/{name}": figure for of_one in drawn.values() for name, figure in of_one.items()}
    content = dump(report)
    write(
        study / "report",
        rendered(page(report, {name: list(of_one) for name, of_one in drawn.items()}), "report", by_path),
        "report",
        content,
    )
    return content


def drawings(report: StudyReport, results: StudyResults) -> dict[str, dict[str, MatplotlibFigure]]:
    """The figures of each data set by name."""
    kind = study_kind(report.study).page
    return {
        name: {one: it for one, it in kind.figures(name, report.datasets[name], found, results).items() if it}
        for name, found in sections(results).items()
    }


def page(report: StudyReport, figures: Mapping[str, Sequence[str]]) -> Page:
    """The page; ``figures`` are the names of those of each data set."""
    trained, started = sum(data.n_train is not None for data in report.datasets.values()), report.provenance["started"]
    lead = f"{count(len(report.models), 'architecture')} with random weights"
    if trained:
        models = count(len(report.models), "model")
        lead = f"{models} of the paper's convolutional autoencoder, {count(trained, 'data set')}"
    kind = study_kind(report.study).page
    blocks = [Section(name, _dataset(kind, data, figures[name])) for name, data in report.datasets.items()]
    reading = Section("How to read it", [kind.note, *report.rules.values()])
    return Page(
        f"Study: {report.study.replace('_', ' ')}",
        f"{lead}, started {started}" if started else lead,
        report.warnings,
        [*blocks, reading],
        Provenance.of(report.provenance),
    )


def _dataset(kind: StudyPage, data: StudySection, figures: Sequence[str]) -> list[Block]:
    images = f"{data.n_train} training and {data.n_test} test images of side {data.side}"
    about: list[str] = [f"{images}, {count(data.channels or 0, 'channel')}"]
    for part, source in data.source.items():
        about += [f"; {part} ", Code(source)]
    verdicts = Verdicts(data.verdicts_in_words, [claim.result for claim in data.claims])
    return [
        *([Note([*about, "."])] if data.n_train is not None else []),
        Section("The paper's claims", [verdicts]),
        table(kind.axis, kind.columns, data.points),
        *(Figure(f"figures/{name}", name.replace("_", " ")) for name in figures),
    ]


def study_table(content: Mapping[str, Any]) -> dict[str, RichTable]:
    """For a terminal: a table with the main columns for each data set, from the content of report.json."""
    report = StudyReport.model_validate(content)
    kind = study_kind(report.study).page
    return {
        name: table(kind.axis, kind.columns, data.points, kind.brief, intervals=False).rich(title=name)
        for name, data in report.datasets.items()
    }
