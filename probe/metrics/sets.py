"""What a set of vectors spans: its rank, its diversity, and its overlap with another set without matching their rows.

| symbol | meaning | shape |
|---|---|---|
| A, B | dictionaries, unit-norm atoms as rows | (m, d), (n, d) |
| A^T A | second moments of the atoms | (d, d) |
| x, lambda | embeddings, unit rows; eigenvalues of x x^T / n, whose sum is 1 | (n, D), (min(n, D),) |
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from probe.precision import full_float32

ROWS = 1024
"""Rows of A multiplied with B at once."""
BLOCK = 2**22
"""Coordinates held in float64 at once: 32 MiB."""
ROUNDING = 1e-9
"""Tolerance of a share of the variance, for rounding."""


def overlap(a: Tensor, b: Tensor) -> float:
    """||A B^T||_F^2 / (||A A^T||_F ||B B^T||_F): the cosine of A^T A and B^T B, not centred.

    In [0, 1]: 0 if the spans are orthogonal, 1 if and only if the second moments are proportional. Symmetric, and
    invariant to order, sign and common rotation of the atoms. It is linear CKA (Kornblith et al. 2019, Equation 4) for
    sets that share a latent space instead of examples.

    The sets (m, ...) and (n, ...) are flattened from the second dimension on and scaled to norm 1. ValueError if one is
    empty, or the rows have different lengths.
    """
    a, b = _atoms(a, b)
    return _products(a, b) / (_products(a, a) * _products(b, b)) ** 0.5


def unrelated(a: Tensor, b: Tensor) -> float:
    """The expected overlap of A and a randomly rotated B: the null level.

    E[Q B^T B Q^T] = n/d I over rotations Q, and tr(A^T A) = m, so it is m n / (d ||A A^T||_F ||B B^T||_F): the level of
    a dictionary of the same size and coherence with random directions. Args, Raises: as ``overlap``.
    """
    a, b = _atoms(a, b)
    return len(a) * len(b) / (a.shape[1] * (_products(a, a) * _products(b, b)) ** 0.5)


def _atoms(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    a, b = a.flatten(1), b.flatten(1)
    if not len(a) or not len(b) or a.shape[1] != b.shape[1]:
        raise ValueError(f"dictionaries {tuple(a.shape)} and {tuple(b.shape)} cannot be compared")
    return normalize(a, dim=1), normalize(b.to(a), dim=1)


def _products(a: Tensor, b: Tensor) -> float:
    """||A B^T||_F^2."""
    with full_float32():
        sums = [(part @ b.T).square().sum(dtype=torch.float64) for part in a.split(ROWS)]
    return float(torch.stack(sums).sum())


def rank_at_variance(x: Tensor, share: float = 0.9) -> int:
    """The smallest number of principal components that explain at least ``share`` of the variance of the rows
    (paper, Section 3: rank at 90 %): in 0..min(n - 1, d), 0 if all rows are equal.

    In float64, from the covariance or the Gram matrix, whichever is smaller. x (n, ...), such as decoded attractors, is
    flattened from the second dimension on. ValueError if x is empty or not finite, or the share not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share of the variance must lie in (0, 1], not {share}")
    spectrum = _spectrum(x)
    total = spectrum.sum()
    return int((spectrum.cumsum(0) < (share - ROUNDING) * total).sum()) + 1 if total > 0 else 0


def effective_rank(x: Tensor) -> float:
    """exp(-sum p log p) with p the shares of the singular values of the centred rows in their sum: the effective rank
    (Roy and Vetterli 2007, Definition 1).

    In [1, rank]; equal to the rank if and only if all singular values are equal; 0 if all rows are equal. Rows (n, ...)
    are flattened; in float64. ValueError if x is empty or not finite.
    """
    values = _spectrum(x).sqrt()
    share = values[values > 0] / values.sum()
    return float(torch.exp(-(share * share.log()).sum())) if len(share) else 0.0


def _spectrum(x: Tensor) -> Tensor:
    """Eigenvalues of the covariance of the rows, times n, largest first, in float64; all 0 for equal rows.

    ValueError if x is empty or not finite.
    """
    x = x.flatten(1)
    if not len(x) or not bool(torch.isfinite(x).all()):
        raise ValueError(f"rows {tuple(x.shape)} must be finite, and at least one")
    spectrum = torch.linalg.eigvalsh(_centred_products(x)).flip(0).clamp(min=0)
    # For equal rows only the rounding error of their mean is left.
    if spectrum.sum() <= (16 * torch.finfo(torch.float64).eps) ** 2 * x.double().square().sum():
        return torch.zeros_like(spectrum)
    # An eigenvalue of 0 comes out as the rounding error of the largest one.
    return torch.where(spectrum > len(spectrum) * torch.finfo(torch.float64).eps * spectrum[0], spectrum, 0.0)


def _centred_products(x: Tensor) -> Tensor:
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


def vendi_score(x: Tensor) -> float:
    """exp(-sum lambda log lambda), the Vendi score (Friedman and Dieng, 2023, Definition 3.1) by cosine: the effective
    number of distinct rows, from 1 (all equal) to n (all orthogonal); ValueError if there are none."""
    if x.ndim != 2 or not len(x):
        raise ValueError(f"embeddings have shape (n, D), n >= 1, not {tuple(x.shape)}")
    values = torch.linalg.svdvals(x.double()).square() / len(x)
    values = values[values > 0]
    return float(torch.exp(-(values * values.log()).sum()))
