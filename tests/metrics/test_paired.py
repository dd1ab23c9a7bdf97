"""Student's and Fieller's intervals against SciPy's t tests."""

import numpy as np
import pytest
from scipy.stats import skew, t, ttest_1samp, ttest_rel

from probe.metrics.interval import SKEWED, difference_interval, ratio_interval


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    b = rng.gamma(5.0, size=40)
    a = 0.8 * b + rng.normal(1, 1, size=40)
    assert abs(skew(a - b)) < SKEWED
    return a, b


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


def hall(x: np.ndarray) -> np.ndarray:
    """Hall's transformation of Student's t, written down from the paper: n^(1/2) times the cubic in S = mean / sd, of
    each row."""
    n, s, g = x.shape[-1], x.mean(-1) / x.std(-1, ddof=1), skew(x, axis=-1)
    return n**0.5 * (s + g * s**2 / 3 + g**2 * s**3 / 27 + g / (6 * n))


def test_skewed_differences_widen_to_what_halls_transformation_accepts():
    rng, confidence = np.random.default_rng(4), 1 - 0.05 / 30
    a = 5 + rng.lognormal(0, 1, 64)
    b = rng.normal(5, 0.1, 64)
    quantile, students = t.ppf((1 + confidence) / 2, 63), ttest_rel(a, b).confidence_interval(confidence)
    low, high = difference_interval(a, b, confidence)
    assert skew(a - b) > 1
    assert low == pytest.approx(students.low)  # a long tail to the right: the mean may be much larger,
    assert high > students.high + 0.2
    assert hall(a - b - high) == pytest.approx(-quantile)
    low, high = ratio_interval(a, b, confidence)
    assert hall(a - high * b) == pytest.approx(-quantile)
    assert ttest_1samp(a - low * b, 0).pvalue == pytest.approx(1 - confidence, rel=1e-6)
    mirrored = difference_interval(b, a, confidence)
    assert mirrored == pytest.approx([-end for end in reversed(difference_interval(a, b, confidence))])


def test_skewed_ratios_and_differences_say_the_same():
    rng, seen = np.random.default_rng(5), set()
    for _ in range(300):
        b = rng.lognormal(1, 0.7, 20)
        a = rng.lognormal(0, 1, 20) + rng.uniform(0, 1.5) * b
        difference, ratio = (of(a, b, 0.99) for of in (difference_interval, ratio_interval))
        if ratio is None:  # the mean of b may be 0
            continue
        sides = [tuple((end > level) - (end < level) for end in ends) for ends, level in ((difference, 0), (ratio, 1))]
        assert sides[0] == sides[1]
        seen.add(sides[0])
    assert seen == {(-1, -1), (-1, 1), (1, 1)}


def test_skewed_ratios_against_a_grid():
    """The interval covers all ratios that Hall's transformation accepts, on the estimate's side of 1 if it rejects 1;
    where it accepts ratios of any size there is none. Few images at high confidence, so that some have gaps."""
    rng, seen, quantile = np.random.default_rng(7), {"gap": 0, "unbounded": 0, "none": 0}, t.ppf((1 + 0.9995) / 2, 7)
    away = np.concatenate([np.linspace(0, 4, 801), np.geomspace(4.1, 500, 100)])
    for _ in range(200):
        a, b = rng.lognormal(0, 0.5, 8) * rng.choice([0.3, 0.7, 1.3]), rng.lognormal(0, 0.5, 8)
        students, estimate = student(a, b, 0.9995), a.mean() / b.mean()
        if abs(skew(a - b)) <= SKEWED or students is None:
            continue
        grid = estimate + (students[1] - students[0]) * np.union1d(away, -away)
        accepted = abs(hall(a - grid[:, None] * b)) <= quantile
        if accepted[[0, -1]].any() or accepted[abs(grid - estimate) > 4 * (students[1] - students[0])].any():
            seen["unbounded"] += bool(accepted[[0, -1]].any())
            assert not accepted[[0, -1]].any() or ratio_interval(a, b, 0.9995) is None
            continue  # where parts are so far away that the grid is coarse
        edges = grid[1:][np.diff(accepted.astype(int)) != 0]
        for scale in (1.0, *edges[1:-1:2] + np.diff(edges)[1::2] / 2):  # 1 where it is, and in each gap
            one = abs(hall(a / scale - b)) <= quantile
            side = accepted if one else accepted & ((grid < scale) == (estimate < scale))
            expected = min(grid[side][0], students[0]) / scale, max(grid[side][-1], students[1]) / scale
            if abs(skew(a / scale - b)) > SKEWED:
                assert ratio_interval(a / scale, b, 0.9995) == pytest.approx(
                    sorted(expected), abs=abs(students[1] - students[0]) / 200 / abs(scale)
                )
            seen["gap" if len(edges) > 2 else "none"] += 1
    assert min(seen.values()) > 3, seen


def student(a: np.ndarray, b: np.ndarray, confidence: float) -> tuple[float, float] | None:
    """Fieller's interval, from where ttest_1samp of a - r b has the p-value 1 - confidence: roots of a quadratic."""
    q2 = t.ppf((1 + confidence) / 2, len(a) - 1) ** 2 / len(a)
    v = np.cov(a, b)
    roots = np.roots(
        [b.mean() ** 2 - q2 * v[1, 1], -2 * (a.mean() * b.mean() - q2 * v[0, 1]), a.mean() ** 2 - q2 * v[0, 0]]
    )
    return (min(roots), max(roots)) if b.mean() ** 2 > q2 * v[1, 1] else None


def test_columns_that_are_the_same_but_for_rounding_have_the_ratio_1():
    """A basis of the whole space at d atoms, against the autoencoder alone."""
    rng = np.random.default_rng(0)
    b = rng.lognormal(size=64)
    a = b.copy()
    a[rng.choice(64, 3, replace=False)] *= 1 + 4e-16
    assert abs(skew(a - b)) > SKEWED
    assert ratio_interval(a, b, 0.999) == pytest.approx((1, 1), abs=1e-7)


def test_coverage_of_skewed_differences():
    """Lognormal, 64 images: of 100 reports of 30 comparisons, 48 hold a wrong interval by t alone; here about 12."""
    rng, confidence = np.random.default_rng(6), 1 - 0.05 / 30
    draws = rng.lognormal(0, 1, (4000, 64)) - np.exp(0.5)
    ends = np.array([difference_interval(one, np.zeros(64), confidence) for one in draws])
    missed = ((ends[:, 0] > 0) | (ends[:, 1] < 0)).mean()
    assert 1 - (1 - missed) ** 30 < 0.2


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
