"""How fast sparse codes are found: ours against scikit-learn and SPAMS, in one dictionary, each in both dtypes.

| contender | what it does |
|---|---|
| scikit-learn orthogonal_mp_gram | OMP of one signal after the other on a given Gram matrix, which it copies |
| scikit-learn orthogonal_mp | the same without a Gram matrix |
| spams omp | ORMP/OLS selection in C++; makes the Gram matrix in every call |
| probe | ``omp`` with a ``Dictionary`` |
| probe ols | the same with the selection of SPAMS |

A time is that of a further signal: that of a call with n signals less that of a call with few, over the difference. So
Gram matrices, compilation and loading are not in it, for any of them. Few is one, and 11 for SPAMS, which makes its
Gram matrix from 11 signals on. Where signals are shared out to threads, few and n are multiples of the threads.
"""

import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probe.sparse import Dictionary, omp

Solver = Callable[[Tensor], Tensor]
REFERENCE = "scikit-learn orthogonal_mp_gram"
SPAMS_FEW = 11


@dataclass
class Measured:
    """One contender.

    Attributes:
        dtype, threads: its arithmetic, and how many threads it may use.
        signals: how many signals the time is measured on.
        ms_per_signal: milliseconds a further signal, the median over the repeats.
        ratio: ms_per_signal of scikit-learn's orthogonal_mp_gram in the same dtype over this one.
        error_ratio: ||x - x_hat|| over that of orthogonal_mp_gram in float64, the mean over the signals that it solved.
    """

    tool: str
    dtype: str
    threads: int
    signals: int
    ms_per_signal: float
    ratio: float
    error_ratio: float


def smooth_fields(n: int, d: int, *, decay: float, seed: int) -> Tensor:
    """Random fields of 4 channels on a square as unit rows (n, d), with amplitudes (f^2 + 1/side^2)^(-decay / 2).

    Raises:
        ValueError: d is not 4 times a square.
    """
    side = round((d / 4) ** 0.5)
    if 4 * side**2 != d:
        raise ValueError(f"d must be 4 times a square, such as 1024 or 4096, not {d}")
    noise = torch.randn(n, 4, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    f = torch.fft.fftfreq(side, dtype=torch.float64)
    amplitude = (f[:, None] ** 2 + f[None] ** 2 + side**-2) ** (-decay / 2)
    fields = torch.fft.ifft2(torch.fft.fft2(noise) * amplitude).real.flatten(1)
    return torch.nn.functional.normalize(fields, dim=1)


def compare(
    dictionary: Tensor, *, atoms: int, signals: int = 32, repeats: int = 3, threads: int = 1
) -> Iterator[Measured]:
    """Measure all contenders in turn, ``repeats`` times; yields one row each at the end.

    Args:
        dictionary: atoms as rows (N, d) on the CPU.
        atoms: atoms a code.
        signals: for ours and SPAMS; orthogonal_mp_gram gets 4 of them, orthogonal_mp two. They are rougher fields than
            the atoms where d allows, and otherwise noise.

    Raises:
        ValueError: ``atoms`` is not below N and d, where there is nothing to choose.
    """
    from threadpoolctl import threadpool_limits

    if not 1 <= atoms < min(dictionary.shape):
        raise ValueError(f"codes of {atoms} atoms are no choice in a dictionary of {tuple(dictionary.shape)}")
    dictionary = Dictionary(dictionary, torch.float64).unit  # the others expect unit atoms
    x = _signals(_whole(SPAMS_FEW, threads) + _whole(signals, threads), dictionary.shape[1])
    measured: dict[tuple[str, str], tuple[list[float], Tensor]] = {}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn says where it stops early
            for dtype in (torch.float32, torch.float64):
                unit, name = Dictionary(dictionary, dtype), str(dtype).removeprefix("torch.")
                for tool, (solve, few, many) in _contenders(unit, atoms, signals, threads).items():
                    rows = x[:many].to(dtype)
                    code, times = solve(rows[:few]), []
                    for _ in range(repeats):
                        base, _ = timed(solve, rows[:few])
                        whole, code = timed(solve, rows)
                        times.append(max(whole - base, 1e-9) / (many - few))
                    measured[tool, name] = times, code
    finally:
        torch.set_num_threads(before)

    def error(code: Tensor) -> Tensor:
        return torch.linalg.vector_norm(x[: len(code)] - code.double() @ dictionary, dim=1)

    exact = error(measured[REFERENCE, "float64"][1])
    for (tool, name), (times, code) in measured.items():
        n, median = min(len(code), len(exact)), statistics.median(times)
        yield Measured(
            tool=tool,
            dtype=name,
            threads=threads,
            signals=len(code),
            ms_per_signal=1e3 * median,
            ratio=statistics.median(measured[REFERENCE, name][0]) / median,
            error_ratio=float((error(code[:n]) / exact[:n]).mean()),
        )


def _signals(n: int, d: int) -> Tensor:
    if 4 * round((d / 4) ** 0.5) ** 2 == d:
        return smooth_fields(n, d, decay=1.0, seed=1)
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def timed(solve: Solver, x: Tensor) -> tuple[float, Tensor]:
    """Seconds, and what the solver returns."""
    began = time.perf_counter()
    code = solve(x)
    return time.perf_counter() - began, code


def _contenders(unit: Dictionary, atoms: int, signals: int, threads: int) -> dict[str, tuple[Solver, int, int]]:
    """Solvers that map signals (n, d) to dense codes (n, N), and how few and how many signals each is timed on."""
    from sklearn.linear_model import orthogonal_mp, orthogonal_mp_gram

    a, gram = unit.unit.numpy(), unit.gram.numpy()

    def dense(code: NDArray[Any]) -> Tensor:
        return torch.from_numpy(code.reshape(len(a), -1).T)

    def with_gram(x: Tensor) -> Tensor:
        return dense(orthogonal_mp_gram(gram, a @ x.numpy().T, n_nonzero_coefs=atoms))

    def without(x: Tensor) -> Tensor:
        return dense(orthogonal_mp(a.T, x.numpy().T, n_nonzero_coefs=atoms, precompute=False))

    def ours(method: str) -> Solver:
        def solve(x: Tensor) -> Tensor:
            codes = omp(unit, x, [atoms], method=method)  # type: ignore[arg-type]
            support, code = codes.sparse(atoms)
            return code.new_zeros((len(x), len(a))).scatter_add_(1, support.clamp(min=0), code)

        return solve

    more = _whole(signals, threads)
    found: dict[str, tuple[Solver, int, int]] = {
        REFERENCE: (with_gram, 1, min(signals, 4)),
        "scikit-learn orthogonal_mp": (without, 1, 2),
    }
    with suppress(ImportError):
        import spams

        fortran, few = np.asfortranarray(a.T), _whole(SPAMS_FEW, threads)

        def spams_omp(x: Tensor) -> Tensor:
            # Its default eps depends on the scale: small signals then get no atom at all.
            code = spams.omp(np.asfortranarray(x.numpy().T), fortran, L=atoms, eps=0.0, numThreads=threads)
            return torch.from_numpy(code.toarray().T)

        found["spams omp"] = (spams_omp, few, few + more)
    for name, method in (("probe", "omp"), ("probe ols", "ols")):
        found[name] = (ours(method), threads, threads + more)
    return found


def _whole(signals: int, threads: int) -> int:
    """The next multiple of the threads, so that all of them have as much to do."""
    return -(-signals // threads) * threads
