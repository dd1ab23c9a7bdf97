"""Intervals of any confidence for the difference and the ratio of two means, paired by image.

| symbol | meaning | shape |
|---|---|---|
| a, b | values of both, one row per image | (n,) |
| q | square of the quantile of Student's t with n - 1 degrees of freedom, over n | |
| A, B, V | means of a, b and their covariances over n - 1 | |

Both invert Student's paired t test: the interval of the difference is the set of c for which mean(a - b - c) may be 0,
that of the ratio the set of r for which mean(a - r b) may be 0 (Fieller 1954). So one includes 1 exactly when the other
includes 0. They are for confidences so close to 1 that the 10,000 resamples of ``probe.metrics.interval`` have no tail
left; with few images, bootstrap percentiles are too narrow as well.
"""

import math

import numpy as np
from numpy.typing import NDArray

Ends = tuple[float, float]


def difference_interval(a: NDArray[np.float64], b: NDArray[np.float64], confidence: float) -> Ends | None:
    """Interval of mean(a) - mean(b); None for a single image, or if a value is not finite."""
    gap = a - b
    if len(gap) < 2 or not np.isfinite(gap).all():
        return None
    half = math.sqrt(_q(len(gap), confidence) * gap.var(ddof=1))
    return float(gap.mean() - half), float(gap.mean() + half)


def ratio_interval(a: NDArray[np.float64], b: NDArray[np.float64], confidence: float) -> Ends | None:
    """Interval of mean(a) / mean(b); None likewise, or if mean(b) may be 0 at this confidence: then it is unbounded."""
    if len(a) < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    # r with (A - r B)^2 <= q (Vaa - 2 r Vab + r^2 Vbb), a quadratic in r.
    (vaa, vab), (_, vbb) = _q(len(a), confidence) * np.cov(a, b)
    square, cross, rest = b.mean() ** 2 - vbb, a.mean() * b.mean() - vab, a.mean() ** 2 - vaa
    if square <= 0:
        return None
    root = math.sqrt(max(cross**2 - square * rest, 0.0))
    return float((cross - root) / square), float((cross + root) / square)


def _q(n: int, confidence: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, n - 1)) ** 2 / n
