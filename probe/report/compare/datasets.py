"""Errors of runs on one data set, each with its interval and its difference to the first run."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probe.methods import AUTOENCODER, BASELINE, OURS
from probe.metrics.interval import Ratios, ratios_of_means
from probe.report.compare.protocol import ComparedRun
from probe.report.compare.schema import (
    MEASURES,
    ComparedError,
    DatasetComparison,
    Direction,
    LevelComparison,
    Measure,
    RunValues,
)
from probe.report.run.sample import ROUNDING, mean_of
from probe.report.run.schema import Mean

Column = NDArray[np.float64]
Place = tuple[float, Measure]
"""A level, as a fraction of d, and what is measured there."""


def dataset_comparison(
    runs: Sequence[ComparedRun], name: str, levels: Sequence[float], one_space: bool
) -> DatasetComparison:
    """All levels and measures of one data set.

    Args:
        runs: the others are compared with the first.
        levels: fractions of d that all runs have.
        one_space: whether latent MSE can be compared.
    """
    first, measures = runs[0], [one for one in MEASURES if one != "latent_mse" or one_space]
    places = [(level, measure) for level in levels for measure in measures]
    paired = {run.name: run is first or run.same_images(first, name) for run in runs}
    # The same seed draws the same images; different images are drawn independently.
    ratios = [_ratios(run, name, places, 0 if paired[run.name] else seed) for seed, run in enumerate(runs)]
    errors = [dict(zip(places, _errors(own, None if own is ratios[0] else ratios[0]), strict=True)) for own in ratios]

    def at(level: float) -> list[RunValues]:
        return [
            RunValues(run=run.name, atoms=run.levels[level], measures={one: found[level, one] for one in measures})
            for run, found in zip(runs, errors, strict=True)
        ]

    return DatasetComparison(
        n={run.name: run.results.manifest["data"][name]["n_used"] for run in runs},
        sha256={run.name: run.images(name) for run in runs},
        paired=paired,
        levels=[LevelComparison(fraction=level, runs=at(level)) for level in levels],
    )


def _ratios(run: ComparedRun, name: str, places: Sequence[Place], seed: int) -> Ratios:
    # A row for each image, in the same order for every run, so that differences are paired.
    metrics = ["latent_mse", "pixel_mse"]
    table = run.results.datasets[name].rows.pivot(index="image", columns=["method", "atoms"], values=metrics)
    pairs = [_column(table, run.levels, *place) for place in places]
    a, b = (np.stack(part, axis=1) for part in zip(*pairs, strict=True))
    return ratios_of_means(a, b, seed=seed)


def _column(table: pd.DataFrame, levels: dict[float, int], level: float, measure: Measure) -> tuple[Column, Column]:
    """Numerator and denominator (n,), NaN where a method has no rows."""
    metric, missing = "latent_mse" if measure.startswith("latent") else "pixel_mse", np.full(len(table), np.nan)

    def of(method: str, atoms: int | None = None) -> Column:
        found = [one for one in table if one[:2] == (metric, method) and atoms in (None, one[2])]
        return table[found[0]].to_numpy(np.float64) if found else missing

    own = of(OURS, levels[level])
    if measure == metric:
        return own, np.ones(len(table))
    if measure == "floor_ratio":
        return own, of(AUTOENCODER.name)
    control, most = of(BASELINE, levels[level]), of(BASELINE, min(levels.values()))
    return own, control if control.mean() > ROUNDING * most.mean() else missing


def _errors(own: Ratios, first: Ratios | None) -> list[ComparedError]:
    values = [mean_of(one) for one in own.intervals()]
    gaps = [None] * len(values) if first is None else [mean_of(one) for one in (own - first).intervals()]
    known = [gap if gap and gap.mean is not None else None for gap in gaps]
    return [
        ComparedError(value=value, difference=gap, verdict=_verdict(gap))
        for value, gap in zip(values, known, strict=True)
    ]


def _verdict(difference: Mean | None) -> Direction | None:
    """By ``schema.RULE``."""
    if difference is None or difference.ci95 is None:
        return None
    low, high = difference.ci95
    return "lower" if high < 0 else "higher" if low > 0 else "undecided"
