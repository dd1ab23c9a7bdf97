"""How much two dictionaries share their directions, without a correspondence of their atoms.

| symbol | meaning | shape |
|---|---|---|
| A, B | dictionaries, unit-norm atoms as rows | (m, d), (n, d) |
| A^T A | second moments of the atoms | (d, d) |

Linear CKA (Kornblith et al. 2019, Similarity of Neural Network Representations Revisited, Equation 4) is the cosine of
two n x n Gram matrices of the same n examples. Two dictionaries share a latent space instead of examples: this is the
cosine of the two d x d matrices A^T A and B^T B, not centred.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from probe.precision import full_float32

ROWS = 1024
"""Rows of A multiplied with B at once."""


def overlap(a: Tensor, b: Tensor) -> float:
    """||A B^T||_F^2 / (||A A^T||_F ||B B^T||_F).

    In [0, 1]: 0 if the spans are orthogonal, 1 if and only if the second moments are proportional. Symmetric, and
    invariant to order, sign and common rotation of the atoms.

    Args:
        a, b: (m, ...) and (n, ...), flattened from the second dimension on, scaled to norm 1; m, n >= 1.

    Raises:
        ValueError: a set is empty, or the rows have different lengths.
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
