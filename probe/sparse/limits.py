"""Limits of the arithmetic: the floor of the Schur diagonal, and the dtype that a path needs."""

from collections.abc import Iterable

import torch

SCHUR_FLOOR = {torch.float32: 2e-5, torch.float64: 1e-10}
"""Atoms with less squared norm left than this lie in the span of the chosen ones, up to rounding."""
OLS_FLOOR = {torch.float32: 1e-3, torch.float64: 1e-10}
"""The same for the choice by |c| / sqrt(s), which favours small s: float32 needs a larger margin."""

DOUBT = 64
"""After k steps, ||r||^2 by subtraction has an error of up to about k epsilon ||x||^2. Once it is below this many times
that error, residual and correlations are recomputed, and the ||r||^2 of that residual takes the place of ||x||^2: no
path stops for lack of digits, whatever the levels."""


def floor(dtype: torch.dtype, ols: bool) -> float:
    """Smallest squared norm left of an atom that may be chosen."""
    return (OLS_FLOOR if ols else SCHUR_FLOOR)[dtype]


def working_dtype(n_atoms: int, d: int, levels: Iterable[int], *, ols: bool = False) -> torch.dtype:
    """float32 for OMP paths of up to half of min(N, d) atoms; float64 beyond, and for OLS.

    Beyond about half, what is left of an atom outside the span of the chosen ones is too close to float32 rounding. OLS
    divides by it, and in float32 mistakes rounding for a gain on rank-deficient dictionaries. Levels of min(N, d) and
    more do not count: they are projected on the span (in float64) without a greedy path.
    """
    full = min(n_atoms, d)
    return torch.float64 if ols or any(full / 2 < level < full for level in levels) else torch.float32
