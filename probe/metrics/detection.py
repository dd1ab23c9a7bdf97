"""All measures of how well scores separate OOD from in-distribution images, over shared bootstrap resamples.

A higher score means more out-of-distribution. All scores of an image are resampled together, so that differences
between two scores are paired. ``probe.metrics.separation`` has FPR95 and AUROC one by one, and defines the sides.

| symbol | meaning | shape |
|---|---|---|
| v | distinct values of a score over both sets, ascending | (c,) |
| a, b | how many inside, outside images of a resample have each value | (resamples, c) |
| A, B | the same, counted up to and including each value | (resamples, c) |
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from probe.metrics.interval import Interval

MEASURES = ("auroc", "fpr95", "aupr_out", "aupr_in")
"""``aupr_out`` has OOD images as positives, ranked from above; ``aupr_in`` in-distribution images, ranked from below.
Chance level: the share of the positives."""
RESAMPLES = 1000
KEEP = 0.95
_CELLS = 4_000_000
Floats = NDArray[np.float64]


def measures(inside: Floats, outside: Floats, drawn_in: Floats, drawn_out: Floats) -> dict[str, Floats]:
    """``MEASURES`` of one score, for each of r resamples.

    Args:
        inside, outside: scores (n,), (m,), none NaN.
        drawn_in, drawn_out: how often each image was drawn, (r, n), (r, m); rows sum to n and m.

    Returns:
        (r,) each. AUROC and FPR95 as in ``probe.metrics.separation``; AUPR is average precision, the sum over
        thresholds of precision times gain in recall, as scikit-learn's.
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
    kept = math.ceil(KEEP * n - 1e-9)
    threshold = (below_in >= kept).argmax(1)
    above_in, above_out = n - below_in + a, m - below_out + b  # at or above each value
    return {
        "auroc": (b * (below_in - a / 2)).sum(1) / (n * m),
        "fpr95": below_out[np.arange(len(a)), threshold] / m,
        "aupr_out": (b * above_out / np.maximum(above_in + above_out, 1)).sum(1) / m,
        "aupr_in": (a * below_in / np.maximum(below_in + below_out, 1)).sum(1) / n,
    }


class Detection:
    """Scores of one OOD set against the in-distribution set.

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
        self.point = {name: measures(inside[name], outside[name], np.ones((1, n)), np.ones((1, m))) for name in inside}
        self.drawn: dict[str, dict[str, Floats]] = {name: {} for name in inside}
        if min(n, m) < 2:
            return
        parts: dict[str, list[dict[str, Floats]]] = {name: [] for name in inside}
        for drawn_in, drawn_out in _draws(n, m, seed, resamples, paired):
            for name in inside:
                parts[name].append(measures(inside[name], outside[name], drawn_in, drawn_out))
        self.drawn = {
            name: {measure: np.concatenate([part[measure] for part in found]) for measure in MEASURES}
            for name, found in parts.items()
        }

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
