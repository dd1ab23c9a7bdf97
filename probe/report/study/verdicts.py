"""The rules of verdicts that several pages share, and their intervals by resampling."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from probe.metrics.interval import on_side
from probe.report.study.page import Rule
from probe.report.study.schema import StudyClaim

TREND = Rule(
    "A trend holds if the 95 % interval of Spearman's rank correlation rho between the axis and the measure, over all "
    "models (every seed is one), lies on the claimed side of 0. It does not hold if the interval lies on the other "
    "side, and is undecided if the interval includes 0 or there are fewer than 5 models. The interval is "
    "tanh(artanh(rho) +- 1.96 x 1.03 / sqrt(n - 3)) (Fieller, Hartley and Pearson). A perfect order counts as the "
    "largest |rho| below 1 that n models can have, since few models in order prove little. A measure that is equal for "
    "all models shows no trend.",
    statistic="rho",
)
FEWEST = 5
"""A perfect order of this many models has a probability below 2.5 % by chance: 2 / 5! = 1.7 %."""
RESAMPLES = 2000
Values = NDArray[np.float64]
Estimated = tuple[float | None, tuple[float, float] | None]
"""A statistic and its 95 % interval; None if they do not exist."""


def claimed(found: Estimated, side: int, at: Mapping[Any, Estimated] | None = None, **about: Any) -> StudyClaim:
    """A claim that a statistic lies above (side 1) or below (side -1) 0, with its verdict.

    Args:
        at: the statistic at each value of the axis, for ``by_value``.
        about: the other fields.
    """
    statistic, ci95 = found
    by_value = None if at is None else {str(value): on_side(one, side) for value, (_, one) in at.items()}
    return StudyClaim(result=on_side(ci95, side), statistic=statistic, ci95=ci95, by_value=by_value, **about)


def above_null(
    where: str, null: str, found: Estimated, at: Mapping[Any, Estimated] | None = None, **about: Any
) -> StudyClaim:
    """The claim that mem exceeds a null level, given the difference of both over seeds."""
    claim = f"at {where}, mem of the attractors exceeds that of {null}"
    return claimed(found, 1, at, claim=claim, rule="null", over="seeds", **about)


def trend(name: str, claim: str, side: int, pairs: Sequence[tuple[float, float | None]]) -> StudyClaim:
    """The claim that a measure grows (side 1) or falls (side -1) along the axis.

    Args:
        pairs: the value of the axis and of the measure, for each model; None if it has none.
    """
    there = [(value, measured) for value, measured in pairs if measured is not None]
    found = spearman_interval(there)
    return claimed(found, side, name=name, claim=claim, rule="trend", n=len(there), over="models")


def spearman_interval(pairs: Sequence[tuple[float, float]]) -> Estimated:
    """rho and its 95 % interval by ``TREND``; None if they do not exist."""
    n = len(pairs)
    if n < 2 or any(len(set(values)) < 2 for values in zip(*pairs, strict=True)):
        return None, None
    rho = float(stats.spearmanr(*zip(*pairs, strict=True)).statistic)
    if n < FEWEST:
        return rho, None
    most = 1 - 12 / (n**3 - n)  # one pair of neighbours out of order
    centre, half = math.atanh(min(max(rho, -most), most)), 1.96 * 1.03 / math.sqrt(n - 3)
    return rho, (min(math.tanh(centre - half), rho), max(math.tanh(centre + half), rho))


def difference_interval(seeds: Sequence[tuple[Values, Values]]) -> Estimated:
    """The mean over seeds of mean(a) - mean(b), and its 95 % interval; None if they do not exist.

    Seeds are resampled, and the values of a and b within each seed.
    """
    if any(len(a) == 0 or len(b) == 0 for a, b in seeds):
        return None, None
    difference = float(np.mean([a.mean() - b.mean() for a, b in seeds]))
    rng = np.random.default_rng(0)
    return difference, over_seeds(np.stack([means(a, rng) - means(b, rng) for a, b in seeds]), rng)


def over_seeds(resampled: Values, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of the mean over seeds of a statistic, from its resamples in each seed (seeds, RESAMPLES)."""
    seeds = len(resampled)
    drawn = rng.integers(seeds, size=(seeds, RESAMPLES))
    rows = rng.permuted(np.tile(np.arange(RESAMPLES), (seeds, 1)), axis=1)  # else a seed drawn twice counts as one
    low, high = np.percentile(resampled[drawn, rows].mean(axis=0), [2.5, 97.5])
    return float(low), float(high)


def means(values: Values, rng: np.random.Generator) -> Values:
    """Means of resamples, (RESAMPLES,)."""
    counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=RESAMPLES)
    return counts @ values / len(values)
