"""Orthonormal atoms in closed form: the path takes the coefficients by size, without greedy steps."""

import torch
from torch import Tensor

from probe.sparse.codes import SparseCodes, combine


def largest(unit: Tensor, x: Tensor, levels: tuple[int, ...]) -> SparseCodes:
    """Codes of signals (n, d) in orthonormal atoms (N, d); levels beyond N are served by N atoms."""
    weights = x @ unit.T
    order = weights.abs().sort(dim=1, descending=True, stable=True)  # stable: ties go to the lowest index
    depth = min(levels[-1], len(unit))
    floor = 8 * torch.finfo(x.dtype).eps * torch.linalg.vector_norm(x, dim=1, keepdim=True)
    support = torch.where(order.values > floor, order.indices, -1)[:, :depth]
    chosen = torch.where(support >= 0, weights.gather(1, support.clamp(min=0)), 0)
    codes = [chosen[:, :level] for level in levels]
    errors = [(x - combine(unit, support[:, : code.shape[1]], code)).square().sum(1) for code in codes]
    return SparseCodes(levels, support, tuple(codes), torch.stack(errors, 1))
