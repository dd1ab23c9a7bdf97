"""FPR95 and AUROC against scikit-learn, closed forms, and the wrong way round."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from probe.metrics.separation import auroc, fpr95, separation_interval

scores = st.lists(st.integers(-4, 4), min_size=1, max_size=60)  # few values: many ties


@settings(deadline=None)
@given(scores, scores)
def test_as_scikit_learn_says(inside, outside):
    """In-distribution samples are the positives, and a distance is a negated likelihood."""
    label = [1] * len(inside) + [0] * len(outside)
    rates, kept, _ = roc_curve(label, [-s for s in inside + outside], drop_intermediate=False)
    assert fpr95(inside, outside, higher="out") == pytest.approx(rates[np.argmax(kept >= 0.95 - 1e-12)])
    assert auroc(inside, outside, higher="out") == pytest.approx(roc_auc_score(label, [-s for s in inside + outside]))


@settings(deadline=None)
@given(scores, scores)
def test_turning_the_score_and_its_direction_changes_nothing(inside, outside):
    turned = [-s for s in inside], [-s for s in outside]
    assert fpr95(inside, outside, higher="in") == fpr95(*turned, higher="out")
    assert auroc(inside, outside, higher="in") == auroc(*turned, higher="out")
    assert auroc(inside, outside, higher="in") == pytest.approx(1 - auroc(inside, outside, higher="out"))


def test_two_normal_distributions():
    """Distances N(0, 1) inside, N(2, 1) outside: FPR95 = Phi(1.645 - 2), AUROC = Phi(2 / sqrt(2))."""
    n, phi = 200_000, NormalDist()
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(0, 1, n), rng.normal(2, 1, n)
    # Standard errors: of a share sqrt(p q / n) = 1.1e-3, the threshold's sqrt(0.05 * 0.95 / n) / phi(1.645) = 4.7e-3
    # times the density 0.37 outside: 1.7e-3; five of them together 1e-2. AUROC's is below 1 / sqrt(n) = 2.2e-3.
    assert fpr95(inside, outside, higher="out") == pytest.approx(phi.cdf(1.6449 - 2), abs=1e-2)
    assert auroc(inside, outside, higher="out") == pytest.approx(phi.cdf(math.sqrt(2)), abs=5e-3)
    # The wrong way round: the threshold keeps 95 % of what is inside from above, at -1.645.
    assert fpr95(inside, outside, higher="in") == pytest.approx(phi.cdf(1.6449 + 2), abs=1e-2)


def test_which_samples_the_threshold_keeps():
    """100 inside: the 95 smallest are kept, up to the value 94, and the outside sample at the threshold passes."""
    inside = np.arange(100)
    assert fpr95(inside, [93.5, 94, 94.5, 1000], higher="out") == 0.5
    assert fpr95(inside, [5, 4.5, 5.5, -9], higher="in") == 0.5
    # It is the inside set that the threshold keeps: swapped, another number.
    assert fpr95(np.arange(4), np.arange(100), higher="out") == 0.04
    assert fpr95(np.arange(100), np.arange(4), higher="out") == 1.0


def test_at_least_95_percent_and_no_more_than_needed():
    """Of n inside samples ceil(0.95 n) are kept, in integers: 0.95 n itself may lie a hair above one."""
    for n in range(1, 401):
        assert fpr95(np.arange(n), np.arange(n), higher="out") * n == pytest.approx(-(-95 * n // 100))


def test_perfect_useless_and_infinite():
    assert (fpr95([0, 1], [2, 3], higher="out"), auroc([0, 1], [2, 3], higher="out")) == (0.0, 1.0)
    assert (fpr95([1, 1], [1, 1], higher="out"), auroc([1, 1], [1, 1], higher="out")) == (1.0, 0.5)
    assert (fpr95([0, 1], [np.inf, np.inf], higher="out"), auroc([0, 1], [np.inf] * 2, higher="out")) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("inside", "outside", "higher"),
    [([], [1.0], "out"), ([1.0], [], "out"), ([math.nan], [1.0], "in"), ([[1.0]], [1.0], "in"), ([1], [1], "outside")],
)
def test_nonsense(inside, outside, higher):
    for metric in (fpr95, auroc):
        with pytest.raises(ValueError, match=r"scores|higher"):
            metric(inside, outside, higher=higher)
    with pytest.raises(ValueError, match="keep"):
        fpr95([1.0], [1.0], higher="out", keep=0)


def test_interval_of_an_auroc_as_hanley_and_mcneil_say():
    """sqrt((A (1 - A) + (m - 1) (Q1 - A^2) + (n - 1) (Q2 - A^2)) / n m) with Q1 = A / (2 - A), Q2 = 2 A^2 / (1 + A) is
    the standard error for exponential scores."""
    rng = np.random.default_rng(0)
    n, m = 300, 200
    inside, outside = rng.exponential(1, n), rng.exponential(3, m)
    value, low, high = separation_interval(auroc, inside, outside, higher="out")
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    error = math.sqrt((value * (1 - value) + (m - 1) * (q1 - value**2) + (n - 1) * (q2 - value**2)) / (n * m))
    assert value == auroc(inside, outside, higher="out")
    # Percentiles of 1000 draws are off by 0.085 standard errors each, the formula by what the sample is off.
    assert (high - low) / (2 * 1.96) == pytest.approx(error, rel=0.2)
    assert (low + high) / 2 == pytest.approx(value, abs=0.3 * error)


def test_interval_keeps_the_direction_and_needs_two_samples():
    low_is_in = separation_interval(fpr95, np.arange(50), np.arange(40, 90), higher="out")
    assert separation_interval(fpr95, -np.arange(50), -np.arange(40, 90), higher="in") == low_is_in
    assert separation_interval(fpr95, [1.0], [2.0, 3.0], higher="out") == (0.0, None, None)
