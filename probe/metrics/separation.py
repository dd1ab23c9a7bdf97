"""FPR95 and AUROC: how well a score separates in-distribution from OOD samples (paper, Sections 3, 4.2).

Two conventions:

- **Side.** ``higher`` is the set that is expected to have the higher scores: ``out`` for distances (the paper's score,
  the mean distance of a trajectory to the nearest training attractor), ``in`` for likelihoods and similarities.
- **Positive.** In-distribution samples are the positives, as usual in OOD detection: the threshold keeps 95 % of them,
  and FPR95 is the share of the *out-of-distribution* samples that pass as in-distribution. (With OOD samples as
  positives FPR95 would be another number; AUROC would not.)
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from probe.metrics.interval import Interval

Higher = Literal["in", "out"]
RESAMPLES = 1000


def fpr95(inside: ArrayLike, outside: ArrayLike, *, higher: Higher, keep: float = 0.95) -> float:
    """Share of outside samples that pass the threshold at which at least ``keep`` of the inside samples pass.

    The threshold is the strictest possible, at an inside sample; a sample at the threshold passes. 0 is perfect
    separation, ``keep`` is chance level, 1 means that the score is reversed or ties all samples.

    Args:
        inside: scores of in-distribution samples (n,), n >= 1.
        outside: scores of out-of-distribution samples (m,), m >= 1.
        higher: the set that is expected to have the higher scores.
        keep: in (0, 1].

    Raises:
        ValueError: a set is empty or not one-dimensional, a score is NaN, or an argument is out of range.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"a share to keep lies in (0, 1], not {keep}")
    inside, outside = _oriented(inside, outside, higher)
    kept = math.ceil(keep * len(inside) - 1e-9)  # 0.95 n is a hair above an integer for some n
    threshold = np.partition(inside, kept - 1)[kept - 1]
    return float(np.mean(outside <= threshold))


def auroc(inside: ArrayLike, outside: ArrayLike, *, higher: Higher) -> float:
    """Probability that an outside sample lies on the expected side of an inside one, ties counting half.

    1 is perfect separation, 1/2 is chance level, and less means that the score is reversed.

    Args, Raises: as for ``fpr95``.
    """
    inside, outside = _oriented(inside, outside, higher)
    n, m = len(inside), len(outside)
    # Mann and Whitney's U: equal to scikit-learn's curve (tested), and much faster in a bootstrap.
    above = rankdata(np.concatenate([inside, outside]))[n:].sum() - m * (m + 1) / 2
    return float(above / (n * m))


def separation_interval(
    metric: Callable[..., float],
    inside: ArrayLike,
    outside: ArrayLike,
    *,
    higher: Higher,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """``fpr95`` or ``auroc`` with its 95 % percentile bootstrap interval; the sets are resampled independently.

    No interval if a set has a single sample.
    """
    inside, outside = _oriented(inside, outside, higher)
    value = metric(inside, outside, higher="out")
    if min(len(inside), len(outside)) < 2:
        return Interval(value, None, None)
    rng = np.random.default_rng(seed)
    found = [
        metric(rng.choice(inside, len(inside)), rng.choice(outside, len(outside)), higher="out")
        for _ in range(resamples)
    ]
    return Interval.of(value, np.array(found))


def _oriented(inside: ArrayLike, outside: ArrayLike, higher: Higher) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both sets, checked, turned so that outside is expected to be higher."""
    if higher not in ("in", "out"):
        raise ValueError(f"higher is 'in' or 'out', not {higher!r}")
    sign = 1.0 if higher == "out" else -1.0
    sets = [sign * np.asarray(scores, dtype=np.float64) for scores in (inside, outside)]
    for scores in sets:
        if scores.ndim != 1 or not len(scores) or np.isnan(scores).any():
            raise ValueError(f"scores have shape (n,), n >= 1, and none is NaN; got shape {scores.shape}")
    return sets[0], sets[1]
