"""Number of principal components that explain a share of the variance (paper, Section 3: rank at 90 %)."""

import torch
from torch import Tensor

BLOCK = 2**22
"""Coordinates held in float64 at once: 32 MiB."""
ROUNDING = 1e-9
"""Tolerance of the share, for rounding."""


def rank_at_variance(x: Tensor, share: float = 0.9) -> int:
    """The smallest number of principal components that explain at least ``share`` of the variance of the rows.

    In float64, from the covariance or the Gram matrix, whichever is smaller.

    Args:
        x: (n, ...), n >= 1, flattened from the second dimension on; such as decoded attractors.
        share: in (0, 1].

    Returns:
        In 0..min(n - 1, d); 0 if all rows are equal.

    Raises:
        ValueError: x is empty or not finite, or the share is out of range.
    """
    x = x.flatten(1)
    if not 0 < share <= 1:
        raise ValueError(f"the share of the variance must lie in (0, 1], not {share}")
    if not len(x) or not bool(torch.isfinite(x).all()):
        raise ValueError(f"rows {tuple(x.shape)} must be finite, and at least one")
    spectrum = torch.linalg.eigvalsh(_products(x)).flip(0).clamp(min=0)
    total = spectrum.sum()
    # For equal rows only the rounding error of their mean is left.
    if total <= (16 * torch.finfo(torch.float64).eps) ** 2 * x.double().square().sum():
        return 0
    return int((spectrum.cumsum(0) < (share - ROUNDING) * total).sum()) + 1


def _products(x: Tensor) -> Tensor:
    """Products of the centred rows, d x d or n x n, whichever is smaller; float64."""
    n, d = x.shape
    mean = x.mean(0, dtype=torch.float64)
    if d <= n:
        parts = (part.double() - mean for part in x.split(max(BLOCK // max(d, 1), 1)))
        return sum((part.T @ part for part in parts), x.new_zeros((d, d), dtype=torch.float64))
    products = x.new_zeros((n, n), dtype=torch.float64)
    for part, centre in zip(x.split(max(BLOCK // n, 1), dim=1), mean.split(max(BLOCK // n, 1)), strict=True):
        centred = part.double() - centre
        products += centred @ centred.T
    return products
