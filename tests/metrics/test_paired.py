"""Student's and Fieller's intervals against SciPy's t tests."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from probe.metrics.interval import difference_interval, ratio_interval


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    b = rng.gamma(5.0, size=40)
    return 0.8 * b + rng.gamma(1.0, size=40), b


@pytest.mark.parametrize("confidence", [0.9, 0.95, 1 - 0.05 / 30])
def test_the_difference_is_that_of_a_paired_t_test(pair, confidence: float):
    found = difference_interval(*pair, confidence)
    assert found == pytest.approx(tuple(ttest_rel(*pair).confidence_interval(confidence)))


@pytest.mark.parametrize("confidence", [0.9, 0.95, 1 - 0.05 / 30])
def test_the_ends_of_a_ratio_are_just_not_refused_by_a_t_test(pair, confidence: float):
    a, b = pair
    low, high = ratio_interval(a, b, confidence)
    assert low < a.mean() / b.mean() < high
    for end in (low, high):
        assert ttest_1samp(a - end * b, 0).pvalue == pytest.approx(1 - confidence, rel=1e-6)


def test_both_say_the_same(pair):
    """Whatever the shift of a, the interval of the ratio is below 1 where that of the difference is below 0."""
    a, b = pair
    seen = set()
    for shift in np.linspace(-2, 2, 41):
        difference, ratio = (of(a + shift, b, 0.99) for of in (difference_interval, ratio_interval))
        sides = [[(end > level) - (end < level) for end in ends] for ends, level in ((difference, 0), (ratio, 1))]
        assert sides[0] == sides[1]
        seen.add(tuple(sides[0]))
    assert seen == {(-1, -1), (-1, 1), (1, 1)}


def test_coverage():
    """The true ratio is inside as often as stated; 2000 draws of 95 % have a standard error of 0.5 %."""
    rng, missed = np.random.default_rng(1), 0
    for _ in range(2000):
        b = rng.normal(5, 1, 12)
        low, high = ratio_interval(3 + 0.5 * b + rng.normal(0, 1, 12), b, 0.95)
        missed += not low <= 5.5 / 5 <= high
    assert missed / 2000 == pytest.approx(0.05, abs=0.02)


def test_no_interval(pair):
    a, b = pair
    assert difference_interval(a[:1], b[:1], 0.95) is ratio_interval(a[:1], b[:1], 0.95) is None
    assert difference_interval(a, np.where(b > 9, np.nan, b), 0.95) is None
    assert ratio_interval(np.where(b > 9, np.inf, a), b, 0.95) is None
    assert ratio_interval(a, b - b.mean(), 0.95) is None  # a denominator that may be 0
    assert ratio_interval(2 * b, b, 0.95) == pytest.approx((2, 2))
