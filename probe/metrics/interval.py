"""Mean and 95 % bootstrap interval over images.

| symbol | meaning | shape |
|---|---|---|
| v | values, one row per image | (n,) or (n, k) |
| w | how often each image was drawn in a resample, over n | (resamples, n) |
| w v | the resampled means | (resamples, k) |
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Verdict = Literal["holds", "does not hold", "undecided"]
RESAMPLES = 10_000
CELLS = 4_000_000
"""Counts of w held at once: 32 MB."""


class Interval(NamedTuple):
    """Sample mean and the 2.5 % and 97.5 % percentiles of its bootstrap distribution.

    ``low`` and ``high`` are None if there is no interval: for a single value, or if a value is not finite (``mean`` is
    NaN then).
    """

    mean: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, value: float, resampled: NDArray[np.float64] | None) -> "Interval":
        """A value with the percentiles of its resampled values (r,); no interval without them."""
        if resampled is None:
            return cls(float(value), None, None)
        low, high = np.percentile(resampled, [2.5, 97.5])
        return cls(float(value), float(low), float(high))

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Both ends; None if there is no interval."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def as_json(self) -> dict[str, Any]:
        """``mean`` and ``ci95``, null if there is none."""
        return {"mean": self.mean, "ci95": None if self.ci95 is None else list(self.ci95)}


def mean_interval(values: ArrayLike, *, seed: int = 0) -> Interval:
    """Mean of ``values`` (n,) with its 95 % percentile bootstrap interval; a function of (values, seed) alone."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"values have shape (n,), not {array.shape}")
    return mean_intervals(array[:, None], seed=seed)[0]


def mean_intervals(values: ArrayLike, *, seed: int = 0) -> list[Interval]:
    """``mean_interval`` of every column of ``values`` (n, k), all columns over the same resamples of the rows.

    Equal to ``scipy.stats.bootstrap(method="percentile")`` up to the draw, but computed as one matrix product (a mean
    is linear in the counts of the resample), since a report takes about a thousand of these intervals.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or len(array) == 0:
        raise ValueError(f"values have shape (n, k) with n >= 1, not {array.shape}")
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(array).all(axis=0))
    safe = np.where(finite, array, 0.0)  # a column with NaN or infinity must not touch its neighbours
    means = safe.mean(axis=0)
    if len(array) == 1:
        return [Interval(float(m) if ok else float("nan"), None, None) for m, ok in zip(means, finite, strict=True)]
    resampled = np.concatenate([counts / len(array) @ safe for counts in draws(len(array), seed)])
    lows, highs = np.percentile(resampled, [2.5, 97.5], axis=0)
    return [
        Interval(float(m), float(low), float(high)) if ok else Interval(float("nan"), None, None)
        for m, low, high, ok in zip(means, lows, highs, finite, strict=True)
    ]


def grouped_mean_interval(values: ArrayLike, groups: ArrayLike, *, seed: int = 0) -> Interval:
    """Mean of ``values`` (n,), with an interval over ``groups`` (n,): whole groups of dependent values are drawn.

    The mean of a resample is over all values of its groups: a large group counts for more, as in the mean itself.
    """
    array, labels = np.asarray(values, dtype=np.float64), np.asarray(groups)
    if array.ndim != 1 or array.shape != labels.shape or not len(array):
        raise ValueError(f"values and groups have shape (n,), n >= 1, not {array.shape} and {labels.shape}")
    mean = float(array.mean())
    _, place = np.unique(labels, return_inverse=True)
    sizes = np.bincount(place)
    if len(sizes) == 1 or not np.isfinite(array).all():
        return Interval(mean if np.isfinite(mean) else float("nan"), None, None)
    columns = np.stack([np.bincount(place, array), sizes], axis=1)
    totals = np.concatenate([counts / len(sizes) @ columns for counts in draws(len(sizes), seed)])
    return Interval.of(mean, totals[:, 0] / totals[:, 1])


def draws(n: int, seed: int, cells: int | None = None) -> Iterator[NDArray[np.int64]]:
    """How often each of n rows is drawn, (block, n), for ``RESAMPLES`` resamples in blocks of about ``cells`` counts.

    n draws with replacement are one multinomial draw of counts.
    """
    rng = np.random.default_rng(seed)
    block = max(1, (cells or CELLS) // n)
    for start in range(0, RESAMPLES, block):
        yield rng.multinomial(n, np.full(n, 1 / n), size=min(block, RESAMPLES - start))


def on_side(ci95: Sequence[float] | None, side: int, level: float = 0.0) -> Verdict:
    """Whether an interval (low, high) lies above (side 1) or below (side -1) a level.

    ``holds`` if all of it does, ``does not hold`` if all of it lies on the other side, else, and without an interval,
    ``undecided``.
    """
    if ci95 is None:
        return "undecided"
    above, below = ci95[0] > level, ci95[1] < level
    yes, no = (above, below) if side > 0 else (below, above)
    return "holds" if yes else "does not hold" if no else "undecided"


def verdict(interval: Interval, *, above: float | None = None, below: float | None = None) -> Verdict:
    """``on_side`` for the claim that the mean is ``above`` (or ``below``) a level; ValueError if neither is given."""
    level = above if above is not None else below
    if level is None:
        raise ValueError("name a level: above or below")
    return on_side(interval.ci95, 1 if above is not None else -1, level)
