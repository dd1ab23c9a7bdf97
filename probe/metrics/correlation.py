"""Pearson correlation with a bootstrap interval, over groups where pairs are not independent.

| symbol | meaning | shape |
|---|---|---|
| x, y | pairs | (n,) |
| s | sums of 1, x, y, x^2, y^2, x y in each of g groups | (g, 6) |
| w | how often each group was drawn in a resample | (resamples, g) |
| w s | the same sums of the resamples, from which their correlations follow | (resamples, 6) |
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probe.metrics.interval import Interval

RESAMPLES = 10_000
BLOCK = 1_000_000
"""Counts of w that are held at once."""
FLAT = 1e-12
"""Variance, relative to that of all pairs, below which a resample is constant and has no correlation."""


def correlation_interval(x: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None, *, seed: int = 0) -> Interval:
    """Pearson's correlation of the pairs, with the 95 % percentile bootstrap interval over ``groups``.

    Whole groups are drawn: pairs of one group (starts in one basin, say) tell less than independent ones. With fewer
    than ten groups or so the interval is too short, as any bootstrap of so few.

    Args:
        x, y: finite numbers (n,).
        groups: for each pair a label (n,); by default each is a group of its own.

    Returns:
        ``mean`` is the correlation, NaN where x or y is constant; ``low`` and ``high`` are None then, and where there
        is one group only.

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
    found = _resampled(sums, seed)
    low, high = np.percentile(found[np.isfinite(found)], [2.5, 97.5])
    return Interval(whole, float(low), float(high))


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without their mean and scale, whose squares would take the digits of the sums."""
    centred = values - values.mean()
    spread = np.abs(centred).max()
    return centred / spread if spread > FLAT * np.abs(values).max() else centred * 0


def _correlation(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    n, x, y, xx, yy, xy = sums.T
    varies_x, varies_y = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
    known = (varies_x > FLAT) & (varies_y > FLAT)
    scale = np.sqrt(np.where(known, varies_x * varies_y, 1.0))
    return np.where(known, np.clip((xy / n - x * y / n**2) / scale, -1, 1), np.nan)


def _resampled(sums: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    rng, g = np.random.default_rng(seed), len(sums)
    block = max(1, BLOCK // g)
    parts = []
    for start in range(0, RESAMPLES, block):
        drawn = rng.multinomial(g, np.full(g, 1 / g), size=min(block, RESAMPLES - start))
        parts.append(_correlation(drawn @ sums))
    return np.concatenate(parts)
