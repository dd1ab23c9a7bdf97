"""Pearson correlation with a bootstrap interval, over groups where pairs are not independent.

| symbol | meaning | shape |
|---|---|---|
| x, y | pairs | (n,) |
| s | sums of 1, x, y, x^2, y^2, x y in each of g groups | (g, 6) |
| w | how often each group was drawn in a resample | (resamples, g) |
| w s | the same sums of the resamples, from which their correlations follow | (resamples, 6) |
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probe.metrics.interval import Interval, draws

BLOCK = 1_000_000
"""Counts of w held at once."""
FLAT = 1e-12
"""Variance, relative to that of all pairs, below which a resample is constant and has no correlation."""


def correlation_interval(x: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None, *, seed: int = 0) -> Interval:
    """Pearson's correlation of the pairs, with the 95 % percentile bootstrap interval over ``groups``.

    Whole groups are drawn, because the pairs of a group (starts in one basin, say) are not independent. With fewer than
    about ten groups the interval is too short, like any bootstrap of so few.

    Args:
        x, y: finite numbers (n,).
        groups: a label for each pair (n,); default: each pair is a group of its own.

    Returns:
        ``mean`` is the correlation, NaN if x or y is constant; ``low`` and ``high`` are None then, and for a single
        group.

    Raises:
        ValueError: shapes differ, there are no pairs, or a number is not finite.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    labels = np.arange(x.size) if groups is None else np.asarray(groups)
    if not (x.ndim == 1 and x.shape == y.shape == labels.shape and x.size and np.isfinite([x, y]).all()):
        raise ValueError(f"pairs are finite and of shapes (n,), n >= 1, not {x.shape}, {y.shape} and {labels.shape}")
    x, y = _standard(x), _standard(y)
    _, place = np.unique(labels, return_inverse=True)
    columns = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    sums = np.zeros((place.max() + 1, 6))
    np.add.at(sums, place, columns)
    whole = float(_correlation(sums.sum(axis=0, keepdims=True))[0])
    if len(sums) == 1 or np.isnan(whole):
        return Interval(whole, None, None)
    found = np.concatenate(
        [_correlation(np.asarray(counts @ sums, np.float64)) for counts in draws(len(sums), seed, BLOCK)]
    )
    return Interval.of(whole, found[np.isfinite(found)])


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centred and scaled, because the squares of mean and scale would cost the sums their digits."""
    centred = values - values.mean()
    spread = np.abs(centred).max()
    return centred / spread if spread > FLAT * np.abs(values).max() else centred * 0


def _correlation(sums: NDArray[Any]) -> NDArray[np.float64]:
    n, x, y, xx, yy, xy = sums.T
    varies_x, varies_y = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
    known = (varies_x > FLAT) & (varies_y > FLAT)
    scale = np.sqrt(np.where(known, varies_x * varies_y, 1.0))
    return np.where(known, np.clip((xy / n - x * y / n**2) / scale, -1, 1), np.nan)
