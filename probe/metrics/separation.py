"""How well scores separate in-distribution from OOD samples: FPR95, AUROC and AUPR (paper, Sections 3, 4.2).

Two conventions:

- **Side.** ``higher`` is the set that is expected to have the higher scores: ``out`` for distances (the paper's score,
  the mean distance of a trajectory to the nearest training attractor), ``in`` for likelihoods and similarities. In
  ``measures`` and ``Detection`` it is always ``out``.
- **Positive.** In-distribution samples are the positives, as usual in OOD detection: the threshold keeps 95 % of them,
  and FPR95 is the share of the *out-of-distribution* samples that pass as in-distribution. (With OOD samples as
  positives FPR95 would be another number; AUROC would not.)

| symbol | meaning | shape |
|---|---|---|
| v | distinct values of a score over both sets, ascending | (c,) |
| a, b | how many inside, outside samples of a resample have each value | (resamples, c) |
| A, B | the same, counted up to and including each value | (resamples, c) |
"""

import math
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probe.metrics.interval import Interval

Higher = Literal["in", "out"]
MEASURES = ("auroc", "fpr95", "aupr_out", "aupr_in")
"""``aupr_out`` has OOD images as positives, ranked from above; ``aupr_in`` in-distribution images, ranked from below.
Chance level: the share of the positives."""
RESAMPLES = 1000
KEEP = 0.95
_CELLS = 4_000_000
Floats = NDArray[np.float64]


def measures(
    inside: Floats, outside: Floats, drawn_in: Floats, drawn_out: Floats, keep: float = KEEP
) -> dict[str, Floats]:
    """``MEASURES`` of one score, (r,) each, for r resamples.

    AUROC and FPR95 as in ``auroc`` and ``fpr95``; AUPR is average precision, the sum over thresholds of precision times
    gain in recall, as scikit-learn's.

    Args:
        inside, outside: scores (n,), (m,), none NaN; higher means more out-of-distribution.
        drawn_in, drawn_out: how often each image was drawn, (r, n), (r, m); rows sum to n and m.
    """
    values = np.concatenate([inside, outside])
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    first = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    n, m = len(inside), len(outside)

    def counted(drawn: Floats, before: int, after: int) -> Floats:
        padded = np.pad(drawn, ((0, 0), (before, after)))
        return np.add.reduceat(padded[:, order], first, axis=1)

    a, b = counted(drawn_in, 0, m), counted(drawn_out, n, 0)
    below_in, below_out = a.cumsum(1), b.cumsum(1)
    kept = math.ceil(keep * n - 1e-9)  # 0.95 n is a hair above an integer for some n
    threshold = (below_in >= kept).argmax(1)
    above_in, above_out = n - below_in + a, m - below_out + b  # at or above each value
    return {
        "auroc": (b * (below_in - a / 2)).sum(1) / (n * m),
        "fpr95": below_out[np.arange(len(a)), threshold] / m,
        "aupr_out": (b * above_out / np.maximum(above_in + above_out, 1)).sum(1) / m,
        "aupr_in": (a * below_in / np.maximum(below_in + below_out, 1)).sum(1) / n,
    }


def _whole(inside: Floats, outside: Floats, keep: float = KEEP) -> dict[str, Floats]:
    """``measures`` of the sets themselves, (1,) each."""
    return measures(inside, outside, np.ones((1, len(inside))), np.ones((1, len(outside))), keep)


def fpr95(inside: ArrayLike, outside: ArrayLike, *, higher: Higher, keep: float = KEEP) -> float:
    """Share of outside samples that pass the threshold at which at least ``keep`` of the inside samples pass.

    The threshold is the strictest possible, at an inside sample; a sample at the threshold passes. 0 is perfect
    separation, ``keep`` is chance level, 1 means that the score is reversed or ties all samples. Scores are (n,) and
    (m,), n, m >= 1; ValueError otherwise, for NaN, and if ``keep`` is not in (0, 1].
    """
    if not 0 < keep <= 1:
        raise ValueError(f"a share to keep lies in (0, 1], not {keep}")
    return float(_whole(*_oriented(inside, outside, higher), keep)["fpr95"][0])


