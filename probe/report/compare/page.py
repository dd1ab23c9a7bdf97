"""The page of a comparison, its tables, and compare.csv."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from probe.names import csv_text
from probe.report.compare.build import compare
from probe.report.compare.figures import ratios
from probe.report.compare.schema import MEASURES, ComparedError, ComparisonReport, DatasetComparison, Measure
from probe.report.page.content import Block, Code, Figure, Note, Page, Section, Table
from probe.report.page.text import count, listed, number, percent, with_interval
from probe.report.page.write import rendered, write
from probe.report.run.build import finite
from probe.report.run.export import mean_and_ends

CONTRASTED: tuple[Measure, ...] = ("pixel_mse", "latent_ratio")
"""Measures with a column of differences on the page; compare.csv and compare.json have the differences of all."""
SIMILARITY_NOTE = (
    "A in B: the mean over the atoms of A of the largest cosine to an atom of B, with a 95 % interval over atoms. "
    "Chamfer: the mean of both directions; of random ones: for as many Gaussian directions. Overlap: "
    "||A B'||² / (||A A'|| ||B B'||), the cosine between the second moments of both dictionaries, as linear CKA is for "
    "Gram matrices (Kornblith et al. 2019); of unrelated ones: its expectation under a random rotation of B."
)


def write_comparison(paths: Sequence[Path], out: Path, *, unpaired: bool = False) -> dict[str, Any]:
    """Write compare.html, compare.md, compare.csv, ratios.png and .svg, compare.json.

    Returns:
        The content of compare.json (``probe.report.compare.schema.ComparisonReport``), free of NaN and infinity.

    Raises:
        UserError: as ``compare``.
    """
    report = compare(paths, unpaired=unpaired)
    content: dict[str, Any] = finite(report.model_dump(mode="json"))
    files = rendered(page(report), "compare", {"ratios": ratios(report)} if report.datasets else {})
    write(out, {**files, "compare.csv": tidy(report)}, "compare", content)
    return content


def page(report: ComparisonReport) -> Page:
    differs = Table(
        ["", *(run.name for run in report.runs)], [[row.key, *row.values] for row in report.differs], facts=True
    )
    blocks: list[Block] = [
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
        [
            run.name,
            run.model,
            f"{' x '.join(map(str, run.latent_shape))} (d = {run.d})",
            str(run.starts),
            *(str(run.outcomes[name]) for name in outcomes),
            number(run.steps),
            number(run.evaluations),
            str(run.atoms),
            percent(run.certified, run.atoms),
            percent(run.undecided, run.atoms),
            "-" if run.share is None else f"{100 * run.share:.3g} %",
        ]
        for run in report.runs
    ]
    return Table(head, rows)


def _dataset(data: DatasetComparison) -> list[Block]:
    """A row per level and run: every measure, and differences to the first run with their verdicts."""
    about: list[str] = []
    for run, n in data.n.items():
        about += [f"{'; ' if about else ''}{run}: {count(n, 'image')}, sha256 ", Code(str(data.sha256[run]))]
    present = {one for level in data.levels for run in level.runs for one in run.measures}
    shown = [one for one in MEASURES if one in present]
    head = ["of d", "run", "atoms allowed", *(MEASURES[one] for one in shown)]
    head += [f"{MEASURES[one]}, minus {next(iter(data.n))}" for one in CONTRASTED]
    rows = [
        [
            f"{number(100 * level.fraction)} %",
            run.run,
            str(run.atoms),
            *(with_interval(run.measures[one].value) for one in shown),
            *(_difference(run.measures[one]) for one in CONTRASTED),
        ]
        for level in data.levels
        for run in level.runs
    ]
    return [Note([*about, "."]), Table(head, rows)]


def _difference(found: ComparedError) -> str:
    if found.difference is None:
        return "-"
    return f"{with_interval(found.difference)} {found.verdict or ''}".rstrip()


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
            "difference", "difference_low", "difference_high", "verdict"]  # fmt: skip
    rows = [
        [
            name,
            level.fraction,
            run.atoms,
            run.run,
            measure,
            *mean_and_ends(one.value),
            data.n[run.run],
            str(data.paired[run.run]).lower(),
            *mean_and_ends(one.difference),
            one.verdict,
        ]
        for name, data in report.datasets.items()
        for level in data.levels
        for run in level.runs
        for measure, one in run.measures.items()
    ]
    return csv_text([head, *rows])
