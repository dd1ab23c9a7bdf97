"""The page of an OOD experiment: its sections and tables; scores down, measures or sets across."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as MatplotlibFigure
from rich.table import Table as RichTable

from probe.report.ood import figures
from probe.report.ood.build import ood_report
from probe.report.ood.schema import Measured, OodReport, label
from probe.report.page.content import Block, Bullets, Code, Figure, Note, Page, Provenance, Section, Table, Verdicts
from probe.report.page.text import count, listed
from probe.report.page.write import rendered, write
from probe.report.run.build import dump
from probe.results.ood import OodResults, read_ood
from probe.studies.ood.config import load_ood_config

HEAD = (
    "score", "AUROC", "FPR95", "AUPR, OOD positive", "AUPR, ID positive", "re-encoded ID: AUROC",
    "AUROC against re-encoded ID",
)  # fmt: skip


def write_ood_report(path: Path) -> dict[str, Any]:
    """Write report/ in the directory: figures/*.png and *.svg, report.md, report.html, report.json.

    Returns:
        The content of report.json.
    """
    results = read_ood(path, load_ood_config(path / "config.yaml"))
    report = ood_report(results)
    drawn = {f"figures/{name}": figure for name, figure in drawings(report, results).items()}
    content = dump(report)
    write(path / "report", rendered(page(report), "report", drawn), "report", content)
    return content


def drawings(report: OodReport, results: OodResults) -> dict[str, MatplotlibFigure]:
    """The figures by name: an overview, and the histograms of every score."""
    histograms = {name: figures.histograms(report, results.table, name) for name in report.scores}
    return {"overview": figures.overview(report), **histograms}


def page(report: OodReport) -> Page:
    found, started = report.attractors, report.provenance.get("started")
    lead = (
        f"{report.model['class']} ({report.model['source']}); {report.inside.n} in-distribution test images, "
        f"{count(len(report.sets), 'OOD set')}, {found['attractors']} training attractors "
        f"({found['distinct_converged']} distinct among the converged){f', started {started}' if started else ''}"
    )
    alt = "of in-distribution and OOD images"
    scores = [
        Section(label(name), [Note(meaning), Figure(f"figures/{name}", f"{label(name)} {alt}")])
        for name, meaning in report.scores.items()
    ]
    blocks: list[Block] = [
        overview(report),
        Figure("figures/overview", "AUROC and FPR95 of every score on every set"),
        *([Section("Verdicts", [Bullets(report.verdicts_in_words)])] if report.verdicts_in_words else []),
        *(_set(report, name) for name in report.by_group()),
        Section("Scores", scores),
        Section("Where trajectories end", [Bullets(_ends(report))]),
        Section("How to read it", list(report.rules.values())),
    ]
    return Page("OOD detection", lead, report.warnings, blocks, Provenance.of(report.provenance, **report.model))


def overview(report: OodReport) -> Table:
    """A row for each score: AUROC and FPR95 on each set, near ones first, and means over groups of several sets."""
    names = report.by_group()
    groups: list[str] = [one.group for one in report.sets.values()]
    averaged = [group for group in report.groups if groups.count(group) > 1]  # the mean of one set says nothing new
    rows = []
    for score in report.scores:
        measured = (report.sets[name].scores[score] for name in names)
        pairs = [{"auroc": one.auroc.value, "fpr95": one.fpr95.value} for one in measured]
        pairs += [report.groups[group][score] for group in averaged]
        rows.append([label(score), *(f"{one['auroc']:.3f} / {one['fpr95']:.3f}" for one in pairs)])
    sets = [f"{name} ({report.sets[name].group})" for name in names]
    return Table(["AUROC / FPR95", *sets, *(f"mean, {group}" for group in averaged)], rows, ours=True)


def ood_table(content: Mapping[str, Any]) -> RichTable:
    """The overview for a terminal, from the content of report.json."""
    return overview(OodReport.model_validate(content)).rich()


def _set(report: OodReport, name: str) -> Section:
    one = report.sets[name]
    files = f" Files: {'; '.join(f'{n} {what}' for what, n in one.encodings.items())}." if one.encodings else ""
    about = [f"{one.ends.n} images from ", Code(one.source), f"; {one.controls} re-encoded test images.{files}"]
    rows = [
        [label(score), *map(_value, (at.auroc, at.fpr95, at.aupr_out, at.aupr_in, at.control, at.against_control))]
        for score, at in one.scores.items()
    ]
    blocks: list[Block] = [Note(about), Table(HEAD, rows, ours=True)]
    if one.claims:
        verdicts = Verdicts([claim.in_words for claim in one.claims], [claim.result for claim in one.claims])
        blocks.append(Section("Verdicts", [verdicts]))
    return Section(f"{name} ({one.group})", blocks)


def _value(found: Measured | None) -> str:
    """``0.912 [0.903, 0.921]``: three decimals, as all of them are in [0, 1]."""
    if found is None:
        return "-"
    ends = "" if found.ci95 is None else f" [{found.ci95[0]:.3f}, {found.ci95[1]:.3f}]"
    return f"{found.value:.3f}{ends}"


def _ends(report: OodReport) -> list[str]:
    """A sentence on where trajectories end, for the in-distribution test images and each set."""
    sentences = []
    for name, ends in {"test": report.inside, **{name: report.sets[name].ends for name in report.by_group()}}.items():
        outcomes = listed([f"{n} {outcome.replace('_', ' ')}" for outcome, n in ends.outcomes.items()])
        median = "" if ends.median_steps is None else f", median steps {ends.median_steps:g}"
        sentences.append(f"{name}: {ends.n} images; {outcomes}{median}.")
    return sentences
