"""Codes in closed form, without greedy steps: of orthonormal atoms, and of levels that take the whole span."""

import torch
from torch import Tensor

from probe.sparse.codes import SparseCodes, combine
from probe.sparse.dictionary import Dictionary


def largest(unit: Tensor, x: Tensor, levels: tuple[int, ...]) -> SparseCodes:
    """Codes of signals (n, d) in orthonormal atoms (N, d), by size; levels beyond N are served by N atoms."""
    weights = x @ unit.T
    order = weights.abs().sort(dim=1, descending=True, stable=True)  # stable: ties go to the lowest index
    depth = min(levels[-1], len(unit))
    floor = 8 * torch.finfo(x.dtype).eps * torch.linalg.vector_norm(x, dim=1, keepdim=True)
    support = torch.where(order.values > floor, order.indices, -1)[:, :depth]
    chosen = torch.where(support >= 0, weights.gather(1, support.clamp(min=0)), 0)
    codes = [chosen[:, :level] for level in levels]
    errors = [(x - combine(unit, support[:, : code.shape[1]], code)).square().sum(1) for code in codes]
    return SparseCodes(levels, support, tuple(codes), torch.stack(errors, 1))


def project(dictionary: Dictionary, x: Tensor, greedy: SparseCodes | None, levels: tuple[int, ...]) -> SparseCodes:
    """Codes at the levels of the greedy path, then at ``levels``, which are all served by the whole span.

    A signal that the greedy path reconstructed up to rounding, or as well as the span can, keeps that code. Otherwise
    its support continues, after the atoms of the path, with the remaining ``independent`` atoms; atoms of the path
    outside these have weight 0.
    """
    chosen, factor = dictionary.span
    n = len(x)
    empty = SparseCodes((), torch.empty((n, 0), dtype=torch.long, device=x.device), (), x.new_empty((n, 0)))
    before = empty if greedy is None else greedy
    basis = dictionary.unit[chosen]
    weights = torch.nn.functional.pad(_solve(basis.double(), factor, x.double()).to(x.dtype), (0, 1))
    error = (x - weights[:, :-1] @ basis).square().sum(1)
    if greedy is None:
        keep = ~x.any(1)
    else:
        epsilon = 64 * torch.finfo(x.dtype).eps
        last = greedy.squared_error[:, -1]
        keep = (last <= epsilon**2 * x.square().sum(1)) | (last <= error * (1 + epsilon))
        error = torch.where(keep, last, error)
    # Where an atom stands in the basis; the column after it is for all others, and for -1.
    place = torch.full((len(dictionary) + 1,), len(chosen), device=x.device)
    place[chosen] = torch.arange(len(chosen), device=x.device)

    def column(support: Tensor) -> Tensor:
        return place[support.where(support >= 0, len(dictionary))]

    # The basis atoms that the path has not chosen, in the order of the basis, then -1.
    taken = torch.zeros((n, len(chosen) + 1), dtype=torch.bool, device=x.device)
    taken = taken.scatter_(1, column(before.support), True)[:, :-1] | keep[:, None]
    order = taken.to(torch.uint8).argsort(dim=1, stable=True)
    rest = torch.where(taken.gather(1, order), -1, chosen[order])
    if n:
        rest = rest[:, : int((~taken).sum(1).max())]
    support = torch.cat([before.support, rest], 1)
    code = weights.gather(1, column(support))
    if greedy is not None:
        kept = torch.nn.functional.pad(greedy.coefficients[-1], (0, rest.shape[1]))
        code = torch.where(keep[:, None], kept, code)
    return SparseCodes(
        before.levels + levels,
        support,
        before.coefficients + (code,) * len(levels),
        torch.cat([before.squared_error, error[:, None].expand(-1, len(levels))], 1),
    )


def _solve(atoms: Tensor, factor: Tensor, x: Tensor) -> Tensor:
    """Least-squares weights (n, r): normal equations, refined twice with the residual (the factor's square is as
    ill-conditioned as the floor allows, about 1e10; each refinement gains what one solve has)."""
    weights = torch.cholesky_solve(atoms @ x.T, factor)
    for _ in range(2):
        weights += torch.cholesky_solve(atoms @ (x - weights.T @ atoms).T, factor)
    return weights.T
