"""Which of the paper's claims (Section 3, Figures 2, 13, 14) hold on the data at hand, by stated rules."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from probe.metrics.interval import on_side
from probe.report.study.schema import Claim, Model

TREND_RULE = (
    "A trend holds if the 95 % interval of Spearman's rank correlation rho between the axis and the measure, over all "
    "models (every seed is one), lies on the claimed side of 0, does not hold if it lies on the other, and is "
    "undecided if it includes 0, or there are fewer than 5 models. The interval is tanh(artanh(rho) +- 1.96 x 1.03 / "
    "sqrt(n - 3)) (Fieller, Hartley and Pearson); a perfect order counts as the largest |rho| below 1 that n models "
    "can have, since few models in order prove little. A measure that is the same for all models shows no trend."
)
NULL_RULE = (
    "mem is above a null level at a value of the axis if the 95 % bootstrap interval of the difference of means (mem "
    "of the model's attractors minus the null) lies above 0; the claim does not hold if it lies below, and is "
    "undecided otherwise. Seeds are resampled, and in each seed attractors and null images; with one seed the interval "
    "is about that model only, and where there is one attractor, or one image, it is taken as it is. The paper claims "
    "memorization where the regularisation is strongest or the data are few: the verdict is that of the smallest "
    "value, with the others beside it."
)
RULES = {"trend": TREND_RULE, "null": NULL_RULE}
FEWEST = 5
"""Models of which a perfect order has a probability below 2.5 % by chance: 2 / 5! = 1.7 %."""
RESAMPLES = 2000
TRENDS = {
    "mem": ("falls", "memorization of the attractors"),
    "test_error": ("falls", "the test error"),
    "rank": ("grows", "the rank of the decoded attractors"),
    "distinct_euclidean": ("grows", "the number of distinct attractors"),
}
NULLS = {
    "null_test": "unseen test images",
    "null_reconstructed": "reconstructions of unseen test images",
    "null_mean": "the mean training image",
    "null_noise": "uniform noise",
    "null_untrained": "attractors of the untrained network",
}
Values = NDArray[np.float64]


def trend(name: str, axis: str, models: Sequence[Model]) -> Claim:
    """The claim that a measure falls or grows along the axis."""
    direction, what = TRENDS[name]
    pairs = [(getattr(model, axis), getattr(model, name)) for model in models if getattr(model, name) is not None]
    rho, ci95 = spearman_interval(pairs)
    side = -1 if direction == "falls" else 1
    label = {"k": "k", "size": "the number of training images"}[axis]
    return Claim(
        name=name,
        claim=f"{what} {direction} with {label}",
        result=on_side(ci95, side),
        rule="trend",
        statistic=rho,
        ci95=ci95,
        n=len(pairs),
        over="models",
    )


def spearman_interval(pairs: Sequence[tuple[float, float]]) -> tuple[float | None, tuple[float, float] | None]:
    """rho and its 95 % interval by ``TREND_RULE``; None where there is none."""
    n = len(pairs)
    if n < 2 or any(len(set(values)) < 2 for values in zip(*pairs, strict=True)):
        return None, None
    rho = float(stats.spearmanr(*zip(*pairs, strict=True)).statistic)
    if n < FEWEST:
        return rho, None
    most = 1 - 12 / (n**3 - n)  # one pair of neighbours out of order
    centre, half = math.atanh(min(max(rho, -most), most)), 1.96 * 1.03 / math.sqrt(n - 3)
    return rho, (min(math.tanh(centre - half), rho), max(math.tanh(centre + half), rho))


def null(name: str, axis: str, at: dict[int, list[tuple[Values, Values]]]) -> Claim:
    """The claim that mem exceeds a null level.

    Args:
        at: for each value of the axis, for each seed, mem per attractor and the null per image.
    """
    found = {value: difference_interval(seeds) for value, seeds in sorted(at.items())}
    results = {value: on_side(ci95, 1) for value, (_, ci95) in found.items()}
    smallest = min(found)
    difference, ci95 = found[smallest]
    label = {"k": f"k = {smallest}", "size": f"{smallest} training images"}[axis]
    return Claim(
        name=name,
        claim=f"at {label}, mem of the attractors exceeds that of {NULLS[name]}",
        result=results[smallest],
        rule="null",
        statistic=difference,
        ci95=ci95,
        n=len(at[smallest]),
        over="seeds",
        by_value={str(value): result for value, result in results.items()},
    )


def difference_interval(
    seeds: Sequence[tuple[Values, Values]],
) -> tuple[float | None, tuple[float, float] | None]:
    """The mean over seeds of mean(a) - mean(b), and its 95 % interval by ``NULL_RULE``; None where there is none."""
    if any(len(a) == 0 or len(b) == 0 for a, b in seeds):
        return None, None
    difference = float(np.mean([a.mean() - b.mean() for a, b in seeds]))
    rng = np.random.default_rng(0)
    return difference, over_seeds(np.stack([means(a, rng) - means(b, rng) for a, b in seeds]), rng)


def over_seeds(resampled: Values, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of the mean over seeds of a statistic, from its resamples in each seed (seeds, RESAMPLES)."""
    seeds = len(resampled)
    drawn = rng.integers(seeds, size=(seeds, RESAMPLES))
    rows = rng.permuted(np.tile(np.arange(RESAMPLES), (seeds, 1)), axis=1)  # else a seed drawn twice counts as one
    low, high = np.percentile(resampled[drawn, rows].mean(axis=0), [2.5, 97.5])
    return float(low), float(high)


def means(values: Values, rng: np.random.Generator) -> Values:
    """Means of resamples, (RESAMPLES,)."""
    counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=RESAMPLES)
    return counts @ values / len(values)
