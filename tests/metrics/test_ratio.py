"""Ratios of means against closed forms and SciPy's bootstrap."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from probe.metrics.interval import mean_intervals, ratios_of_means


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_as_scipy_says(rng):
    a, b = rng.gamma(3.0, size=60), rng.gamma(5.0, size=60)
    found = ratios_of_means(a[:, None], b[:, None]).intervals()[0]
    theirs = bootstrap(
        (a, b), lambda x, y, axis: x.mean(axis) / y.mean(axis), paired=True, n_resamples=10_000, method="percentile",
        rng=np.random.default_rng(1),
    )  # fmt: skip
    assert found.mean == pytest.approx(a.mean() / b.mean())
    # The Monte Carlo error of a 2.5 % quantile of 10,000 draws is about 3 % of the standard error.
    close = pytest.approx(tuple(theirs.confidence_interval), abs=0.15 * theirs.standard_error)
    assert (found.low, found.high) == close


def test_means_are_those_of_mean_intervals(rng):
    values = rng.normal(size=(30, 2))
    found = ratios_of_means(values, np.ones_like(values)).intervals()
    for one, other in zip(found, mean_intervals(values), strict=True):
        assert one == pytest.approx(other)


def test_a_difference_of_equal_columns_is_0_and_of_other_images_is_not(rng):
    values = rng.gamma(3.0, size=(40, 1))
    ones = np.ones_like(values)
    first = ratios_of_means(values, ones)
    assert (first - ratios_of_means(values, ones)).intervals()[0] == (0, 0, 0)
    apart = (first - ratios_of_means(values, ones, seed=1)).intervals()[0]
    width = np.sqrt(2) * 1.96 * values.std() / np.sqrt(40)  # independent means: variances add
    assert (apart.low, apart.high) == pytest.approx((-width, width), rel=0.1)


def test_pairing_makes_a_common_shift_exact(rng):
    values = rng.gamma(3.0, size=(40, 1))
    ones = np.ones_like(values)
    gap = (ratios_of_means(values + 0.5, ones) - ratios_of_means(values, ones)).intervals()[0]
    assert gap == pytest.approx((0.5, 0.5, 0.5))


def test_columns_without_a_ratio_do_not_touch_their_neighbours():
    a = np.array([[1.0, np.nan, 1.0], [3.0, 1.0, 1.0]])
    b = np.array([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    good, missing, zero = ratios_of_means(a, b).intervals()
    assert good.mean == 1
    assert (good.low, good.high) == (0.5, 1.5)
    for one in (missing, zero):
        assert np.isnan(one.mean)
        assert one[1:] == (None, None)
    assert ratios_of_means([[3.0]], [[2.0]]).intervals()[0] == (1.5, None, None)


def test_shapes():
    for a, b in (([1.0], [1.0]), ([[1.0]], [[1.0, 2.0]]), (np.ones((0, 1)), np.ones((0, 1)))):
        with pytest.raises(ValueError, match="one shape"):
            ratios_of_means(a, b)
