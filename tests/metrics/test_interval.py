"""The bootstrap interval against closed forms, against scipy, and its coverage."""

import numpy as np
import pytest
import scipy.stats

from probe.metrics.interval import (
    RESAMPLES,
    Interval,
    grouped_mean_interval,
    mean_interval,
    mean_intervals,
    verdict,
)


def test_normal_closed_form():
    n = 400
    values = np.random.default_rng(1).normal(2.0, 3.0, n)
    interval = mean_interval(values)
    assert interval.mean == pytest.approx(values.mean(), abs=1e-12)
    # The bootstrap distribution of the mean is close to N(mean, s^2 / n), s with 1/n: the ends lie at 1.96 s/sqrt(n).
    # The percentile p = 0.025 of B draws has standard error sqrt(p (1 - p) / B) / phi(1.96) = 0.027 standard errors
    # of the mean for B = 10,000; Edgeworth's term of order skewness / (6 sqrt(n)) * (z^2 - 1) is below 0.01 here.
    # Five Monte Carlo errors and that term: 0.15 standard errors of the mean.
    error = values.std() / np.sqrt(n)
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_scipy_agrees():
    values = np.random.default_rng(2).exponential(size=60)
    ours = mean_interval(values)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=RESAMPLES, rng=np.random.default_rng(5)
    ).confidence_interval
    # Two independent Monte Carlo errors of 0.027 standard errors each (above): five times their root sum of squares.
    tolerance = 5 * np.sqrt(2) * 0.027 * values.std() / np.sqrt(60)
    assert ours.low == pytest.approx(theirs.low, abs=tolerance)
    assert ours.high == pytest.approx(theirs.high, abs=tolerance)


def test_coverage():
    samples = np.random.default_rng(3).normal(0.0, 1.0, (50, 400))
    intervals = mean_intervals(samples)  # 400 samples of 50 images
    covered = np.mean([i.low <= 0.0 <= i.high for i in intervals])
    # Percentile intervals at n = 50 cover P(|t_49| < 1.96 sqrt(49/50)) = 94.2 %; 400 trials have a standard error of
    # 1.2 %: four of them.
    assert covered == pytest.approx(0.942, abs=0.047)


def test_seed_decides():
    values = np.arange(20.0)
    assert mean_interval(values) == mean_interval(values, seed=0)
    assert mean_interval(values) != mean_interval(values, seed=1)


def test_shift_and_scale():
    values = np.random.default_rng(4).normal(size=30)
    plain, moved = mean_interval(values), mean_interval(10 + 2 * values)
    assert moved == pytest.approx([10 + 2 * end for end in plain], abs=1e-12)  # rounding only: the draw is the same


def test_constant_has_no_width():
    # The weights of a resample sum to 1 within n roundings of 2^-53.
    assert mean_interval(np.full(7, 0.25)) == pytest.approx((0.25, 0.25, 0.25), abs=1e-14)


def test_blocks_of_weights_change_nothing(monkeypatch: pytest.MonkeyPatch):
    values = np.random.default_rng(6).normal(size=(9, 2))
    whole = mean_intervals(values)
    monkeypatch.setattr("probe.metrics.interval.CELLS", 1000)
    for a, b in zip(whole, mean_intervals(values), strict=True):
        assert a == pytest.approx(b, abs=1e-14)


def test_one_image_has_no_interval():
    assert mean_interval([0.5]) == (0.5, None, None)


def test_non_finite_column_stays_alone():
    good = np.random.default_rng(7).normal(size=12)
    bad = good.copy()
    bad[3] = np.inf
    first, second = mean_intervals(np.stack([bad, good], axis=1))
    assert np.isnan(first.mean)
    assert (first.low, first.high) == (None, None)
    assert second == pytest.approx(mean_interval(good), abs=1e-14)


@pytest.mark.parametrize("values", [np.zeros((2, 2)), np.zeros(0), 1.0])
def test_wrong_shape(values):
    with pytest.raises(ValueError, match="shape"):
        mean_interval(values)


def test_groups_are_drawn_whole():
    rng = np.random.default_rng(0)
    levels, sizes = rng.normal(size=30), rng.integers(1, 9, 30)
    groups = np.repeat(np.arange(30), sizes)
    mean, low, high = grouped_mean_interval(levels[groups], groups)
    assert mean == pytest.approx(np.average(levels, weights=sizes))
    boot = scipy.stats.bootstrap(
        (levels, sizes),
        lambda v, w: np.average(v, weights=w),
        paired=True,
        vectorized=False,
        method="percentile",
        rng=0,
    ).confidence_interval
    # 10,000 resamples: a percentile errs by about 2 % of the width.
    assert (low, high) == pytest.approx((boot.low, boot.high), abs=0.03)
    alone = mean_interval(levels[groups])
    assert high - low > 1.5 * (alone.high - alone.low)  # values that are alike tell less
    assert grouped_mean_interval(levels, np.arange(30)) == pytest.approx(mean_interval(levels))
    assert grouped_mean_interval([1.0, 2.0], [0, 0]) == (1.5, None, None)
    with pytest.raises(ValueError, match="have shape"):
        grouped_mean_interval([], [])


def test_a_verdict_needs_the_whole_interval_on_one_side():
    def of(low, high, **level):
        return verdict(Interval(0.0, low, high), **level)

    assert [of(1.1, 2, above=1), of(0, 0.9, above=1), of(0, 2, above=1)] == ["holds", "does not hold", "undecided"]
    assert [of(1.1, 2, below=1), of(0, 0.9, below=1), of(0, 2, below=1)] == ["does not hold", "holds", "undecided"]
    assert of(None, None, above=0) == "undecided"
    with pytest.raises(ValueError, match="name a level"):
        of(0, 1)
