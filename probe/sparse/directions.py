"""Without the Gram matrix, in torch on any device: keeps the chosen directions themselves, k d numbers a signal.

Q is formed by Gram-Schmidt, twice (Giraud, Langou, Rozloznik, "The loss of orthogonality in the Gram-Schmidt
orthogonalization process", 2005), and A q is one GEMM (n, d) x (d, N) a step, shared by all signals of a chunk. So a
step takes N d multiply-adds a signal, where v0 takes k N, and memory is that of the dictionary and of c, s and A q.
"""

import torch
from torch import Tensor

from probe.sparse.codes import SparseCodes, concatenate
from probe.sparse.path import Path


def pursue(unit: Tensor, gram: Tensor, x: Tensor, levels: tuple[int, ...], *, ols: bool, memory: int) -> SparseCodes:
    """The greedy path of all signals; arguments as of ``probe.sparse.compiled.pursue``, on any device. ``gram`` is not
    used, and may be empty."""
    (n_atoms, d), depth = unit.shape, levels[-1]
    a_signal = (5 * n_atoms + depth * d + 2 * depth**2) * x.element_size()  # c, s, A q, scores, masks; Q; the factor
    chunk = int(min(max(memory // a_signal, 1), 1024, max(len(x), 1)))
    return concatenate([_pursue(unit, part, levels, ols) for part in x.split(chunk)])


def _pursue(unit: Tensor, x: Tensor, levels: tuple[int, ...], ols: bool) -> SparseCodes:
    (n, d), depth = x.shape, levels[-1]
    path = Path(unit, x, levels, ols)
    directions = x.new_zeros((n, depth, d))
    factor = torch.eye(depth, dtype=x.dtype, device=x.device).repeat(n, 1, 1)  # A_S = factor Q, lower triangular

    def code(k: int) -> Tensor:
        return torch.linalg.solve_triangular(factor[:, :k, :k].mT, path.weight[:, :k, None], upper=True).squeeze(2)

    for k in range(depth):
        j, _ = path.choose()
        q, before = unit[j], directions[:, :k]
        for _ in range(2):
            along = torch.bmm(before, q.unsqueeze(2))
            q = torch.baddbmm(q.unsqueeze(1), along.mT, before, alpha=-1).squeeze(1)
            factor[:, k, :k] += torch.where(path.live[:, None], along.squeeze(2), 0)
        scale = torch.linalg.vector_norm(q, dim=1).clamp(min=path.floor**0.5)
        factor[:, k, k] = torch.where(path.live, scale, 1)
        directions[:, k] = q / scale[:, None]
        torch.matmul(directions[:, k], unit.T, out=path.image)
        path.advance(k, j, scale)
        path.checkpoint(k + 1, code)
    return path.result()
