"""95 % bootstrap intervals over images of means, ratios of means and correlations; Student's where the tails matter.

A resample draws n of n rows with replacement. What is resampled here is linear in how often each row was drawn, so that
all resamples are one matrix product.

| symbol | meaning | shape |
|---|---|---|
| v; a, b | values; numerators and denominators, or two values to compare; one row per image | (n,) or (n, k) |
| w | how often each image (or group of images) was drawn in a resample | (resamples, n) |
| w v / n; (w a) / (w b) | the resampled means; ratios of means | (resamples, k) |
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Verdict = Literal["holds", "does not hold", "undecided"]
Ends = tuple[float, float]
Floats = NDArray[np.float64]
RESAMPLES = 10_000
CELLS, BLOCK = 4_000_000, 1_000_000
"""Counts of w held at once: for means, 32 MB; for ratios and correlations."""
FLAT = 1e-12
"""Variance, relative to that of all pairs, below which a resample is constant and has no correlation."""
SKEWED = 0.5
"""Size of the sample's skewness above which Student's intervals are widened; see ``probe.report.run.verdict``."""
POINTS = 2001
"""Ratios at which a skewed ratio's interval is looked for before its ends are searched; odd, so that the estimate is
among them."""


class Interval(NamedTuple):
    """A value and the 2.5 % and 97.5 % percentiles of its bootstrap distribution.

    ``low`` and ``high`` are None if there is no interval: for a single image, or if a number is not finite (``mean`` is
    NaN then).
    """

    mean: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, value: float, resampled: Floats | None) -> "Interval":
        """A value with the percentiles of its resampled values (r,); no interval without them."""
        if resampled is None:
            return cls(float(value), None, None)
        low, high = np.percentile(resampled, [2.5, 97.5])
        return cls(float(value), float(low), float(high))

    @property
    def ci95(self) -> Ends | None:
        """Both ends; None if there is no interval."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def as_json(self) -> dict[str, Any]:
        """``mean`` and ``ci95``, null if there is none."""
        return {"mean": self.mean, "ci95": None if self.ci95 is None else list(self.ci95)}


