"""What arithmetic allows: the floor of the Schur diagonal, and which dtype a path needs."""

from collections.abc import Iterable

import torch

SCHUR_FLOOR = {torch.float32: 2e-5, torch.float64: 1e-10}
"""Atoms with less than this squared norm left lie in the span of the chosen ones, up to rounding."""
OLS_FLOOR = {torch.float32: 1e-3, torch.float64: 1e-10}
"""The same where atoms are chosen by |c| / sqrt(s), which seeks out small s: float32 then needs more distance."""

DOUBT = 64
"""After k steps, ||r||^2 by subtraction is off by up to about k epsilon ||x||^2. Once it is below this many times that,
residual and correlations are computed afresh, and ||x||^2 here becomes the ||r||^2 of that residual: so no path stops
for want of digits, whichever levels were asked for."""


def floor(dtype: torch.dtype, ols: bool) -> float:
    """The least squared norm left of an atom that may be chosen."""
    return (OLS_FLOOR if ols else SCHUR_FLOOR)[dtype]


def working_dtype(n_atoms: int, d: int, levels: Iterable[int], *, ols: bool = False) -> torch.dtype:
    """float32 for OMP paths of up to half of min(N, d) atoms; float64 beyond, and for OLS.

    Beyond about half, what is left of an atom outside the span of the chosen ones is too near the rounding of float32;
    OLS divides by it, and float32 then takes rounding for a gain on rank-deficient dictionaries. Levels of min(N, d)
    and more do not count: they are projected on the span (in float64) without a greedy path.
    """
    full = min(n_atoms, d)
    return torch.float64 if ols or any(full / 2 < level < full for level in levels) else torch.float32
