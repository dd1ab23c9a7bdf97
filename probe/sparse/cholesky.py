"""The inverse Cholesky factor in torch, for GPUs and long paths: k^2 numbers per signal, where v0 keeps k N.

With A_S = L Q (L lower triangular, Q orthonormal), F = L^-1 gives the directions, Q = F A_S. Its new row is
f = [-(F^T v), 1] / sqrt(s_j) with v = F G_Sj = Q a_j; so A q = G U f, where U scatters f to the chosen atoms: one GEMM
(n, N) x (N, N) per step, shared by all signals. F grows in panels of rows, so that it never takes more memory than it
needs, and half of the square in the end.

Only for float64: an atom near the span of the chosen ones makes a row of F as long as 1 / sqrt(s), and A q is then a
sum of terms of that size, where those of v0 are at most 1. In float32, some paths ended early that v0 finished.
"""

import torch
from torch import Tensor

from probe.sparse.codes import SparseCodes, concatenate
from probe.sparse.path import Path

PANEL = 256
"""Rows of F allocated at once."""


def pursue(
    unit: Tensor, gram: Tensor, x: Tensor, levels: tuple[int, ...], *, ols: bool, memory: int, panel: int = PANEL
) -> SparseCodes:
    """The greedy path of all signals; arguments as of ``probe.sparse.compiled.pursue``, on any device."""
    depth = levels[-1]
    a_signal = (6 * len(unit) + (depth + panel) * depth // 2 + panel**2) * x.element_size()
    chunk = int(min(max(memory // a_signal, 1), 1024, max(len(x), 1)))
    return concatenate([_pursue(unit, gram, part, levels, ols, panel) for part in x.split(chunk)])


def _pursue(unit: Tensor, gram: Tensor, x: Tensor, levels: tuple[int, ...], ols: bool, panel: int) -> SparseCodes:
    n, depth = len(x), levels[-1]
    path = Path(unit, x, levels, ols)
    dense = torch.empty_like(path.image)
    inverse: list[Tensor] = []  # panel p: rows p * panel ..., columns 0 ... (p + 1) * panel
    for k in range(depth):
        if k % panel == 0:
            inverse.append(x.new_zeros((n, panel, k + panel)))
        j, scale = path.choose()
        chosen = path.support[:, :k].clamp(min=0)  # rows of F are zero where a signal has stopped
        f = -_transposed(inverse, _times(inverse, gram[chosen, j[:, None]], k), k) / scale[:, None]
        row = torch.cat([f, 1 / scale[:, None]], 1) * path.live[:, None]
        inverse[-1][:, k % panel, : k + 1] = row
        dense.zero_().scatter_add_(1, torch.cat([chosen, j[:, None]], 1), row)
        torch.matmul(dense, gram, out=path.image)
        path.advance(k, j, scale)
        path.checkpoint(k + 1, lambda k: _transposed(inverse, path.weight[:, :k], k))
    return path.result()


def _times(inverse: list[Tensor], g: Tensor, k: int) -> Tensor:
    """F g for the k rows so far, (n, k)."""
    parts = [torch.bmm(rows[:, :, :k], g[:, : rows.shape[2], None]).squeeze(2) for rows in inverse]
    return torch.cat(parts, 1)[:, :k]


def _transposed(inverse: list[Tensor], v: Tensor, k: int) -> Tensor:
    """F^T v for the k rows so far, (n, k)."""
    total = v.new_zeros((len(v), k))
    first = 0
    for rows in inverse:
        part = v[:, first : first + rows.shape[1]]
        width = min(rows.shape[2], k)
        total[:, :width] += torch.bmm(part.unsqueeze(1), rows[:, : part.shape[1], :width]).squeeze(1)
        first += part.shape[1]
    return total
