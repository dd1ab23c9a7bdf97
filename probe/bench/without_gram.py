"""Sparse codes in dictionaries whose Gram matrix does not fit: milliseconds and peak memory, ours against scikit-learn.

Every contender runs in a process of its own, which makes the same dictionary and signals. Memory is the largest
resident set less what the process held when dictionary and libraries were loaded.
"""

import statistics
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from torch import Tensor

from probe.bench.sparse import Solver, smooth_fields, timed
from probe.machine import resident_bytes
from probe.sparse import Dictionary, omp

Prepare = Callable[[Tensor], Solver]
"""A solver for a dictionary (N, d), which maps signals (n, d) to their reconstructions."""
REFERENCE = "scikit-learn orthogonal_mp"
FEW = 4
"""Signals of the reference, which solves one after the other: the time of a signal does not depend on them."""
ROWS = 512
"""Random fields made at once."""


@dataclass(frozen=True)
class Problem:
    """Codes of ``atoms`` atoms for ``signals`` signals in ``n_atoms`` smooth random fields of d dimensions."""

    n_atoms: int
    d: int
    atoms: int
    signals: int
    repeats: int
    threads: int

    def dictionary(self, dtype: torch.dtype) -> Tensor:
        """Unit rows (N, d), made in blocks: making them takes no memory that solving does not take."""
        found = torch.empty((self.n_atoms, self.d), dtype=dtype)
        for seed, rows in enumerate(found.split(ROWS)):
            rows.copy_(smooth_fields(len(rows), self.d, decay=6.0, seed=2 * seed))
        return found


@dataclass
class Measured:
    """One contender.

    Attributes:
        signals: how many the time is measured on.
        ms_per_signal: milliseconds, the median over the repeats; without what is prepared once for a dictionary.
        ratio: ms_per_signal of scikit-learn's orthogonal_mp in the same dtype over this one.
        dictionary, peak: bytes of the dictionary as given, and of what solving took beside it at most.
        error_ratio: ||x - x_hat|| over that of orthogonal_mp in float64, the mean over the signals that it solved.
    """

    tool: str
    dtype: str
    signals: int
    ms_per_signal: float
    ratio: float
    dictionary: int
    peak: int
    error_ratio: float


def compare(problem: Problem) -> Iterator[Measured]:
    """Measure both contenders in both dtypes, one after the other; yields the rows at the end."""
    found = {}
    for dtype in ("float64", "float32"):
        for tool in (REFERENCE, "probe"):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                found[tool, dtype] = pool.submit(_measure, problem, tool, dtype).result()
    exact = found[REFERENCE, "float64"][2]
    for (tool, dtype), (ms, peak, errors) in found.items():
        size = problem.n_atoms * problem.d * getattr(torch, dtype).itemsize
        ratio = statistics.mean(a / b for a, b in zip(errors, exact, strict=False))
        yield Measured(tool, dtype, len(errors), ms, found[REFERENCE, dtype][0] / ms, size, peak, ratio)


def _measure(problem: Problem, tool: str, dtype: str) -> tuple[float, int, list[float]]:
    """Milliseconds a signal, bytes, and the norms of the residuals."""
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(problem.threads)
    warnings.simplefilter("ignore")  # scikit-learn says where it stops early
    kind: torch.dtype = getattr(torch, dtype)
    dictionary = problem.dictionary(kind)
    x = smooth_fields(problem.signals, problem.d, decay=1.0, seed=1).to(kind)
    x = x[:FEW] if tool == REFERENCE else x
    solve = _theirs(problem) if tool == REFERENCE else _ours(problem)
    with threadpool_limits(problem.threads):
        solve(dictionary[:ROWS])(x[:1])  # loads what is loaded late
        before = resident_bytes()
        ready = solve(dictionary)
        runs = [timed(ready, x) for _ in range(problem.repeats)]
    peak = resident_bytes(most=True) - before
    errors = torch.linalg.vector_norm(x.double() - runs[0][1].double(), dim=1).tolist()
    return 1e3 * statistics.median(seconds for seconds, _ in runs) / len(x), peak, errors


def _ours(problem: Problem) -> Prepare:
    def prepare(dictionary: Tensor) -> Solver:
        ready = Dictionary(dictionary, dictionary.dtype)
        ready.gram_fits = False
        return lambda x: ready.reconstruct(omp(ready, x, [problem.atoms]), problem.atoms)

    return prepare


def _theirs(problem: Problem) -> Prepare:
    from sklearn.linear_model import orthogonal_mp

    def prepare(dictionary: Tensor) -> Solver:
        a = dictionary.numpy().T

        def solve(x: Tensor) -> Tensor:
            code = orthogonal_mp(a, x.numpy().T, n_nonzero_coefs=problem.atoms, precompute=False)
            return torch.from_numpy((a @ code.reshape(a.shape[1], -1)).T)

        return solve

    return prepare
