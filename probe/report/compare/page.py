"""The page of a comparison, its tables and figure, and compare.csv."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Drawing

from probe.methods import METHODS
from probe.names import csv_text
from probe.report.compare.build import compare
from probe.report.compare.schema import MEASURES, ComparedError, ComparisonReport, DatasetComparison, Measure
from probe.report.figures.drawing import canvas, legend_name, marks, row_names
from probe.report.model import dump
from probe.report.page.content import Block, Code, Figure, Note, Page, Section, Table, Verdicts
from probe.report.page.text import count, listed, number, percent, with_interval
from probe.report.page.write import rendered, write
from probe.report.protocol import FIVE
from probe.report.run.export import mean_and_ends

CONTRASTED: tuple[Measure, ...] = ("pixel_mse", "latent_ratio")
"""Measures with a column of differences on the page; compare.csv and compare.json have the differences of all."""
DRAWN: tuple[Measure, ...] = ("latent_ratio", "pixel_ratio")
"""Panels of the figure."""
SIMILARITY_NOTE = (
    "A in B: the mean over the atoms of A of the largest cosine to an atom of B, with a 95 % interval over atoms. "
    "Chamfer: the mean of both directions; of random ones: for as many Gaussian directions. Overlap: "
    "||A B'||² / (||A A'|| ||B B'||), the cosine between the second moments of both dictionaries, as linear CKA is for "
    "Gram matrices (Kornblith et al. 2019); of unrelated ones: its expectation under a random rotation of B."
)


def write_comparison(
    paths: Sequence[Path], out: Path, *, unpaired: bool = False, common: bool = False
) -> dict[str, Any]:
    """Write compare.html, compare.md, compare.csv, ratios.png and .svg, compare.json.

    Returns:
        The content of compare.json (``probe.report.compare.schema.ComparisonReport``), free of NaN and infinity.

    Raises:
        UserError: as ``compare``.
    """
    report = compare(paths, unpaired=unpaired, common=common)
    content = dump(report)
    files = rendered(page(report), "compare", {"ratios": ratios(report)} if report.datasets else {})
    write(out, {**files, "compare.csv": tidy(report)}, "compare", content)
    return content


def page(report: ComparisonReport) -> Page:
    differs = Table(
        ["", *(run.name for run in report.runs)], [[row.key, *row.values] for row in report.differs], facts=True
    )
    blocks: list[Block] = [
        Verdicts([report.verdict]),
        *([Figure("ratios", "ratios to the random orthogonal basis")] if report.datasets else []),
        Section("What the solver found", [_runs(report)]),
        Section("What differs between the runs", [differs if report.differs else "Nothing."]),
        *(Section(name, _dataset(data)) for name, data in report.datasets.items()),
    ]
    if report.similarities:
        blocks.append(Section("Similarity of dictionaries", [_similarities(report), Note(SIMILARITY_NOTE)]))
    return Page(
        f"Comparison of {listed([run.name for run in report.runs])}",
        f"{count(len(report.datasets), 'data set')}; every difference is to {report.runs[0].name}",
        report.notes,
        [*blocks, Section("How to read it", [report.rule])],
    )


def _runs(report: ComparisonReport) -> Table:
    outcomes = list(report.runs[0].outcomes)
    head = ["run", "model", "latent", "starts", *outcomes, "median steps", "evaluations", "atoms",
            "certified atoms", "undecided", "starts in certified basins"]  # fmt: skip
    rows = [
        [run.name, run.model, f"{' x '.join(map(str, run.latent_shape))} (d = {run.d})", str(run.starts)]
        + [str(run.outcomes[name]) for name in outcomes]
        + [number(run.steps), number(run.evaluations), str(run.atoms)]
        + [percent(run.certified, run.atoms), percent(run.undecided, run.atoms)]
        + ["-" if run.share is None else percent(run.share)]
        for run in report.runs
    ]
    return Table(head, rows)


def _dataset(data: DatasetComparison) -> list[Block]:
    """A row per level and run: every measure, and differences to the first run with their verdicts."""
    about: list[str] = []
    for run, n in data.n.items():
        about += [f"{'; ' if about else ''}{run}: {count(n, 'image')}, sha256 ", Code(str(data.sha256[run]))]
    shown = [one for one in MEASURES if any(one in run.measures for level in data.levels for run in level.runs)]
    head = ["of d", "run", "atoms allowed", *(MEASURES[one] for one in shown)]
    head += [f"{MEASURES[one]}, minus {next(iter(data.n))}" for one in CONTRASTED]
    rows = [
        [f"{number(100 * level.fraction)} %", run.run, str(run.atoms)]
        + [with_interval(run.measures[one].value) for one in shown]
        + [_difference(run.measures[one]) for one in CONTRASTED]
        for level in data.levels
        for run in level.runs
    ]
    return [Note([*about, "."]), Table(head, rows), Note(_intervals(data))]


def _intervals(data: DatasetComparison) -> str:
    """Which numbers of the table have intervals that count the draw of the starts."""
    alone = "over images alone: too short for a claim about another draw of starts, so differences have no verdict"
    known = listed([name for name, drawn in data.draws.items() if drawn])
    if not known:
        return f"All intervals are {alone}."
    return (
        "Intervals of latent MSE and of its ratio to the random orthogonal basis, both at 5 % of d, are over images "
        f"and draws of starts ({known}). Those of pixel MSE, of its ratios, and of all other levels are {alone}."
    )


def _difference(found: ComparedError) -> str:
    if found.difference is None:
        return "-"
    return f"{with_interval(found.difference)} {found.verdict or '(over images alone: no verdict)'}"


def _similarities(report: ComparisonReport) -> Table:
    rows = [
        [one.a, one.b, with_interval(one.a_in_b), with_interval(one.b_in_a)]
        + [number(value) for value in (one.chamfer, one.chamfer_null, one.overlap, one.overlap_null)]
        for one in report.similarities
    ]
    return Table(("A", "B", "A in B", "B in A", "Chamfer", "of random ones", "overlap", "of unrelated ones"), rows)


def tidy(report: ComparisonReport) -> str:
    """compare.csv: a row per data set, level, run and measure; empty where there is no number."""
    head = ["dataset", "fraction", "atoms", "run", "measure", "mean", "low", "high", "n", "paired",
            "difference", "difference_low", "difference_high", "verdict", "intervals_over"]  # fmt: skip
    rows: list[list[Any]] = [head]
    for name, data in report.datasets.items():
        for level in data.levels:
            for run in level.runs:
                about = [data.n[run.run], str(data.paired[run.run]).lower()]
                for measure, one in run.measures.items():
                    row = [name, level.fraction, run.atoms, run.run, measure, *mean_and_ends(one.value), *about]
                    rows.append([*row, *mean_and_ends(one.difference), one.verdict, one.intervals_over])
    return csv_text(rows)


def ratios(report: ComparisonReport) -> Drawing:
    """Ratios at 5 % of d with 95 % intervals, data sets down, a mark per run; 1 is the random orthogonal basis."""
    names, n = list(report.datasets), len(report.runs)
    with canvas(8.6, 1.3 + len(names) * (0.22 + 0.14 * n) + 0.2 * n) as figure:
        panels = figure.subplots(1, len(DRAWN), sharey=True)
        for axes, measure in zip(panels, DRAWN, strict=True):
            for place, run in enumerate(report.runs):
                shift, method = 0.7 / max(n, 2) * (place - (n - 1) / 2), METHODS[place % len(METHODS)]
                found = [_at_five(data, run.name, measure) for data in report.datasets.values()]
                rows = [(row + shift, one.value.mean, one.value.ci95) for row, one in enumerate(found) if one]
                marks(axes, rows, method.colour, method.mark, legend_name(run.name))
            axes.axvline(1, color="#222222", ls=":", lw=1.4)
            axes.set_xlabel(MEASURES[measure])
        row_names(panels[0], names, margin=0.6)
        figure.suptitle("at 5 % of d; below 1: better than random", x=0.01, ha="left", fontsize=11)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncol=min(4, len(labels)), fontsize=9)
    return figure


def _at_five(data: DatasetComparison, run: str, measure: Measure) -> ComparedError | None:
    runs = (one for level in data.levels if level.fraction == FIVE for one in level.runs if one.run == run)
    return next((one.measures.get(measure) for one in runs), None)
