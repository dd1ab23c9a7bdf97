"""Orthogonal Matching Pursuit of many signals at once, all levels from one greedy path (paper, Section 4.1).

| symbol | meaning | shape |
|---|---|---|
| A | dictionary, unit-norm atoms as rows | (N, d) |
| X | signals as rows | (n, d) |
| G | Gram matrix A A^T | (N, N) |
| Q | orthonormalised chosen atoms; formed only by ``directions`` | (n, k, d) |
| P | P[i] = A Q_i^T: the dictionary on the chosen directions | (n, k, N) |
| c | correlations of the residual with the atoms, A r | (n, N) |
| s | Schur diagonal: squared norm of what is left of each atom, 1 - sum_k P^2 | (n, N) |

One step for a signal: choose j = argmax |c| (OMP) or argmax |c| / sqrt(s) (OLS, the largest drop of the error; also
called ORMP); the new direction is q = (a_j - Q^T Q a_j) / sqrt(s_j); then c <- c - (q.r) A q and s <- s - (A q)^2. The
formulations differ in where A q comes from:

| module | A q from | used |
|---|---|---|
| ``compiled`` | G and P (v0 of Zhu et al., "Batch orthogonal matching pursuit", 2020), in numba | CPU |
| ``batched`` | the same in torch | small problems, GPU up to ``LONG`` atoms or in float32, or where numba is missing |
| ``cholesky`` | G and the inverse Cholesky factor of the chosen atoms | GPU beyond ``LONG`` atoms, in float64 |
| ``directions`` | q itself, and A | where G does not fit (``Dictionary.gram_fits``) |
| ``closed_form`` | no path: the largest coefficients | orthonormal dictionaries |
| ``closed_form`` | no path: the projection on the span | levels of min(N, d) and more |
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from probe.precision import full_float32
from probe.sparse import batched, cholesky, compiled, directions
from probe.sparse.closed_form import largest, project
from probe.sparse.codes import SparseCodes, concatenate
from probe.sparse.dictionary import Dictionary, power_of_two

Method = Literal["omp", "ols"]
LONG = 370
"""Path length from which the inverse Cholesky factor is faster than v0 on a GPU (measured at N = 4096)."""
SMALL = 1 << 16
"""Entries of one signal's P below which loading the compiled code does not pay off."""


class Engine(Protocol):
    def __call__(
        self, unit: Tensor, gram: Tensor, x: Tensor, levels: tuple[int, ...], *, ols: bool, memory: int
    ) -> SparseCodes: ...


@torch.no_grad()
def omp(
    dictionary: Tensor | Dictionary,
    signals: Tensor,
    levels: Sequence[int],
    *,
    method: Method = "omp",
    dtype: torch.dtype | None = None,
    memory: int | None = None,
) -> SparseCodes:
    """Orthogonal Matching Pursuit, or Orthogonal Least Squares.

    Atoms and signals may have any scale: an atom is chosen by its correlation as if it had unit norm, an atom of zeros
    never, and weights are those of the atoms as given. A signal stops early, and keeps its code at all further levels,
    once its residual is at rounding level, or no atom outside the span of its support is left. Ties go to the lowest
    index. Levels of min(N, d) and more are served by one projection on the span of the dictionary, in float64, with as
    many atoms as its rank, and the greedy path goes only to the deepest level below.

    Args:
        dictionary: atoms as rows (N, d), or a ``Dictionary``, which reuses its Gram matrix.
        signals: signals as rows (n, d), on the same device.
        levels: numbers of atoms, each >= 1.
        method: selection; "omp" by the correlation with the residual, "ols" by the drop of the error.
        dtype: of the arithmetic; default: that of a ``Dictionary``, else float64. In float32 a path ends early on
            coherent dictionaries.
        memory: bytes for the work arrays; at least one signal is always processed. Default: 1 GiB on a CPU, and half of
            what is free on a GPU, which is faster the more signals it has.

    Raises:
        ValueError: shapes do not match, a value is not finite, a level is below 1, or the method or dtype is unknown.
    """
    wanted = tuple(sorted(set(levels)))
    ready = _checked(dictionary, signals, wanted, method, dtype)
    scaled, exponent = power_of_two(signals)
    memory = _room(signals.device) if memory is None else memory
    at_once = 256 if signals.device.type == "cpu" else 1024
    with full_float32():  # TF32 would choose other atoms
        parts = [_solve(ready, x.to(ready.dtype), wanted, method, memory) for x in scaled.split(at_once)]
    found, scale = concatenate(parts), exponent[:, None]
    norms = ready.norm[found.support.clamp(min=0)]
    return replace(
        found,
        coefficients=tuple(torch.ldexp(code, scale) / norms[:, : code.shape[1]] for code in found.coefficients),
        squared_error=torch.ldexp(torch.ldexp(found.squared_error, scale), scale),
    )


def _checked(
    dictionary: Tensor | Dictionary, signals: Tensor, levels: tuple[int, ...], method: str, dtype: torch.dtype | None
) -> Dictionary:
    atoms = dictionary.unit if isinstance(dictionary, Dictionary) else dictionary
    if atoms.ndim != 2 or signals.ndim != 2 or atoms.shape[1] != signals.shape[1]:
        raise ValueError(
            f"dictionary and signals must be (N, d) and (n, d), not {tuple(atoms.shape)} and {tuple(signals.shape)}"
        )
    if not levels or not all(isinstance(level, int) and level >= 1 for level in levels):
        raise ValueError(f"levels must be integers of at least 1, not {levels}")
    if method not in ("omp", "ols"):
        raise ValueError(f"unknown method {method!r}; methods: omp, ols")
    if not torch.isfinite(signals).all():
        raise ValueError("the signals have values that are not finite")
    if dtype not in (None, torch.float32, torch.float64):
        raise ValueError(f"dtype must be float32 or float64, not {dtype}")
    if not isinstance(dictionary, Dictionary):
        return Dictionary(dictionary, dtype or torch.float64)
    if dtype not in (None, dictionary.dtype):
        raise ValueError(f"the dictionary was prepared in {dictionary.dtype}, not in {dtype}")
    return dictionary


def _room(device: torch.device) -> int:
    """Bytes for the work arrays."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else 1 << 30


def _solve(ready: Dictionary, x: Tensor, levels: tuple[int, ...], method: Method, memory: int) -> SparseCodes:
    """Codes of scaled signals in the unit atoms."""
    if ready.orthonormal:
        return largest(ready.unit, x, levels)
    greedy = tuple(level for level in levels if level < min(ready.unit.shape))
    beyond = levels[len(greedy) :]
    codes = None
    if greedy:
        pursue = engine(ready, greedy[-1])
        gram = ready.gram if ready.gram_fits else ready.unit[:0, :0]  # not used
        codes = pursue(ready.unit, gram, x, greedy, ols=method == "ols", memory=memory)
    return project(ready, x, codes, beyond) if beyond or codes is None else codes


def engine(dictionary: Dictionary, depth: int) -> Engine:
    """The formulation for a path of ``depth`` atoms, by size, device and dtype; never by the number of signals."""
    if not dictionary.gram_fits:
        return directions.pursue
    if dictionary.unit.device.type != "cpu":
        return cholesky.pursue if depth > LONG and dictionary.dtype == torch.float64 else batched.pursue
    if depth * len(dictionary) < SMALL or not compiled.available():
        return batched.pursue
    return compiled.pursue
