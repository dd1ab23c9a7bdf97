"""What sparse codes cost: operations and bytes of a greedy path, by the formulation that would be chosen.

| symbol | meaning |
|---|---|
| N, d | atoms, dimension |
| k | atoms in the code, the depth of the path |
| n | signals |
"""

from collections.abc import Iterable
from dataclasses import dataclass

LONG_STEP, SHORT_STEP = 30, 25
"""Calls of kernels in a step of the path on a GPU, by the inverse Cholesky factor and by v0."""


@dataclass(frozen=True)
class Path:
    """One signal's path.

    Attributes:
        flops: a multiply-add counts as two.
        moved: bytes.
        calls: of kernels, shared by all signals that go together.
    """

    flops: float
    moved: float
    calls: float


def greedy_depth(n_atoms: int, d: int, levels: Iterable[int]) -> int:
    """How far the greedy path goes: to the deepest level below min(N, d); 0 where there is none."""
    return max((level for level in levels if level < min(n_atoms, d)), default=0)


def projected_path(n_atoms: int, depth: int, width: int = 8) -> Path:
    """By v0 (``batched``, ``compiled``): step k reads k rows of N numbers, and passes some eight times over N."""
    numbers = n_atoms * (depth**2 / 2 + 8 * depth)
    return Path(2 * numbers, width * numbers, SHORT_STEP * depth)


def cholesky_path(n_atoms: int, depth: int, width: int = 8) -> Path:
    """By the inverse Cholesky factor F: a step is one product of a row by (N, N), and takes from memory the k^2 / 2
    numbers of F twice, for F g and F^T v, since a factor of a few megabytes a signal does not stay in the cache; and
    some eight rows of N: c, s and A q are read and written, U f and the scores once each."""
    return Path(2 * n_atoms**2 * depth, width * (depth**3 / 3 + 8 * n_atoms * depth), LONG_STEP * depth)


def direct_path(n_atoms: int, d: int, depth: int, width: int = 8) -> Path:
    """Without the Gram matrix (``directions``): a step is one product of a row by (d, N), and Gram-Schmidt twice."""
    flops = 2 * n_atoms * d * depth + 4 * d * depth**2
    return Path(flops, width * (8 * n_atoms * depth + 2 * d * depth**2), LONG_STEP * depth)


def floor_seconds(n: int, n_atoms: int, depth: int, flops: float, bytes_per_second: float) -> float:
    """The least seconds of n paths of ``depth`` atoms in float64 by the inverse Cholesky factor, at these speeds."""
    path = cholesky_path(n_atoms, depth)
    return n * (path.flops / flops + path.moved / bytes_per_second)
