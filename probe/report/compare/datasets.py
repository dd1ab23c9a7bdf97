"""Errors of runs on one data set, each with its interval and its difference to the first run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probe.methods import AUTOENCODER, BASELINE, OURS
from probe.metrics.interval import Ratios, jackknife, over_both, over_draws, ratios_of_means
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
from probe.report.protocol import FIVE
from probe.report.run.sample import ROUNDING, mean_of
from probe.report.run.schema import Mean

Column = NDArray[np.float64]
Place = tuple[float, Measure]
"""A level, as a fraction of d, and what is measured there."""
MEASURED: tuple[Place, ...] = ((FIVE, "latent_mse"), (FIVE, "latent_ratio"))
"""Where the errors without blocks of starts are measured."""


@dataclass(frozen=True)
class _Drawn:
    """What a run found on a data set: at each place a value with its resamples of the images; and as shares of it
    (B,), the values without each block of starts, None if they are not known."""

    places: Sequence[Place]
    ratios: Ratios
    left_out: Column | None

    def without(self, place: int) -> Column | None:
        """The values (B,) at a place, known for latent MSE at 5 % of d only: pixel MSE varies more over draws, and
        other levels more or less."""
        if self.left_out is None or self.places[place] not in MEASURED:
            return None
        return self.left_out * self.ratios.value[place]


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
    drawn = [
        _Drawn(places, _ratios(run, name, places, 0 if paired[run.name] else seed), _left_out(run, name))
        for seed, run in enumerate(runs)
    ]
    errors = [
        dict(zip(places, _errors(own, None if run is first else drawn[0], run.same_starts(first)), strict=True))
        for run, own in zip(runs, drawn, strict=True)
    ]

    def at(level: float) -> list[RunValues]:
        return [
            RunValues(run=run.name, atoms=run.levels[level], measures={one: found[level, one] for one in measures})
            for run, found in zip(runs, errors, strict=True)
        ]

    return DatasetComparison(
        n={run.name: run.results.manifest["data"][name]["n_used"] for run in runs},
        sha256={run.name: run.images(name) for run in runs},
        paired=paired,
        draws={run.name: own.left_out is not None for run, own in zip(runs, drawn, strict=True)},
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


def _left_out(run: ComparedRun, name: str) -> Column | None:
    """The error (B,) of the dictionary without each block of starts, as a share of that with all; None if unknown."""
    found = run.results.datasets[name].subsets
    return found.shares(OURS) if found else None


def _errors(own: _Drawn, first: _Drawn | None, same_starts: bool) -> list[ComparedError]:
    """By place; ``first`` is None for the first run itself."""
    found = []
    gaps = (own.ratios - first.ratios).intervals() if first else []
    for place, one in enumerate(map(mean_of, own.ratios.intervals())):
        mine = own.without(place)
        said = ComparedError(value=_joined(one, mine), difference=None, over_starts=mine is not None, verdict=None)
        if first:
            gap, its = mean_of(gaps[place]), first.without(place)
            _contrast(said, gap, mine, its, same_starts)
        said.intervals_over = "images and draws of starts" if said.over_starts else "images alone"
        found.append(said)
    return found


def _contrast(said: ComparedError, gap: Mean, own: Column | None, other: Column | None, same_starts: bool) -> None:
    """Add the difference, its intervals and the verdict."""
    if gap.mean is None:
        return
    known = own is not None and other is not None
    said.over_images, said.over_starts = gap.ci95, known
    said.difference = _joined(gap, own, other, same_starts) if known else gap
    said.verdict = _verdict(said.difference) if known else None


def _joined(found: Mean, own: Column | None, other: Column | None = None, same_starts: bool = False) -> Mean:
    """A number with its interval over images, widened by what draws of the starts add to it.

    Args:
        own, other: the error (B,) without each block of starts of the run, and of the run that is subtracted.
        same_starts: the blocks of both hold the same starts.
    """
    parts = [part for part in (own, other) if part is not None]
    if len(parts) == 2 and same_starts and len(parts[0]) == len(parts[1]):
        parts = [parts[0] - parts[1]]
    if found.mean is None or found.ci95 is None or not parts:
        return found
    mean = found.mean
    ends = [over_draws(mean, float(jackknife(part)), len(part)) for part in parts]
    return Mean(mean=mean, ci95=over_both(mean, found.ci95, *ends))


def _verdict(difference: Mean | None) -> Direction | None:
    """By ``schema.RULE``."""
    if difference is None or difference.ci95 is None:
        return None
    low, high = difference.ci95
    return "lower" if high < 0 else "higher" if low > 0 else "undecided"
