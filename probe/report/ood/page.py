"""The page of an OOD experiment: its sections, tables and figures; scores down, measures or sets across."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from rich.table import Table as RichTable

from probe.report.figures.drawing import canvas, marks, row_names
from probe.report.model import dump
from probe.report.ood.build import ood_report
from probe.report.ood.schema import Measured, OodReport
from probe.report.page.content import Block, Bullets, Code, Figure, Note, Page, Provenance, Section, Table, Verdicts
from probe.report.page.text import count, listed
from probe.report.page.write import rendered, write
from probe.report.planned import with_plan
from probe.results.ood import OodResults, read_ood
from probe.scores import label
from probe.studies.ood.config import load_ood_config

HEAD = (
    "score", "AUROC", "FPR95", "AUPR, OOD positive", "AUPR, ID positive", "re-encoded ID: AUROC",
    "AUROC against re-encoded ID",
)  # fmt: skip
INSIDE, GROUPS = "#777777", {"near": "#0072B2", "far": "#D55E00"}  # Okabe and Ito's palette
PER_ROW = 4
SHOWN = (0.5, 99.5)
"""The bins lie between these percentiles of both sets together; values beyond are counted in the outer bins."""


def write_ood_report(path: Path) -> dict[str, Any]:
    """Write report/ in the directory: figures/*.png and *.svg, report.md, report.html, report.json.

    Returns:
        The content of report.json.
    """
    results = read_ood(path, load_ood_config(path / "config.yaml"))
    report = ood_report(results)
    drawn = {f"figures/{name}": figure for name, figure in drawings(report, results).items()}
    content = dump(report)
    write(path / "report", rendered(with_plan(page(report), path), "report", drawn), "report", content)
    return content


def drawings(report: OodReport, results: OodResults) -> dict[str, Drawing]:
    """The figures by name: an overview, and the histograms of every score."""
    histograms = {name: _histograms(report, results.table, name) for name in report.scores}
    return {"overview": _overview_figure(report), **histograms}


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
        Section("Where starts and trajectories end", [Bullets(_ends(report))]),
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
    """A sentence on where starts and trajectories end: attractors' starts, in-distribution test images, each set."""
    sentences = []
    for origin, facts in {"training": report.attractors, "noise": report.attractors.get("noise")}.items():
        if facts:
            sentences.append(
                f"attractors from {origin} latents: {facts['starts']} starts; {_outcomes(facts['outcomes'])}; "
                f"{facts['distinct_converged']} distinct among the converged, {facts['certified']} of "
                f"{facts['examined']} examined are certified."
            )
    for name, ends in {"test": report.inside, **{name: report.sets[name].ends for name in report.by_group()}}.items():
        median = "" if ends.median_steps is None else f", median steps {ends.median_steps:g}"
        sentences.append(f"{name}: {ends.n} images; {_outcomes(ends.outcomes)}{median}.")
    return sentences


def _outcomes(counts: Mapping[str, int]) -> str:
    return listed([f"{n} {outcome.replace('_', ' ')}" for outcome, n in counts.items() if n])


def _overview_figure(report: OodReport) -> Drawing:
    """AUROC and FPR95 of every score on every set, near ones first, with intervals."""
    names, scores = report.by_group(), list(report.scores)
    with canvas(2.6 + 2.0 * max(len(names), 2), 2.8 + 0.68 * len(scores)) as figure:
        grid = figure.subplots(2, len(names), squeeze=False, sharey=True)
        for row, (measure, title, chance) in enumerate((("auroc", "AUROC", 0.5), ("fpr95", "FPR95", 0.95))):
            for axes, name in zip(grid[row], names, strict=True):
                group = report.sets[name].group
                found = [getattr(report.sets[name].scores[score], measure) for score in scores]
                marks(axes, [(i, one.value, one.ci95) for i, one in enumerate(found)], GROUPS[group], "o")
                row_names(axes, [label(score) for score in scores])
                axes.set_xlim(-0.03, 1.03)
                axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
                axes.axvline(chance, color="#222222", ls=":", lw=1.2)
                axes.set_title(f"{title}, {name}\n({group})", loc="left", fontsize=9)
        figure.suptitle("dotted: chance level", x=0.01, ha="left", fontsize=9, color="#777777")
    return figure


def _histograms(report: OodReport, table: pd.DataFrame, score: str) -> Drawing:
    """A score of the in-distribution test images and of each OOD set, near ones first, as densities."""
    names = report.by_group()
    rows, columns = -(-len(names) // PER_ROW), min(len(names), PER_ROW)
    with canvas(3.0 * columns + 0.6, 2.4 * rows + 0.7) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).flat
        inside = table.loc[table["set"] == "test", score].to_numpy(float)
        for axes, name in zip(panels, names, strict=False):
            one = report.sets[name]
            outside = table.loc[table["set"] == name, score].to_numpy(float)
            _densities(axes, inside, outside, GROUPS[one.group])
            axes.set_title(f"{name} ({one.group}), AUROC {one.scores[score].auroc.value:.3f}", loc="left", fontsize=9)
        for axes in list(figure.axes)[len(names) :]:
            axes.set_visible(False)
        handles = [Patch(color=INSIDE, alpha=0.55, label="in distribution")]
        present = [group for group in GROUPS if any(one.group == group for one in report.sets.values())]
        handles += [Patch(color=GROUPS[g], alpha=0.55, label=f"OOD, {g}") for g in present]
        figure.legend(handles=handles, loc="outside lower center", ncol=3, fontsize=9)
        figure.suptitle(label(score), x=0.01, ha="left", fontsize=11)
    return figure


def _densities(axes: Axes, inside: np.ndarray, outside: np.ndarray, colour: str) -> None:
    both = np.concatenate([inside, outside])
    finite = both[np.isfinite(both)]
    low, high = np.percentile(finite, SHOWN) if len(finite) else (0, 1)
    edges = np.linspace(low, high if high > low else low + 1, 41)
    for values, shade in ((inside, INSIDE), (outside, colour)):
        axes.hist(np.clip(values, edges[0], edges[-1]), bins=edges.tolist(), density=True, color=shade, alpha=0.55)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=8)
