"""Orthogonal Matching Pursuit of many signals at once, all levels from one greedy path (paper, Section 4.1).

| symbol | meaning | shape |
|---|---|---|
| A | dictionary, unit-norm atoms as rows | (N, d) |
| X | signals as rows | (n, d) |
| G | Gram matrix A A^T | (N, N) |
| Q | orthonormalised chosen atoms; never formed | (n, k, d) |
| P | P[i] = A Q_i^T: the dictionary on the chosen directions | (n, k, N) |
| c | correlations of the residual with the atoms, A r | (n, N) |
| s | Schur diagonal: squared norm of what is left of each atom, 1 - sum_k P^2 | (n, N) |

One step a signal (v0 of Zhu et al., "Batch orthogonal matching pursuit", 2020): choose j = argmax |c|; the new
direction is q = (a_j - Q^T Q a_j) / sqrt(s_j); A q comes from G and P; then c <- c - (q.r) A q and s <- s - (A q)^2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SCHUR_FLOOR = {torch.float32: 2e-5, torch.float64: 1e-10}
"""Atoms with less than this squared norm left lie in the span of the chosen ones, up to rounding."""


@dataclass(frozen=True)
class SparseCodes:
    """Sparse codes at nested levels.

    Attributes:
        levels: numbers of atoms, ascending (L,).
        support: chosen atoms in order of choice (n, K), K = last level; -1 where a signal stopped earlier.
        coefficients: at each level (n, k): weights of the first k atoms of the support; 0 where there is none.
        squared_error: ||x - x_hat||^2, recomputed from the reconstruction at each level (n, L).
    """

    levels: tuple[int, ...]
    support: Tensor
    coefficients: tuple[Tensor, ...]
    squared_error: Tensor

    def used(self, level: int) -> Tensor:
        """Atoms with a weight at a level (n,)."""
        return (self.support[:, :level] >= 0).sum(1)

    def reconstruct(self, dictionary: Tensor, level: int) -> Tensor:
        """x_hat = sum_j coefficient_j a_j at a level, (n, d)."""
        k = min(level, self.support.shape[1])
        return _combine(dictionary, self.support[:, :k], self.coefficients[self.levels.index(level)][:, :k])


@torch.no_grad()
def omp(
    dictionary: Tensor,
    signals: Tensor,
    levels: Sequence[int],
    *,
    dtype: torch.dtype = torch.float64,
    memory: int = 1 << 30,
) -> SparseCodes:
    """Orthogonal Matching Pursuit.

    A signal stops early, and keeps its code at all further levels, once its residual is at rounding level, or no atom
    outside the span of its support is left. Ties go to the lowest index.

    Args:
        dictionary: unit-norm atoms as rows (N, d).
        signals: signals as rows (n, d).
        levels: numbers of atoms, each >= 1; those beyond min(N, d) are served by min(N, d) atoms.
        dtype: float64, or float32 for speed (which holds to about N/2 atoms).
        memory: bytes that a chunk of signals may take for its work arrays.

    Raises:
        ValueError: shapes do not fit, an atom is not of unit norm, a value is not finite, or a level is below 1.
    """
    wanted = tuple(sorted(set(levels)))
    atoms, rows = dictionary.to(dtype), signals.to(dtype)
    _check(atoms, rows, wanted)
    gram = atoms @ atoms.T
    if _orthonormal(gram):
        return _largest(atoms, rows, wanted)
    n_atoms, depth = len(atoms), min(wanted[-1], *atoms.shape)
    a_signal = ((depth + 8) * n_atoms + 2 * depth**2) * atoms.element_size()  # P, c, s and scores; the factor twice
    chunk = int(min(max(memory // a_signal, 1), 64, max(len(rows), 1)))
    buffer = torch.empty((chunk, depth, n_atoms), dtype=dtype, device=atoms.device)
    parts = [_pursue(atoms, gram, x, wanted, buffer[: len(x)]) for x in rows.split(chunk)]
    return SparseCodes(
        wanted,
        torch.cat([part.support for part in parts]),
        tuple(torch.cat([part.coefficients[i] for part in parts]) for i in range(len(wanted))),
        torch.cat([part.squared_error for part in parts]),
    )


def _check(atoms: Tensor, signals: Tensor, levels: tuple[int, ...]) -> None:
    if atoms.ndim != 2 or signals.ndim != 2 or atoms.shape[1] != signals.shape[1]:
        raise ValueError(
            f"dictionary {tuple(atoms.shape)} and signals {tuple(signals.shape)} must be (N, d) and (n, d)"
        )
    if not len(atoms):
        raise ValueError("the dictionary has no atoms")
    if not levels or levels[0] < 1:
        raise ValueError(f"levels must be numbers of atoms, at least 1: {levels}")
    if not (torch.isfinite(atoms).all() and torch.isfinite(signals).all()):
        raise ValueError("the dictionary or the signals hold values that are not finite")
    worst = (torch.linalg.vector_norm(atoms, dim=1) - 1).abs().max()
    if worst > 1e-4:
        raise ValueError(
            f"atoms must have unit norm; one is off by {float(worst):.2g} (see probe.dictionary.unit_rows)"
        )


def _orthonormal(gram: Tensor) -> bool:
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return bool((gram - identity).abs().max() < 100 * torch.finfo(gram.dtype).eps)


def _largest(atoms: Tensor, x: Tensor, levels: tuple[int, ...]) -> SparseCodes:
    """The closed form for orthonormal atoms: the path takes the coefficients by size."""
    size = (x @ atoms.T).abs()
    order = size.sort(dim=1, descending=True, stable=True)  # stable: ties go to the lowest index
    depth = min(levels[-1], len(atoms))
    floor = 8 * torch.finfo(x.dtype).eps * torch.linalg.vector_norm(x, dim=1, keepdim=True)
    support = torch.where(order.values > floor, order.indices, -1)[:, :depth]
    weights = torch.where(support >= 0, (x @ atoms.T).gather(1, support.clamp(min=0)), 0)
    codes = [weights[:, :level] for level in levels]
    errors = [(x - _combine(atoms, support[:, : code.shape[1]], code)).square().sum(1) for code in codes]
    return SparseCodes(levels, support, tuple(codes), torch.stack(errors, 1))


def _pursue(atoms: Tensor, gram: Tensor, x: Tensor, levels: tuple[int, ...], projected: Tensor) -> SparseCodes:
    """The greedy path of one chunk; ``projected`` is room for P (n, depth, N)."""
    n, depth, n_atoms = projected.shape
    row = torch.arange(n, device=x.device)
    epsilon = torch.finfo(x.dtype).eps
    correlation = x @ atoms.T
    schur = gram.diagonal().repeat(n, 1)  # 1 up to the rounding of the atoms' norms, which duplicates share
    taken = torch.zeros((n, n_atoms), dtype=torch.bool, device=x.device)
    support = torch.full((n, depth), -1, dtype=torch.long, device=x.device)
    factor = torch.eye(depth, dtype=x.dtype, device=x.device).repeat(n, 1, 1)  # A_S = factor Q, lower triangular
    weight = torch.zeros((n, depth), dtype=x.dtype, device=x.device)  # q . x
    energy = x.square().sum(1)
    left = energy.clone()
    live = energy > 0
    codes, errors = [], []
    for k in range(depth):
        barred = taken | (schur < SCHUR_FLOOR[x.dtype])
        score = correlation.abs().masked_fill(barred, -1)
        best = score.max(1, keepdim=True).values
        j = (score >= best * (1 - 16 * epsilon)).to(torch.uint8).argmax(1)  # the lowest index among equals
        # Below this, what is left of the signal is the rounding of the arithmetic, and so is the choice.
        live = live & (best.squeeze(1) > 8 * epsilon * energy.sqrt()) & (left > (8 * epsilon) ** 2 * energy)
        scale = schur[row, j].clamp(min=SCHUR_FLOOR[x.dtype]).sqrt()
        on_chosen = projected[row, :k, j]  # Q a_j, (n, k)
        image = gram[j]
        if k:
            image = image - torch.bmm(on_chosen.unsqueeze(1), projected[:, :k]).squeeze(1)
        image = torch.where(live[:, None], image / scale[:, None], 0)
        step = torch.where(live, correlation[row, j] / scale, 0)
        projected[:, k] = image
        factor[:, k, :k] = torch.where(live[:, None], on_chosen, 0)
        factor[:, k, k] = torch.where(live, scale, 1)
        weight[:, k] = step
        support[:, k] = torch.where(live, j, -1)
        taken[row, j] |= live
        correlation = correlation - step[:, None] * image
        schur = schur - image.square()
        left = left - step.square()
        if k + 1 in levels or k + 1 == depth:
            code = torch.linalg.solve_triangular(
                factor[:, : k + 1, : k + 1].mT, weight[:, : k + 1, None], upper=True
            ).squeeze(2)
            residual = x - _combine(atoms, support[:, : k + 1], code)
            left = residual.square().sum(1)
            correlation = residual @ atoms.T  # afresh, so that rounding does not add up along the path
            if k + 1 in levels:
                codes.append(code)
                errors.append(left)
    beyond = len(levels) - len(codes)  # levels that the dictionary cannot fill: the fullest code serves them
    codes += [code] * beyond
    errors += [left] * beyond
    return SparseCodes(levels, support, tuple(codes), torch.stack(errors, 1))


def _combine(atoms: Tensor, support: Tensor, code: Tensor) -> Tensor:
    """sum_j code_j a_j, (n, d), through the dense code: one GEMM instead of a gather of (n, k, d)."""
    dense = code.new_zeros((len(code), len(atoms)))
    dense.scatter_add_(1, support.clamp(min=0), torch.where(support >= 0, code, 0))
    return dense @ atoms
