"""Dictionaries to compare with: rows are unit-norm atoms (m, d), float64 on the CPU."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def unit_rows(atoms: Tensor) -> Tensor:
    """Rows divided by their norms, float64 (m, d); rows that are zero or not finite are left out."""
    atoms = atoms.flatten(1).double()
    norms = torch.linalg.vector_norm(atoms, dim=1)
    kept = torch.isfinite(norms) & (norms > 0)
    return atoms[kept] / norms[kept, None]


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


def gaussian(count: int, d: int, seed: int) -> Tensor:
    """Normalised Gaussian directions (count, d)."""
    return unit_rows(_gaussian(count, d, seed))


def dct(shape: Sequence[int]) -> Tensor:
    """The orthonormal DCT-II over the spatial axes of each channel, for a latent (c, h, w, ...): (d, d), d = c h w."""
    from scipy.fft import dct as dct1

    channels, *axes = shape
    basis = np.eye(1)
    for size in axes:
        basis = np.kron(basis, dct1(np.eye(size), norm="ortho", axis=0))
    return torch.from_numpy(np.kron(np.eye(channels), basis))


def pca_oracle(latents: Tensor) -> Tensor:
    """Principal directions of held-out latents (m, ...), strongest first: (r, d) with r <= min(m, d).

    An oracle, because it sees images of the data set. About the origin, not the mean: a sparse code has no offset.
    """
    _, values, rows = torch.linalg.svd(latents.flatten(1).double().cpu(), full_matrices=False)
    return rows[values > values[0] * 1e-10] if values[0] > 0 else rows[:0]


def _gaussian(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
