"""v0 in torch, on any device: keeps the dictionary projected on the chosen directions of every signal of a chunk."""

import torch
from torch import Tensor

from probe.sparse.codes import SparseCodes, concatenate
from probe.sparse.path import Path


def pursue(unit: Tensor, gram: Tensor, x: Tensor, levels: tuple[int, ...], *, ols: bool, memory: int) -> SparseCodes:
    """The greedy path of all signals; arguments as of ``probe.sparse.compiled.pursue``, on any device."""
    n_atoms, depth = len(unit), levels[-1]
    a_signal = ((depth + 5) * n_atoms + 2 * depth**2) * x.element_size()  # P, c, s and scores; the factor twice
    most = 64 if x.device.type == "cpu" else 1024  # P should stay in a CPU's cache
    chunk = int(min(max(memory // a_signal, 1), most, max(len(x), 1)))
    room = x.new_empty((chunk, depth, n_atoms))
    return concatenate([_pursue(unit, gram, part, levels, ols, room[: len(part)]) for part in x.split(chunk)])


def _pursue(
    unit: Tensor, gram: Tensor, x: Tensor, levels: tuple[int, ...], ols: bool, projected: Tensor
) -> SparseCodes:
    """The path of one chunk; ``projected`` is room for P (n, depth, N)."""
    n, depth, _ = projected.shape
    path = Path(unit, x, levels, ols)
    factor = torch.eye(depth, dtype=x.dtype, device=x.device).repeat(n, 1, 1)  # A_S = factor Q, lower triangular
    rows = torch.empty_like(path.image)

    def code(k: int) -> Tensor:
        return torch.linalg.solve_triangular(factor[:, :k, :k].mT, path.weight[:, :k, None], upper=True).squeeze(2)

    for k in range(depth):
        j, scale = path.choose()
        on_chosen = projected[path.row, :k, j]  # Q a_j, (n, k)
        torch.index_select(gram, 0, j, out=rows)
        if k:
            minus = (on_chosen.unsqueeze(1), projected[:, :k])
            torch.baddbmm(rows.unsqueeze(1), *minus, alpha=-1, out=path.image.unsqueeze(1))
            path.image.div_(scale[:, None])
        else:
            torch.div(rows, scale[:, None], out=path.image)
        factor[:, k, :k] = torch.where(path.live[:, None], on_chosen, 0)
        factor[:, k, k] = torch.where(path.live, scale, 1)
        path.advance(k, j, scale)
        projected[:, k] = path.image
        path.checkpoint(k + 1, code)
    return path.result()