def auroc(inside: ArrayLike, outside: ArrayLike, *, higher: Higher) -> float:
    """Probability that an outside sample lies on the expected side of an inside one, ties counting half.

    1 is perfect separation, 1/2 is chance level, and less means that the score is reversed. Errors as ``fpr95``.
    """
    return float(_whole(*_oriented(inside, outside, higher))["auroc"][0])


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


def _oriented(inside: ArrayLike, outside: ArrayLike, higher: Higher) -> tuple[Floats, Floats]:
    """Both sets, checked, turned so that outside is expected to be higher."""
    if higher not in ("in", "out"):
        raise ValueError(f"higher is 'in' or 'out', not {higher!r}")
    sign = 1.0 if higher == "out" else -1.0
    sets = [sign * np.asarray(scores, dtype=np.float64) for scores in (inside, outside)]
    for scores in sets:
        if scores.ndim != 1 or not len(scores) or np.isnan(scores).any():
            raise ValueError(f"scores have shape (n,), n >= 1, and none is NaN; got shape {scores.shape}")
    return sets[0], sets[1]


class Detection:
    """Scores of one OOD set against the in-distribution set; higher means more out-of-distribution.

    All scores of an image are resampled together, so that differences between two scores are paired.

    Args:
        inside: by score, (n,) each. outside: by score, (m,) each.
        seed: of the resamples.
        paired: both sets are the same images in two forms, and are drawn together.

    Raises:
        ValueError: a set is empty, the sets have different scores, paired sets different sizes, or a score is NaN.
    """

    def __init__(
        self,
        inside: dict[str, Floats],
        outside: dict[str, Floats],
        *,
        seed: int = 0,
        resamples: int = RESAMPLES,
        paired: bool = False,
    ):
        if inside.keys() != outside.keys():
            raise ValueError(f"the sets have different scores: {sorted(inside)} and {sorted(outside)}")
        n, m = (len(next(iter(scores.values()))) for scores in (inside, outside))
        if not n or not m or (paired and n != m):
            raise ValueError(f"sets of {n} and {m} images cannot be compared{' in pairs' if paired else ''}")
        if any(np.isnan(one).any() for scores in (inside, outside) for one in scores.values()):
            raise ValueError("a score is NaN")
        self.point = {name: _whole(inside[name], outside[name]) for name in inside}
        self.drawn: dict[str, dict[str, Floats]] = {name: {} for name in inside}
        if min(n, m) < 2:
            return
        parts: dict[str, list[dict[str, Floats]]] = {name: [] for name in inside}
        for drawn_in, drawn_out in _draws(n, m, seed, resamples, paired):
            for name in inside:
                parts[name].append(measures(inside[name], outside[name], drawn_in, drawn_out))
        for name, found in parts.items():
            self.drawn[name] = {measure: np.concatenate([part[measure] for part in found]) for measure in MEASURES}

    def interval(self, score: str, measure: str) -> Interval:
        """One of ``MEASURES`` with its 95 % percentile interval; no interval if a set has a single image."""
        return Interval.of(self.point[score][measure][0], self.drawn[score].get(measure))

    def difference(self, score: str, other: str, measure: str = "auroc") -> Interval:
        """The measure of one score minus that of another on the same images, paired."""
        point = self.point[score][measure] - self.point[other][measure]
        drawn = self.drawn[score][measure] - self.drawn[other][measure] if self.drawn[score] else None
        return Interval.of(point[0], drawn)


def _draws(n: int, m: int, seed: int, resamples: int, paired: bool) -> Iterator[tuple[Floats, Floats]]:
    """Counts of n and m draws with replacement, in blocks of resamples."""
    rng = np.random.default_rng(seed)
    block = max(1, _CELLS // (n + m))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=rows).astype(np.float64)
        yield drawn, drawn if paired else rng.multinomial(m, np.full(m, 1 / m), size=rows).astype(np.float64)
