"""Errors of runs on one data set, each with its interval and its difference to the first run."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from probe.methods import BASELINE
from probe.metrics.interval import Interval, Ratios, ratios_of_means
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

Column = tuple[NDArray[np.float64], NDArray[np.float64]]


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
    keys = [(level, measure) for level in levels for measure in measures]
    paired = {run.name: run is first or run.same_images(first, name) for run in runs}
    # The same seed draws the same images; different images are drawn independently.
    ratios = [_ratios(run, name, keys, 0 if paired[run.name] else place) for place, run in enumerate(runs)]
    errors = {
        run.name: _errors(keys, own, None if run is first else ratios[0]) for run, own in zip(runs, ratios, strict=True)
    }

    def at(run: ComparedRun, level: float) -> RunValues:
        found = {measure: errors[run.name][level, measure] for measure in measures}
        return RunValues(run=run.name, atoms=run.levels[level], measures=found)

    return DatasetComparison(
        n={run.name: run.results.manifest["data"][name]["n_used"] for run in runs},
        sha256={run.name: run.images(name) for run in runs},
        paired=paired,
        levels=[LevelComparison(fraction=level, runs=[at(run, level) for run in runs]) for level in levels],
    )


def _ratios(run: ComparedRun, name: str, keys: Sequence[tuple[float, Measure]], seed: int) -> Ratios:
    # Sorted by image, so that row i of every run is the same image: differences are paired.
    rows = run.results.datasets[name].rows.sort_values("image")
    columns = {
        (method, int(atoms), metric): group[metric].to_numpy(np.float64)
        for (method, atoms), group in rows.groupby(["method", "atoms"])
        for metric in ("latent_mse", "pixel_mse")
    }
    pairs = [_column(run, columns, level, measure) for level, measure in keys]
    a, b = (np.stack(part, axis=1) for part in zip(*pairs, strict=True))
    return ratios_of_means(a, b, seed=seed)


def _column(
    run: ComparedRun, columns: dict[tuple[str, int, str], NDArray[np.float64]], level: float, measure: Measure
) -> Column:
    """Numerator and denominator (n,), NaN where a method has no rows."""
    n = len(next(iter(columns.values())))
    missing, atoms = np.full(n, np.nan), run.levels[level]
    metric = "latent_mse" if measure.startswith("latent") else "pixel_mse"
    own = columns.get(("attractors", atoms, metric), missing)
    if measure in ("pixel_mse", "latent_mse"):
        return own, np.ones(n)
    if measure == "floor_ratio":
        alone = (column for (method, _, of), column in columns.items() if (method, of) == ("autoencoder", metric))
        return own, next(alone, missing)
    control = columns.get((BASELINE, atoms, metric), missing)
    most = columns.get((BASELINE, min(run.levels.values()), metric), missing)
    return own, control if control.mean() > ROUNDING * most.mean() else missing


def _errors(
    keys: Sequence[tuple[float, Measure]], own: Ratios, first: Ratios | None
) -> dict[tuple[float, Measure], ComparedError]:
    gaps: Sequence[Interval | None] = [None] * len(keys) if first is None else (own - first).intervals()
    found = {}
    for key, value, gap in zip(keys, own.intervals(), gaps, strict=True):
        difference = None if gap is None or not np.isfinite(gap.mean) else mean_of(gap)
        found[key] = ComparedError(value=mean_of(value), difference=difference, verdict=verdict(difference))
    return found


def verdict(difference: Mean | None) -> Direction | None:
    """By ``schema.RULE``."""
    if difference is None or difference.ci95 is None:
        return None
    low, high = difference.ci95
    return "lower" if high < 0 else "higher" if low > 0 else "undecided"
