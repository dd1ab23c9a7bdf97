"""Ratios of means over images, with all bootstrap values, so that ratios can be subtracted from each other.

| symbol | meaning | shape |
|---|---|---|
| a, b | numerators and denominators, one row per image | (n, k) |
| w | how often each image was drawn in a resample, over n | (resamples, n) |
| (w a) / (w b) | the resampled ratios | (resamples, k) |
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probe.metrics.interval import RESAMPLES, Interval, draws

BLOCK = 1_000_000
"""Counts of w held at once."""


class Ratios(NamedTuple):
    """Ratios of k columns; ``resampled`` is all NaN for a single image, and if there is no ratio."""

    value: NDArray[np.float64]
    resampled: NDArray[np.float64]

    def __sub__(self, other: "Ratios") -> "Ratios":
        """The differences: paired by image if both have the same seed and number of rows, else independent."""
        return Ratios(self.value - other.value, self.resampled - other.resampled)

    def __truediv__(self, other: "Ratios") -> "Ratios":
        """The ratios of both, paired likewise; NaN if the other is 0."""
        below, drawn = (np.where(part != 0, part, np.nan) for part in (other.value, other.resampled))
        return Ratios(self.value / below, self.resampled / drawn)

    def intervals(self) -> list[Interval]:
        """Each value with the 2.5 % and 97.5 % percentiles of its resampled values; None if there are none."""
        known: NDArray[np.bool_] = np.asarray(np.isfinite(self.resampled).all(axis=0))
        lows, highs = np.percentile(np.where(known, self.resampled, 0.0), [2.5, 97.5], axis=0)
        return [
            Interval(float(value), *((float(low), float(high)) if ok else (None, None)))
            for value, low, high, ok in zip(self.value, lows, highs, known, strict=True)
        ]


def ratios_of_means(numerators: ArrayLike, denominators: ArrayLike, *, seed: int = 0) -> Ratios:
    """mean(a) / mean(b) of every column, all over the same resamples of the rows; b = 1 gives means.

    Not the mean of the images' ratios, which the smallest denominators would dominate.

    Args:
        numerators, denominators: (n, k), n >= 1. A column with a number that is not finite, or whose b has mean 0,
            gives NaN and does not affect other columns.
        seed: the result is a function of the numbers and the seed; equal n and seed draw the same rows.

    Raises:
        ValueError: the shapes differ, or there is no row.
    """
    a, b = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if a.ndim != 2 or a.shape != b.shape or not len(a):
        raise ValueError(f"numerators and denominators have one shape (n, k), n >= 1, not {a.shape} and {b.shape}")
    good = np.isfinite(a).all(axis=0) & np.isfinite(b).all(axis=0) & (b.mean(axis=0) != 0)
    a, b = np.where(good, a, 0.0), np.where(good, b, 1.0)
    value = np.where(good, a.mean(axis=0) / b.mean(axis=0), np.nan)
    if len(a) == 1:
        return Ratios(value, np.full((RESAMPLES, a.shape[1]), np.nan))
    parts = []
    for drawn in draws(len(a), seed, BLOCK):
        top, bottom = drawn @ a, drawn @ b
        parts.append(np.where(good & (bottom != 0), top / np.where(bottom != 0, bottom, 1.0), np.nan))
    return Ratios(value, np.concatenate(parts))
