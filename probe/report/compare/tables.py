"""The tables of a comparison, once for Markdown, HTML and CSV; every cell is text."""

from collections.abc import Sequence
from typing import NamedTuple

from probe.names import csv_text
from probe.report.compare.schema import MEASURES, Comparison, DatasetComparison, Measure, RunValues, Value
from probe.report.page.text import number, percent, with_interval
from probe.report.run.export import spread

COMPARED: tuple[Measure, ...] = ("pixel_mse", "latent_ratio")
"""Measures whose differences the tables show; compare.csv and compare.json have those of all."""


class Table(NamedTuple):
    head: Sequence[str]
    rows: list[list[str]]


def runs_table(report: Comparison) -> Table:
    """What each run found, a row each."""
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


def differs_table(report: Comparison) -> Table:
    """Settings and facts in which the runs differ."""
    return Table(["", *(run.name for run in report.runs)], [[row.key, *row.values] for row in report.differs])


def dataset_table(data: DatasetComparison) -> Table:
    """A row per level and run: every measure, and differences to the first run with their verdicts."""
    shown = _measures(data)
    first = next(iter(data.n))
    head = ["of d", "run", "atoms allowed", *(MEASURES[one] for one in shown)]
    head += [f"{MEASURES[one]}, minus {first}" for one in COMPARED]
    rows = []
    for level in data.levels:
        for run in level.runs:
            values = [with_interval(run.measures[one].value) for one in shown]
            gaps = [_gap(run.measures[one]) for one in COMPARED]
            rows.append([f"{number(100 * level.fraction)} %", run.run, str(run.atoms), *values, *gaps])
    return Table(head, rows)


def _measures(data: DatasetComparison) -> list[Measure]:
    present = {one for level in data.levels for run in level.runs for one in run.measures}
    return [one for one in MEASURES if one in present]


def _gap(value: Value) -> str:
    if value.difference is None:
        return "-"
    return f"{with_interval(value.difference)} {value.verdict or ''}".rstrip()


def similarity_table(report: Comparison) -> Table:
    """Pairs of dictionaries."""
    head = ["A", "B", "A in B", "B in A", "Chamfer", "of random ones", "overlap", "of unrelated ones"]
    rows = [
        [one.a, one.b, with_interval(one.a_in_b), with_interval(one.b_in_a)]
        + [number(value) for value in (one.chamfer, one.chamfer_null, one.overlap, one.overlap_null)]
        for one in report.similarities
    ]
    return Table(head, rows)


SIMILARITY_NOTE = (
    "A in B: the mean over the atoms of A of the largest cosine to an atom of B, with a 95 % interval over atoms. "
    "Chamfer: the mean of both ways; of random ones: of Gaussian directions, as many. Overlap: "
    "||A B'||² / (||A A'|| ||B B'||), the cosine of both dictionaries' second moments, as linear CKA is of Gram "
    "matrices (Kornblith et al. 2019); of unrelated ones: its expectation if B were turned at random."
)


def tidy(report: Comparison) -> str:
    """compare.csv: a row per data set, level, run and measure; empty where there is no number."""
    head = ["dataset", "fraction", "atoms", "run", "measure", "mean", "low", "high", "n", "paired",
            "difference", "difference_low", "difference_high", "verdict"]  # fmt: skip
    rows = [
        [name, level.fraction, run.atoms, run.run, measure, *cells[:3], data.n[run.run],
         str(data.paired[run.run]).lower(), *cells[3:]]
        for name, data in report.datasets.items()
        for level in data.levels
        for run in level.runs
        for measure, cells in _cells(run)
    ]  # fmt: skip
    return csv_text([head, *rows])


def _cells(run: RunValues) -> list[tuple[str, list[float | str | None]]]:
    return [
        (measure, [*spread(one.value), *spread(one.difference), one.verdict]) for measure, one in run.measures.items()
    ]
