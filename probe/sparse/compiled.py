"""v0 on the CPU, compiled by numba: one signal at a time, signals distributed over threads."""

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from probe.sparse.codes import SparseCodes, floor

TILE = 512
"""Atoms in a tile: its sums, and the four rows added to them, fit in the first-level cache."""


def available() -> bool:
    """Whether numba is installed."""
    return find_spec("numba") is not None


def pursue(unit: Tensor, gram: Tensor, x: Tensor, levels: tuple[int, ...], *, ols: bool, memory: int) -> SparseCodes:
    """The greedy path of all signals; see ``probe.sparse.omp`` for the algorithm.

    Args:
        unit, gram, x: unit atoms (N, d), their Gram matrix, signals (n, d); on the CPU, of one dtype.
        levels: ascending numbers of atoms, the last at most min(N, d).
        ols: select by OLS.
        memory: bytes for the work arrays of all threads; one thread always runs.
    """
    from probe.sparse import kernel

    n, depth = len(x), levels[-1]
    tiles = -(-len(unit) // TILE)
    one = (tiles * depth * TILE + depth**2 + kernel.NEAR * depth + 2 * tiles * TILE) * x.element_size()
    threads = max(min(torch.get_num_threads(), memory // one, n), 1)
    dtype = torch.empty(0, dtype=x.dtype).numpy().dtype
    limits = dtype.type(floor(x.dtype, ols)), dtype.type(torch.finfo(x.dtype).eps)
    atoms, products, signals = (part.contiguous().numpy() for part in (unit, gram, x))
    starts = (x @ unit.T).numpy()
    asked = np.array(levels)
    support = np.full((n, depth), -1, np.int64)
    codes = np.zeros((n, len(levels), depth), dtype)
    errors = np.empty((n, len(levels)), dtype)

    def work(first: int) -> None:
        room = (
            np.empty((tiles, depth, TILE), dtype),
            np.empty((depth, depth), dtype),
            np.empty((2, tiles, TILE), dtype),
            np.empty(TILE, dtype),
            np.empty(depth, dtype),
            np.empty(unit.shape[1], dtype),
            np.empty((kernel.NEAR, depth), dtype),
            np.empty((2 + kernel.AHEAD, kernel.NEAR), dtype),
            np.empty(kernel.NEAR, np.int64),
            np.empty(kernel.AHEAD, np.int64),
        )
        for i in range(first, n, threads):
            fixed = (atoms, products, signals[i], starts[i], asked, ols, *limits)
            kernel.pursue(*fixed, *room, support[i], codes[i], errors[i])

    if threads == 1:
        work(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
    found = torch.from_numpy(codes)
    return SparseCodes(
        levels,
        torch.from_numpy(support),
        tuple(found[:, i, :level].clone() for i, level in enumerate(levels)),
        torch.from_numpy(errors),
    )
