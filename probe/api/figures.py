"""The figures of a report by name, drawn again from the results."""

from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

Figures = dict[str, Figure]


def shown(figure: Figure) -> Figure:
    """The figure, which a notebook now shows without pyplot, too."""
    from probe.report.figures.drawing import render

    figure._repr_png_ = lambda: render(figure, "png")  # type: ignore[attr-defined]
    return figure


def of_run(directory: Any) -> Figures:
    """Those of report.html, the paper's Figure 4 (``fractions``), and predicted against actual steps (``convergence``,
    Proposition A.9)."""
    from probe.report.figures.convergence import convergence_figure
    from probe.report.figures.run import paper_figure
    from probe.report.run.build import report_of
    from probe.report.run.write import drawings
    from probe.results import layout
    from probe.results.run import read_results
    from probe.studies.sweeps.convergence import of_run as steps_of
    from probe.studies.sweeps.convergence import record

    results = read_results(directory.path)
    report = report_of(results, directory.path)
    steps = record(steps_of(directory.load(layout.DICTIONARY.name)[0], results.config.seeds.count))
    drawn = {**drawings(report, results), "convergence": convergence_figure(steps, report.model.source)}
    return {**drawn, "fractions": paper_figure(report)} if report.datasets else drawn


def of_study(directory: Any) -> Figures:
    """Those of the study's report.html."""
    from jobs.study.directory import cell_file
    from probe.report.study.kinds import study_kind
    from probe.report.study.write import drawings, study_report
    from probe.results.study import read_study

    cells = [cell_file(shard) for shard in directory.unchanged().grid()]
    results = read_study(directory.path, directory.config, cells, study_kind(directory.config.study).page.model)
    sections = drawings(study_report(results), results)
    return {name: figure for section in sections.values() for name, figure in section.items()}


def of_ood(directory: Any) -> Figures:
    """Those of the experiment's report.html."""
    from probe.report.ood.build import ood_report
    from probe.report.ood.page import drawings
    from probe.results.ood import read_ood

    results = read_ood(directory.path, directory.config)
    return drawings(ood_report(results), results)


def of_roundtrip(directory: Any) -> Figures:
    """Those of the round trip's report.html, but for films and pictures."""
    from probe.report.roundtrip.build import roundtrip_report
    from probe.report.roundtrip.page import figures_of
    from probe.results.roundtrip import read_roundtrip

    return figures_of(roundtrip_report(read_roundtrip(directory.path, directory.config)))


DRAWN: dict[str, Callable[[Any], Figures]] = {
    "run": of_run,
    "study": of_study,
    "ood": of_ood,
    "roundtrip": of_roundtrip,
}