def draws(n: int, seed: int, cells: int | None = None) -> Iterator[NDArray[np.int64]]:
    """How often each of n rows is drawn, (block, n), for ``RESAMPLES`` resamples, about ``cells`` counts at a time."""
    rng = np.random.default_rng(seed)
    block = max(1, (cells or CELLS) // n)
    for start in range(0, RESAMPLES, block):
        yield rng.multinomial(n, np.full(n, 1 / n), size=min(block, RESAMPLES - start))


def _columns(values: Floats, resampled: Floats, known: ArrayLike) -> list[Interval]:
    """Each value (k,) with the percentiles of its resampled values (r, k); no interval where they are not known."""
    lows, highs = np.percentile(np.where(known, resampled, 0.0), [2.5, 97.5], axis=0)
    return [
        Interval(float(value), *((float(low), float(high)) if ok else (None, None)))
        for value, low, high, ok in zip(values, lows, highs, np.asarray(known), strict=True)
    ]


def mean_interval(values: ArrayLike, *, seed: int = 0) -> Interval:
    """Mean of ``values`` (n,) with its 95 % percentile bootstrap interval; a function of (values, seed) alone."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"values have shape (n,), not {array.shape}")
    return mean_intervals(array[:, None], seed=seed)[0]


def mean_intervals(values: ArrayLike, *, seed: int = 0) -> list[Interval]:
    """``mean_interval`` of every column of ``values`` (n, k), all columns over the same resamples of the rows.

    Equal to ``scipy.stats.bootstrap(method="percentile")`` up to the draw, but fast enough for the thousand intervals
    of a report.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or len(array) == 0:
        raise ValueError(f"values have shape (n, k) with n >= 1, not {array.shape}")
    finite = np.isfinite(array).all(axis=0)
    safe = np.where(finite, array, 0.0)  # a column with NaN or infinity must not touch its neighbours
    resampled = np.concatenate([counts / len(array) @ safe for counts in draws(len(array), seed)])
    return _columns(np.where(finite, safe.mean(axis=0), np.nan), resampled, finite & (len(array) > 1))


def grouped_mean_interval(values: ArrayLike, groups: ArrayLike, *, seed: int = 0) -> Interval:
    """Mean of ``values`` (n,), with an interval over ``groups`` (n,): whole groups of dependent values are drawn.

    The mean of a resample is over all values of its groups: a large group counts for more, as in the mean itself.
    """
    array, labels = np.asarray(values, dtype=np.float64), np.asarray(groups)
    if array.ndim != 1 or array.shape != labels.shape or not len(array):
        raise ValueError(f"values and groups have shape (n,), n >= 1, not {array.shape} and {labels.shape}")
    mean = float(array.mean())
    _, place = np.unique(labels, return_inverse=True)
    sizes = np.bincount(place)
    if len(sizes) == 1 or not np.isfinite(array).all():
        return Interval(mean if np.isfinite(mean) else math.nan, None, None)
    columns = np.stack([np.bincount(place, array), sizes], axis=1)
    totals = np.concatenate([counts / len(sizes) @ columns for counts in draws(len(sizes), seed)])
    return Interval.of(mean, totals[:, 0] / totals[:, 1])


def wilson(share: ArrayLike, count: ArrayLike, z: float = 1.959963984540054) -> tuple[Floats, Floats]:
    """Wilson's 95 % interval of shares of ``count`` observations, of the same shape; NaN where there are none.

    ``scipy.stats.binomtest`` has it for whole numbers of successes only; the share of a probe's partners is none.
    """
    p, n = np.asarray(share, dtype=np.float64), np.asarray(count, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return np.where(p == 0, 0, middle - half) + 0 * middle, np.where(p == 1, 1, middle + half) + 0 * middle


class Ratios(NamedTuple):
    """Ratios of k columns with all bootstrap values, so that ratios can be subtracted from each other.

    ``resampled`` is all NaN for a single image, and if there is no ratio.
    """

    value: Floats
    resampled: Floats

    def __sub__(self, other: "Ratios") -> "Ratios":
        """The differences: paired by image if both have the same seed and number of rows, else independent."""
        return Ratios(self.value - other.value, self.resampled - other.resampled)

    def __truediv__(self, other: "Ratios") -> "Ratios":
        """The ratios of both, paired likewise; NaN if the other is 0."""
        below, drawn = (np.where(part != 0, part, np.nan) for part in (other.value, other.resampled))
        return Ratios(self.value / below, self.resampled / drawn)

    def intervals(self) -> list[Interval]:
        """Each value with the 2.5 % and 97.5 % percentiles of its resampled values; None if there are none."""
        return _columns(self.value, self.resampled, np.isfinite(self.resampled).all(axis=0))


def ratios_of_means(numerators: ArrayLike, denominators: ArrayLike, *, seed: int = 0) -> Ratios:
    """mean(a) / mean(b) of every column, all over the same resamples of the rows; b = 1 gives means.

    Not the mean of the images' ratios, which the smallest denominators would dominate. Both are (n, k), n >= 1, else
    ValueError. A column with a number that is not finite, or whose b has mean 0, gives NaN and does not affect others.
    Equal n and seed draw the same rows.
    """
    a, b = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if a.ndim != 2 or a.shape != b.shape or not len(a):
        raise ValueError(f"numerators and denominators have one shape (n, k), n >= 1, not {a.shape} and {b.shape}")
    good = np.isfinite(a).all(axis=0) & np.isfinite(b).all(axis=0) & (b.mean(axis=0) != 0)
    a, b = np.where(good, a, 0.0), np.where(good, b, 1.0)
    several, parts = good & (len(a) > 1), []
    for drawn in draws(len(a), seed, BLOCK):
        top, bottom = drawn @ a, drawn @ b
        parts.append(np.where(several & (bottom != 0), top / np.where(bottom != 0, bottom, 1.0), np.nan))
    return Ratios(np.where(good, a.mean(axis=0) / b.mean(axis=0), np.nan), np.concatenate(parts))


def correlation_interval(x: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None, *, seed: int = 0) -> Interval:
    """Pearson's correlation of the pairs, with the 95 % percentile bootstrap interval over ``groups``.

    Whole groups are drawn, because the pairs of a group (starts in one basin, say) are not independent. With fewer than
    about ten groups the interval is too short, like any bootstrap of so few.

    Args:
        x, y: finite numbers (n,), n >= 1, else ValueError.
        groups: a label for each pair (n,); default: each pair is a group of its own.

    Returns:
        ``mean`` is the correlation, NaN if x or y is constant; ``low`` and ``high`` are None then, and for a single
        group.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    labels = np.arange(x.size) if groups is None else np.asarray(groups)
    if not (x.ndim == 1 and x.shape == y.shape == labels.shape and x.size and np.isfinite([x, y]).all()):
        raise ValueError(f"pairs are finite and of shapes (n,), n >= 1, not {x.shape}, {y.shape} and {labels.shape}")
    x, y = _standard(x), _standard(y)
    _, place = np.unique(labels, return_inverse=True)
    sums = np.zeros((place.max() + 1, 6))  # of each group; w times these are the sums of the resamples
    np.add.at(sums, place, np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1))
    whole = float(_correlation(sums.sum(axis=0, keepdims=True))[0])
    if len(sums) == 1 or np.isnan(whole):
        return Interval(whole, None, None)
    found = np.concatenate([_correlation(counts @ sums) for counts in draws(len(sums), seed, BLOCK)])
    return Interval.of(whole, found[np.isfinite(found)])


def _standard(values: Floats) -> Floats:
    """Centred and scaled, because the squares of mean and scale would cost the sums their digits."""
    centred = values - values.mean()
    spread = np.abs(centred).max()
    return centred / spread if spread > FLAT * np.abs(values).max() else centred * 0


def _correlation(sums: NDArray[Any]) -> Floats:
    """Of each row of sums of 1, x, y, x^2, y^2 and x y."""
    n, x, y, xx, yy, xy = sums.T
    varies_x, varies_y = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
    known = (varies_x > FLAT) & (varies_y > FLAT)
    scale = np.sqrt(np.where(known, varies_x * varies_y, 1.0))
    return np.where(known, np.clip((xy / n - x * y / n**2) / scale, -1, 1), np.nan)


def jackknife(left_out: ArrayLike) -> Floats:
    """Standard deviation over draws of a statistic, from its B values with one of B groups of draws left out each.

    sqrt((B - 1) / B sum_b (theta_b - mean theta)^2), the delete-a-group jackknife (Kott 2001), which is too large
    rather than too small on average (Efron and Stein 1981).

    Args:
        left_out: (B, ...) with B >= 2, else ValueError.
    """
    values = np.asarray(left_out, dtype=np.float64)
    if len(values) < 2:
        raise ValueError(f"a jackknife needs two groups or more, not {len(values)}")
    found: Floats = np.sqrt((len(values) - 1) * values.var(axis=0))
    return found


def over_draws(mean: float, sd: float, blocks: int) -> Ends:
    """The 95 % interval of a mean with a ``jackknife`` of that many groups: Student's, with blocks - 1 degrees."""
    half = student(blocks, 0.95) * sd
    return mean - half, mean + half


def over_both(mean: float, *ends: Ends) -> Ends:
    """Intervals of one number over independent causes of variation, joined: on each side, half-widths add as squares.

    With normal intervals this is the interval of the summed variances; skewed ones keep their shape (MOVER; Zou and
    Donner 2008, "Construction of confidence intervals about effect measures").
    """
    low, high = (math.hypot(*(mean - one[side] for one in ends)) for side in (0, 1))
    return mean - low, mean + high


def difference_interval(a: Floats, b: Floats, confidence: float) -> Ends | None:
    """Interval of mean(a) - mean(b), paired; None for a single image, or if a value is not finite.

    It inverts Student's paired t test, as ``ratio_interval`` does (the set of r for which mean(a - r b) may be 0;
    Fieller 1954), so that one includes 0 exactly when the other includes 1. Both are for confidences so close to 1 that
    10,000 resamples have no tail left; with few images, bootstrap percentiles are too narrow as well.

    Where the skewness of a - b exceeds ``SKEWED`` in size, both are widened to what Hall's transformation of t accepts
    as well. The t test is at its worst there; Hall's alone errs on symmetric long tails.
    """
    gap = a - b
    if len(gap) < 2 or not np.isfinite(gap).all():
        return None
    n, mean, variance = len(gap), float(gap.mean()), float(gap.var(ddof=1))
    q = student(n, confidence)
    ends = [-q, q]
    if _is_skewed(gap):
        lean = _lean(float(((gap - mean) ** 3).mean()), variance, n)
        ends += [3 / lean * (math.cbrt(1 + lean * (end - lean / 6)) - 1) for end in (-q, q)]
    scale = math.sqrt(variance / n)
    return mean - scale * max(ends), mean - scale * min(ends)


def ratio_interval(a: Floats, b: Floats, confidence: float) -> Ends | None:
    """Interval of mean(a) / mean(b); None likewise, or if mean(b) may be 0 at this confidence: then it is unbounded."""
    if len(a) < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    # r with (A - r B)^2 <= q^2 / n (Vaa - 2 r Vab + r^2 Vbb), a quadratic in r; V are covariances over n - 1.
    (vaa, vab), (_, vbb) = student(len(a), confidence) ** 2 / len(a) * np.cov(a, b)
    square, cross, rest = b.mean() ** 2 - vbb, a.mean() * b.mean() - vab, a.mean() ** 2 - vaa
    if square <= 0:
        return None
    root = math.sqrt(max(cross**2 - square * rest, 0.0))
    ends = float((cross - root) / square), float((cross + root) / square)
    return _skewed_ratio(a, b, confidence, ends) if _is_skewed(a - b) else ends


def _skewed_ratio(a: Floats, b: Floats, confidence: float, ends: Ends) -> Ends | None:
    """The interval widened to all r for which Hall's t of a - r b accepts a mean of 0; None where these have no end.

    They always include mean(a) / mean(b), but may fall into parts with gaps between them: the interval covers all
    parts. Only where 1 lies in a gap, it ends before 1, because it must not include 1 where a - b cannot have mean 0.
    """
    from scipy.optimize import brentq

    n, mean_a, mean_b = len(a), float(a.mean()), float(b.mean())
    q = student(n, confidence)
    (vaa, vab), (_, vbb) = np.cov(a, b)
    x, y = a - mean_a, b - mean_b
    thirds = [float((x ** (3 - k) * y**k).mean()) for k in range(4)]

    def excess(r: Any) -> Any:
        """Negative where r, a number or (k,), is accepted."""
        variance = np.maximum(vaa - 2 * r * vab + r * r * vbb, FLAT * (vaa + vbb))
        third = thirds[0] - 3 * r * thirds[1] + 3 * r * r * thirds[2] - r**3 * thirds[3]
        lean, t = _lean(third, variance, n), (mean_a - r * mean_b) / (variance / n) ** 0.5
        return abs(t + lean * t * t / 3 + lean * lean * t**3 / 27 + lean / 6) - q

    centre = mean_a / mean_b
    if ((x - centre * y) ** 2).mean() <= FLAT * (a**2).mean():  # a is a multiple of b, but for rounding
        return ends if math.isclose(centre, 1, rel_tol=1e-6) or excess(1.0) > 0 else None
    # From the centre to some 600 times the width of the interval on both sides, densest at the centre.
    angles = np.linspace(-np.pi / 2, np.pi / 2, POINTS + 2)[1:-1]
    r = centre + (ends[1] - ends[0]) * np.tan(angles)
    accepted = excess(r) <= 0
    if accepted[0] or accepted[-1]:
        return None
    with_one = excess(1.0) <= 0
    mine = accepted if with_one else accepted & ((r < 1) == (centre < 1))
    low, high = mine.nonzero()[0][[0, -1]]
    outer = r[low - 1], r[high + 1]
    if not with_one:
        outer = (max(outer[0], 1.0), outer[1]) if centre > 1 else (outer[0], min(outer[1], 1.0))
    found = [float(brentq(excess, *pair)) for pair in ((outer[0], r[low]), (r[high], outer[1]))]
    inside = [1.0] if with_one else []
    return min(ends[0], found[0], *inside), max(ends[1], found[1], *inside)


def _is_skewed(values: Floats) -> bool:
    centred = values - values.mean()
    variance = float((centred**2).mean())
    varies = variance > FLAT * float((values**2).mean())  # more than by rounding
    return varies and abs(float((centred**3).mean())) > SKEWED * variance**1.5


def student(n: int, confidence: float) -> float:
    """Half the width of an interval for the mean of n numbers, in standard errors: Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, (1 + confidence) / 2))


def _lean(third: Any, variance: Any, n: int) -> Any:
    """Skewness over sqrt(n), from the third central moment and the variance over n - 1.

    Hall's transformation of t is t + lean t^2 / 3 + lean^2 t^3 / 27 + lean / 6, which rises with t (Hall 1992, "On the
    removal of skewness by transformation").
    """
    return third / (variance * (n - 1) / n) ** 1.5 / math.sqrt(n)


def on_side(ci95: Sequence[float] | None, side: int, level: float = 0.0) -> Verdict:
    """Whether an interval (low, high) lies above (side 1) or below (side -1) a level.

    ``holds`` if all of it does, ``does not hold`` if all of it lies on the other side, else, and without an interval,
    ``undecided``.
    """
    if ci95 is None:
        return "undecided"
    above, below = ci95[0] > level, ci95[1] < level
    yes, no = (above, below) if side > 0 else (below, above)
    return "holds" if yes else "does not hold" if no else "undecided"


def verdict(interval: Interval, *, above: float | None = None, below: float | None = None) -> Verdict:
    """``on_side`` for the claim that the mean is ``above`` (or ``below``) a level; ValueError if neither is given."""
    level = above if above is not None else below
    if level is None:
        raise ValueError("name a level: above or below")
    return on_side(interval.ci95, 1 if above is not None else -1, level)
