"""Measures over resamples against scikit-learn, ``separation`` on the resample itself, and closed forms."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from probe.metrics.separation import MEASURES, Detection, auroc, fpr95, measures


@pytest.mark.parametrize("values", [3, 1000])  # many ties, and few
def test_each_resample_as_scikit_learn_says(values):
    rng = np.random.default_rng(0)
    inside, outside = rng.integers(0, values, 40) / 7, rng.integers(1, values + 1, 25) / 7
    drawn_in, drawn_out = (rng.multinomial(n, np.full(n, 1 / n), size=5).astype(float) for n in (40, 25))
    found = measures(inside, outside, drawn_in, drawn_out)
    for row in range(5):
        a, b = np.repeat(inside, drawn_in[row].astype(int)), np.repeat(outside, drawn_out[row].astype(int))
        scores, is_out = np.concatenate([a, b]), np.repeat([0, 1], [len(a), len(b)])
        assert found["auroc"][row] == pytest.approx(roc_auc_score(is_out, scores))
        assert found["aupr_out"][row] == pytest.approx(average_precision_score(is_out, scores))
        assert found["aupr_in"][row] == pytest.approx(average_precision_score(1 - is_out, -scores))
        assert found["auroc"][row] == pytest.approx(auroc(a, b, higher="out"))
        assert found["fpr95"][row] == pytest.approx(fpr95(a, b, higher="out"))


def test_the_direction_of_fpr95():
    """It is the in-distribution set of which 95 % are kept, and the share of OOD images that pass: the other way round
    would be 0.96 here."""
    one = Detection({"s": np.arange(4.0)}, {"s": np.arange(100.0)})
    assert one.interval("s", "fpr95").mean == 0.04
    assert Detection({"s": np.arange(100.0)}, {"s": np.arange(4.0)}).interval("s", "fpr95").mean == 1.0
    # Higher is more OOD: a score that is the wrong way round lets everything pass.
    wrong = Detection({"s": np.array([5.0, 6])}, {"s": np.array([1.0, 2])})
    assert (wrong.interval("s", "fpr95").mean, wrong.interval("s", "auroc").mean) == (1.0, 0.0)


def test_perfect_and_useless_scores():
    right = Detection({"s": np.zeros(30)}, {"s": np.ones(10)})
    assert [right.interval("s", name).mean for name in MEASURES] == [1, 0, 1, 1]
    same = Detection({"s": np.zeros(30)}, {"s": np.zeros(10)})
    # One value: precision is the share of the positives, everything passes, and AUROC counts ties half.
    assert [same.interval("s", name).mean for name in MEASURES] == [0.5, 1, 0.25, 0.75]


def test_interval_as_hanley_and_mcneil_say():
    """As ``test_separation`` derives it, for exponential scores."""
    rng = np.random.default_rng(0)
    n, m = 300, 200
    one = Detection({"s": rng.exponential(1, n)}, {"s": rng.exponential(3, m)})
    value, low, high = one.interval("s", "auroc")
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    error = math.sqrt((value * (1 - value) + (m - 1) * (q1 - value**2) + (n - 1) * (q2 - value**2)) / (n * m))
    assert (high - low) / (2 * 1.96) == pytest.approx(error, rel=0.2)
    phi = NormalDist()
    gauss = Detection({"s": rng.normal(0, 1, 20_000)}, {"s": rng.normal(2, 1, 20_000)}, resamples=20)
    assert gauss.interval("s", "fpr95").mean == pytest.approx(phi.cdf(1.6449 - 2), abs=2e-2)


def test_differences_are_paired():
    """A score and its double rank alike, so that their difference is 0 without any spread; so do images and
    themselves, drawn together."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=50), rng.normal(1, 1, 60)
    one = Detection({"s": a, "t": 2 * a}, {"s": b, "t": 2 * b})
    assert one.difference("s", "t") == (0, 0, 0)
    low, high = one.interval("s", "auroc")[1:]
    assert low < high
    itself = Detection({"s": a}, {"s": a}, paired=True).interval("s", "auroc")
    assert itself == pytest.approx((0.5, 0.5, 0.5))


def test_one_image_has_no_interval_and_nonsense_is_refused():
    assert Detection({"s": np.zeros(1)}, {"s": np.ones(5)}).interval("s", "auroc") == (1.0, None, None)
    with pytest.raises(ValueError, match="NaN"):
        Detection({"s": np.zeros(2)}, {"s": np.array([np.nan])})
    with pytest.raises(ValueError, match="different scores"):
        Detection({"s": np.zeros(2)}, {"t": np.zeros(2)})
    with pytest.raises(ValueError, match="cannot be compared"):
        Detection({"s": np.zeros(2)}, {"s": np.zeros(0)})
