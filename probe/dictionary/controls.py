"""Dictionaries to compare with: rows are unit-norm atoms (m, d), float64 on the CPU."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROUNDING = 1e-6
"""A mean of float32 points below this share of the longest has no direction of its own."""


def unit_rows(atoms: Tensor) -> Tensor:
    """Rows divided by their norms, float64 (m, d); rows that are zero or not finite are left out."""
    atoms = atoms.flatten(1).double()
    norms = torch.linalg.vector_norm(atoms, dim=1)
    kept = _has_direction(norms)
    return atoms[kept] / norms[kept, None]


def unit_row_of(atoms: Tensor) -> Tensor:
    """Which of the ``unit_rows`` each atom (m, ...) becomes: (m,), -1 for one that is left out."""
    kept = _has_direction(torch.linalg.vector_norm(atoms.flatten(1).double(), dim=1))
    return torch.where(kept, kept.cumsum(0) - 1, -1)


def _has_direction(norms: Tensor) -> Tensor:
    return torch.isfinite(norms) & (norms > 0)


def random_orthogonal(d: int, seed: int) -> Tensor:
    """A basis (d, d) drawn from the Haar measure: the paper's baseline (Section 4.1).

    QR of a Gaussian matrix, with signs fixed by the diagonal of R; otherwise it is not uniform (Mezzadri 2007).
    """
    q, r = torch.linalg.qr(_gaussian(d, d, seed))
    return (q * torch.sign(torch.diagonal(r))).T.contiguous()


def random_bases(d: int, count: int, seed: int) -> list[Tensor]:
    """Independent ``random_orthogonal`` bases, (d, d): the first from ``seed``, the b-th from (seed, 1, b)."""
    # Three numbers, because (seed, i) is the seed of start i.
    mixed = [np.random.SeedSequence([seed, 1, b]).generate_state(1, np.uint64)[0] for b in range(1, count)]
    return [random_orthogonal(d, one) for one in (seed, *(int(state >> np.uint64(1)) for state in mixed))]


def mean_first(basis: Tensor, points: Tensor) -> Tensor:
    """An orthonormal basis (d, d), reflected so that its first atom is the direction of the mean of points (m, d).

    The reflection (Householder's) swaps the first atom for the mean, so the rest of a Haar basis is uniform in the
    complement of the mean. Where the mean is 0 up to rounding it has no direction, and the basis stays as it is.
    Without points there are no rows.
    """
    points = points.flatten(1).double()
    if not len(points):
        return basis[:0]
    mean = points.mean(0)
    norm = torch.linalg.vector_norm(mean)
    if norm <= ROUNDING * torch.linalg.vector_norm(points, dim=1).max():
        return basis
    return _reflected(basis, mean / norm)


def _reflected(basis: Tensor, unit: Tensor) -> Tensor:
    """An orthonormal basis (d, d) with the unit vector (d,) in place of its first atom."""
    sign = 1.0 if basis[0] @ unit >= 0 else -1.0
    across = basis[0] + sign * unit  # of the two reflections, onto unit and -unit, that which does not cancel digits
    reflected = basis - torch.outer(basis @ across, across) * (2 / (across @ across))
    reflected[0] = unit
    return reflected


def gaussian(count: int, d: int, seed: int) -> Tensor:
    """Normalised Gaussian directions (count, d)."""
    return unit_rows(_gaussian(count, d, seed))


def matched_gaussian(points: Tensor, seed: int) -> Tensor:
    """As many unit rows as points (m, d): ``draws_like`` them, normalised."""
    return unit_rows(draws_like(points, seed))


def draws_like(points: Tensor, seed: int) -> Tensor:
    """As many draws as points (m, d), from a Gaussian with their mean and covariance.

    The covariance is that of Ledoit and Wolf (2004), (1 - s) S + s tr(S)/d I with the sample covariance S: of low rank
    plus a diagonal, and close to S where m is far above d. S alone would not do: with m <= d its draws are mixtures of
    the points, lie in their span, and would inherit from the points what is not in their covariance. s is the shrinkage
    of the smallest expected squared error, in closed form, whatever m and d; tr(S), the total variance, is kept. Factor
    analysis and probabilistic PCA have to be told a rank, and do no better: of TAEF2's end points (32 pixels, d = 512,
    fitted to 128, the mean log-likelihood of 128 others) 1106 against 1100 with 10 factors and 1077 with 80 components.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    points = points.flatten(1).double().cpu()
    m, d = points.shape
    if m < 2:
        return points
    mean = points.mean(0)
    centred = points - mean
    # Of two points the estimate is 0 up to rounding, to either side.
    shrinkage = min(max(float(ledoit_wolf_shrinkage(centred.numpy(), assume_centered=True)), 0.0), 1.0)
    # S = X^T X / m for centred rows X, so X^T g / sqrt(m) with normal g (m,) has the covariance S. For X = Q R so has
    # R^T g / sqrt(m) with g (d,): no matrix is m x m.
    rows = torch.linalg.qr(centred, mode="r").R if m > d else centred
    mixed = _gaussian(m, len(rows), seed) @ rows * ((1 - shrinkage) / m) ** 0.5
    rest = _gaussian(m, d, seed + 1) * (shrinkage * centred.square().sum() / (m * d)) ** 0.5
    return mean + mixed + rest


def dct(shape: Sequence[int]) -> Tensor:
    """The orthonormal DCT-II over the spatial axes of each channel, for a latent (c, h, w, ...): (d, d), d = c h w."""
    channels, *axes = shape
    return torch.from_numpy(np.kron(np.eye(channels), _dct_over(axes)))


def weights_transform(latents: Tensor) -> Tensor:
    """Principal components over channels of latents (k, c, h, w, ...), times the DCT-II over space: (d, d), d = c h w.

    Orthonormal. With the latents f(z0) of Gaussian noise it is a basis from the weights alone: they choose how channels
    are mixed, the DCT says that neighbours are alike. The components are eigenvectors of the second moments of the
    channels over all latents and places, strongest first; about the origin, because a sparse code has no offset. Of
    latents without spatial axes only the components are left; along one axis, or three, the DCT is of that many.
    Latents that are not finite are left out; without any there are no rows.
    """
    latents = latents.double().cpu()
    latents = latents[torch.isfinite(latents).flatten(1).all(1)]
    channels, *axes = latents.shape[1:]
    if not len(latents):
        return torch.empty(0, channels * math.prod(axes), dtype=torch.float64)
    places = latents.movedim(1, -1).reshape(-1, channels)
    _, vectors = torch.linalg.eigh(places.T @ places / len(places))
    return torch.from_numpy(np.kron(vectors.flip(1).T.numpy(), _dct_over(axes)))


def pca_oracle(latents: Tensor) -> Tensor:
    """Principal directions of held-out latents (m, ...), strongest first: (r, d) with r <= min(m, d).

    An oracle, because it sees images of the data set. About the origin, not the mean: a sparse code has no offset.
    """
    _, values, rows = torch.linalg.svd(latents.flatten(1).double().cpu(), full_matrices=False)
    return rows[values > values[0] * 1e-10] if values[0] > 0 else rows[:0]


def _dct_over(axes: Sequence[int]) -> NDArray[np.float64]:
    """The orthonormal DCT-II over axes of these sizes, (p, p) with p their product."""
    from scipy.fft import dct as dct1

    basis = np.eye(1)
    for size in axes:
        basis = np.kron(basis, dct1(np.eye(size), norm="ortho", axis=0))
    return basis


def _gaussian(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
