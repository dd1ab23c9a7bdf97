"""Statistics of sets and images, on samples for which they are known in closed form."""

import numpy as np
import torch

from probe.metrics.interval import difference_interval
from probe.metrics.separation import auroc, fpr95
from probe.metrics.sets import rank_at_variance, vendi_score


def auroc_of_normals() -> float:
    """AUROC of the quantiles of N(0, 1) against those of N(1, 1)."""
    return auroc(_normal(), _normal() + 1, higher="out")


def fpr95_of_normals() -> float:
    """FPR95 of the same."""
    return fpr95(_normal(), _normal() + 1, higher="out")


def _normal(n: int = 4000) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    from scipy.stats import norm

    return np.asarray(norm.ppf((np.arange(n) + 0.5) / n))


def coverage(n: int = 64, repeats: int = 4000) -> float:
    """How often the 95 % interval of a mean paired difference holds the true one, for normal differences."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(repeats):
        b = rng.normal(size=n)
        low, high = difference_interval(b + rng.normal(0.5, 1, n), b, 0.95) or (np.nan, np.nan)
        held += low <= 0.5 <= high
    return held / repeats


def vendi_of_three_directions() -> float:
    """Vendi score of rows in three orthogonal directions, in shares of 1/2, 1/4 and 1/4."""
    return vendi_score(torch.eye(3)[[0] * 8 + [1] * 4 + [2] * 4])


def rank_of_halving_variances() -> float:
    """Rank at 90 % of the variance of points whose variances are 1/2, 1/4, ... along the axes."""
    axes = torch.diag(0.5 ** (0.5 * torch.arange(1, 11)))
    return rank_at_variance(torch.cat([axes, -axes]), 0.9)
