"""The correlation and its interval against scipy, Fisher's transform, and repeated groups."""

import math

import numpy as np
import pytest
import scipy.stats

from probe.metrics.interval import correlation_interval


def pairs(n: int, rho: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x, noise = np.random.default_rng(seed).normal(size=(2, n))
    return 1e6 + x, 3 * (rho * x + math.sqrt(1 - rho**2) * noise) - 1e3


def test_as_scipy_says():
    x, y = pairs(80, 0.6)
    found = correlation_interval(x, y)
    assert found.mean == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-9)
    how = scipy.stats.BootstrapMethod(n_resamples=4000, method="percentile", rng=np.random.default_rng(1))
    low, high = scipy.stats.pearsonr(x, y).confidence_interval(method=how)
    # The 2.5 % percentile of B draws is off by 0.027 standard errors at B = 10,000 and by 0.042 at 4,000; the standard
    # error is (1 - r^2) / sqrt(n) = 0.07. Five of both: 0.018.
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)


def test_fishers_interval():
    n, rho = 2000, 0.8
    found = correlation_interval(*pairs(n, rho))
    ends = [math.tanh(math.atanh(found.mean) + sign * 1.96 / math.sqrt(n - 3)) for sign in (-1, 1)]
    # Of a standard error of 0.008 the percentiles are off by a tenth or two here: draws, and skewness 1 / sqrt(n).
    assert (found.low, found.high) == pytest.approx(ends, abs=0.002)


def test_repeated_pairs_tell_nothing_new():
    """Each pair ten times, in one group: the same interval. Taken as independent, one that is sqrt(10) shorter."""
    x, y = pairs(60, 0.5)
    once = correlation_interval(x, y)
    group = np.tile(np.arange(60), 10)
    again = correlation_interval(np.tile(x, 10), np.tile(y, 10), group)
    assert again == pytest.approx(once, abs=1e-9)
    naive = correlation_interval(np.tile(x, 10), np.tile(y, 10))
    assert (naive.high - naive.low) * math.sqrt(10) == pytest.approx(once.high - once.low, rel=0.15)


def test_a_line_and_a_constant():
    x = np.arange(5.0)
    assert correlation_interval(x, -2 * x) == pytest.approx((-1, -1, -1))
    for y in (x * 0 + 0.1, x * 0):
        assert np.isnan(correlation_interval(x, y).mean)
    assert correlation_interval(x, x**2, [7] * 5)[1:] == (None, None)


@pytest.mark.parametrize(
    ("x", "y", "groups"), [([1], [1, 2], None), ([], [], None), ([math.nan], [1], None), ([1, 2], [1, 2], [1])]
)
def test_nonsense(x, y, groups):
    with pytest.raises(ValueError, match="pairs are finite"):
        correlation_interval(x, y, groups)
