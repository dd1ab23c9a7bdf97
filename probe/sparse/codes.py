"""Sparse codes at nested levels, and the limits of the arithmetic that finds them."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

SCHUR_FLOOR = {torch.float32: 2e-5, torch.float64: 1e-10}
"""Atoms with less squared norm left than this lie in the span of the chosen ones, up to rounding."""
OLS_FLOOR = {torch.float32: 1e-3, torch.float64: 1e-10}
"""The same for the choice by |c| / sqrt(s), which favours small s: float32 needs a larger margin."""

DOUBT = 64
"""After k steps, ||r||^2 by subtraction has an error of up to about k epsilon ||x||^2. Once it is below this many times
that error, residual and correlations are recomputed, and the ||r||^2 of that residual takes the place of ||x||^2: no
path stops for lack of digits, whatever the levels."""

DENSE = 8
"""Atoms in the dictionary for each in the code from which adding up only those is faster than a GEMM with all."""


@dataclass(frozen=True, eq=False)
class SparseCodes:
    """Sparse codes at nested levels.

    Attributes:
        levels: numbers of atoms, ascending (L,).
        support: chosen atoms in order of choice (n, K); -1 after a signal stopped. K is the deepest level, or more if a
            level is served by the projection on the span (see ``omp``).
        coefficients: for each level (n, k), k <= K: weights of the first k atoms of the support; 0 for no atom.
        squared_error: ||x - x_hat||^2 at each level, recomputed from the reconstruction (n, L).
    """

    levels: tuple[int, ...]
    support: Tensor
    coefficients: tuple[Tensor, ...]
    squared_error: Tensor

    def used(self, level: int) -> Tensor:
        """Number of atoms with a weight at a level (n,)."""
        return (self._code(level) != 0).sum(1)

    def sparse(self, level: int) -> tuple[Tensor, Tensor]:
        """The code at a level as (indices, values), each (n, k): index -1 and value 0 for no atom."""
        code = self._code(level)
        return torch.where(code != 0, self.support[:, : code.shape[1]], -1), code

    def reconstruct(self, dictionary: Tensor, level: int) -> Tensor:
        """x_hat = sum_j coefficient_j a_j at a level, (n, d), with the atoms (N, d) of the code."""
        return combine(dictionary, *self.sparse(level))

    def _code(self, level: int) -> Tensor:
        return self.coefficients[self.levels.index(level)]


def concatenate(parts: list[SparseCodes]) -> SparseCodes:
    """Join the codes of several chunks of signals, with the same levels."""
    levels = parts[0].levels
    return SparseCodes(
        levels,
        torch.cat([part.support for part in parts]),
        tuple(torch.cat([part.coefficients[i] for part in parts]) for i in range(len(levels))),
        torch.cat([part.squared_error for part in parts]),
    )


def combine(atoms: Tensor, support: Tensor, code: Tensor) -> Tensor:
    """sum_j code_j a_j, (n, d): one GEMM with the dense code where that is small, which costs no gather."""
    weights, rows = torch.where(support >= 0, code, 0), support.clamp(min=0)
    if len(atoms) > DENSE * support.shape[1] > 0:
        return torch.nn.functional.embedding_bag(rows, atoms, mode="sum", per_sample_weights=weights)
    return code.new_zeros((len(code), len(atoms))).scatter_add_(1, rows, weights) @ atoms


def floor(dtype: torch.dtype, ols: bool) -> float:
    """Smallest squared norm left of an atom that may be chosen."""
    return (OLS_FLOOR if ols else SCHUR_FLOOR)[dtype]


def working_dtype(n_atoms: int, d: int, levels: Iterable[int], *, ols: bool = False) -> torch.dtype:
    """float32 for OMP paths of up to half of min(N, d) atoms; float64 beyond, and for OLS.

    Beyond about half, what is left of an atom outside the span of the chosen ones is too close to float32 rounding. OLS
    divides by it, and in float32 mistakes rounding for a gain on rank-deficient dictionaries. Levels of min(N, d) and
    more do not count: they are projected on the span (in float64) without a greedy path.
    """
    full = min(n_atoms, d)
    return torch.float64 if ols or any(full / 2 < level < full for level in levels) else torch.float32
