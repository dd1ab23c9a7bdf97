"""The errors of runs on one data set: each with its interval, and its difference to the first run's."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from probe.methods import BASELINE
from probe.metrics.interval import Interval
from probe.metrics.ratio import Ratios, ratios_of_means
from probe.report.compare.protocol import Run
from probe.report.compare.schema import (
    MEASURES,
    DatasetComparison,
    LevelComparison,
    Measure,
    RunValues,
    Value,
    Verdict,
)
from probe.report.run.sample import ROUNDING, mean_of
from probe.report.run.schema import Mean

Column = tuple[NDArray[np.float64], NDArray[np.float64]]


def dataset_comparison(runs: Sequence[Run], name: str, levels: Sequence[float], one_space: bool) -> DatasetComparison:
    """All levels and measures of one data set.

    Args:
        runs: the first is the one that the others are held against.
        levels: fractions of d that all have.
        one_space: whether latent MSE may be compared.
    """
    first, measures = runs[0], [one for one in MEASURES if one != "latent_mse" or one_space]
    keys = [(level, measure) for level in levels for measure in measures]
    paired = {run.name: run.same_images(first, name) for run in runs}
    # One seed draws the same images; images that are not the same are drawn independently.
    ratios = [
        _ratios(run, name, keys, seed=0 if run is first or paired[run.name] else place)
        for place, run in enumerate(runs)
    ]
    values = {run.name: _values(keys, own, None if run is first else ratios[0])
              for run, own in zip(runs, ratios, strict=True)}  # fmt: skip
    return DatasetComparison(
        n={run.name: run.results.manifest["data"][name]["n_used"] for run in runs},
        sha256={run.name: run.images(name) for run in runs},
        paired={run.name: run is first or paired[run.name] for run in runs},
        levels=[
            LevelComparison(
                fraction=level,
                runs=[
                    RunValues(
                        run=run.name,
                        atoms=run.levels[level],
                        measures={measure: values[run.name][level, measure] for measure in measures},
                    )
                    for run in runs
                ],
            )
            for level in levels
        ],
    )


def _ratios(run: Run, name: str, keys: Sequence[tuple[float, Measure]], seed: int) -> Ratios:
    # Sorted by image, rows of different runs stand side by side: that is what makes differences paired.
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
    run: Run, columns: dict[tuple[str, int, str], NDArray[np.float64]], level: float, measure: Measure
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


def _values(
    keys: Sequence[tuple[float, Measure]], own: Ratios, first: Ratios | None
) -> dict[tuple[float, Measure], Value]:
    values = own.intervals()
    gaps: Sequence[Interval | None] = [None] * len(keys) if first is None else (own - first).intervals()
    return {key: _value(value, gap) for key, value, gap in zip(keys, values, gaps, strict=True)}


def _value(value: Interval, gap: Interval | None) -> Value:
    difference = None if gap is None or not np.isfinite(gap.mean) else mean_of(gap)
    return Value(value=mean_of(value), difference=difference, verdict=verdict(difference))


def verdict(difference: Mean | None) -> Verdict | None:
    """By ``schema.RULE``."""
    if difference is None or difference.ci95 is None:
        return None
    low, high = difference.ci95
    if high < 0:
        return "lower"
    return "higher" if low > 0 else "undecided"
