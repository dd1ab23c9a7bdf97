"""OLS against brute force: the atom whose least-squares fit, together with those chosen, leaves the least."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.sparse import Dictionary, compiled, omp

pytestmark = pytest.mark.usefixtures("with_and_without_gram")


def brute_force(atoms: np.ndarray, x: np.ndarray, k: int) -> tuple[list[int], float]:
    chosen: list[int] = []
    error = float(x @ x)
    for _ in range(k):
        errors = np.full(len(atoms), np.inf)
        for j in set(range(len(atoms))) - set(chosen):
            a = atoms[[*chosen, j]].T
            errors[j] = np.square(x - a @ np.linalg.lstsq(a, x, rcond=None)[0]).sum()
        chosen.append(int(errors.argmin()))
        error = errors.min()
    return chosen, error


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 14), d=st.integers(2, 12), scale=st.booleans(), data=st.data())
def test_supports_and_errors_are_those_of_brute_force(n, d, scale, data):
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 10_000)))
    k = data.draw(st.integers(1, max(min(n, d) - 1, 1)))
    atoms = torch.randn(n, d, dtype=torch.float64, generator=generator)
    if scale:
        atoms = atoms * 10.0 ** torch.randint(-6, 6, (n, 1), generator=generator)
    x = torch.randn(2, d, dtype=torch.float64, generator=generator)
    codes = omp(atoms, x, [k], method="ols")
    ready = Dictionary(atoms, torch.float64)
    numba = compiled.pursue(ready.unit, ready.gram, x, (k,), ols=True, memory=1) if k < min(n, d) else codes
    for i, row in enumerate(x):
        chosen, error = brute_force(ready.unit.numpy(), row.numpy(), k)
        for found in (codes, numba):
            assert float(found.squared_error[i, 0]) == pytest.approx(error, abs=1e-9)
            if k < min(n, d) and error > 1e-9:
                assert found.support[i].tolist() == chosen


def test_ols_fits_at_least_as_well_as_omp_on_average(atoms_of, gaussian):
    atoms, x = atoms_of("correlated", 80, 50, 0), gaussian(40, 50, 1)
    ols, greedy = (omp(atoms, x, [15], method=method).squared_error.mean() for method in ("ols", "omp"))
    assert ols < greedy
