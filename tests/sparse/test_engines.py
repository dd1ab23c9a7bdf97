"""Every formulation of the greedy path takes the same path."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from probe.sparse import Dictionary, batched, cholesky, compiled, directions, kernel, omp, working_dtype
from probe.sparse.omp import LONG, engine

KINDS = ["random", "correlated", "duplicated", "rank deficient"]
OTHERS = {
    "cholesky": lambda *a, **k: cholesky.pursue(*a, **k, panel=7),  # paths of several panels
    "compiled": compiled.pursue,
    "directions": directions.pursue,
}
ENGINES = {"batched": batched.pursue, **OTHERS}


@pytest.mark.parametrize("ols", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", list(OTHERS))
def test_formulations_agree_with_batched_v0(name, kind, ols, atoms_of, gaussian):
    ready, x = Dictionary(atoms_of(kind, 90, 60, 0), torch.float64), gaussian(12, 60, 1)
    x[3] = 0
    x[4] = 3 * ready.unit[5] - ready.unit[20]
    levels = (1, 4, 19) if kind == "rank deficient" else (1, 4, 30)  # of rank 20
    given = (ready.unit, ready.gram, x, levels)
    theirs, mine = (f(*given, ols=ols, memory=1 << 20) for f in (batched.pursue, OTHERS[name]))
    assert torch.equal(mine.support, theirs.support)
    for a, b in zip(mine.coefficients, theirs.coefficients, strict=True):
        assert torch.allclose(a, b, atol=1e-9)
    assert torch.allclose(mine.squared_error, theirs.squared_error, rtol=1e-9, atol=1e-20)


@pytest.mark.slow
@pytest.mark.parametrize("ols", [False, True])
@pytest.mark.parametrize("kind", KINDS[:3])
def test_a_path_that_foresees_its_atoms_is_the_same(kind, ols, atoms_of, gaussian):
    """Three tiles, a level in the middle, and one signal that is done between rows that were made ahead."""
    done, depth = kernel.LONG + 21, kernel.LONG + 50
    ready, x = Dictionary(atoms_of(kind, 1200, 700, 0), torch.float64), gaussian(4, 700, 1)
    x[3] = gaussian(1, done, 2) @ ready.unit[:done]
    given = (ready.unit, ready.gram, x, (5, kernel.LONG + 1, depth))
    theirs, mine = (f(*given, ols=ols, memory=1 << 28) for f in (batched.pursue, compiled.pursue))
    assert torch.equal(mine.support[:3], theirs.support[:3])
    assert torch.allclose(mine.squared_error, theirs.squared_error, rtol=1e-9, atol=1e-20)
    for a, b in zip(mine.coefficients, theirs.coefficients, strict=True):
        assert torch.allclose(a[:3], b[:3], atol=1e-9)


@pytest.mark.parametrize("name", ["batched", "compiled", "directions"])
@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays_finite_and_monotone_beyond_the_rank(name, kind, atoms_of, gaussian):
    """Depths that float32 does not hold to: the result may be less good, never NaN, nor worse than a level before."""
    pursue = ENGINES[name]
    ready, x = Dictionary(atoms_of(kind, 60, 60, 0), torch.float32), gaussian(6, 60, 1).float()
    for ols in (False, True):
        codes = pursue(ready.unit, ready.gram, x, (5, 15, 25, 40, 60), ols=ols, memory=1 << 20)
        assert all(bool(torch.isfinite(code).all()) for code in codes.coefficients)
        assert (codes.squared_error.diff(dim=1) <= 0).all()
        for position, level in enumerate(codes.levels):  # the error is that of the code
            error = (x - codes.reconstruct(ready.unit, level)).square().sum(1)
            assert torch.allclose(error, codes.squared_error[:, position], rtol=1e-3, atol=1e-4)
        for row in codes.support.tolist():
            chosen = [atom for atom in row if atom >= 0]
            assert len(set(chosen)) == len(chosen)


@pytest.mark.parametrize("name", list(ENGINES))
def test_a_faint_remainder_is_pursued_whatever_the_levels(name, atoms_of, gaussian):
    """Six strong atoms, and what is left when they are gone: 1e-9 of the signal, so 1e-18 of its energy."""
    ready = Dictionary(atoms_of("random", 90, 60, 0), torch.float64)
    x = gaussian(8, 6, 2) @ ready.unit[::16] + 1e-9 * gaussian(8, 60, 1)
    exact = ENGINES[name](ready.unit, ready.gram, x, tuple(range(1, 41)), ols=False, memory=1 << 20)
    assert (exact.support >= 0).all()
    assert (exact.squared_error[:, -1].sqrt() < 1e-9 * 60**0.5).all()
    for levels in [(40,), (9, 40), (25, 30, 40)]:
        codes = ENGINES[name](ready.unit, ready.gram, x, levels, ols=False, memory=1 << 20)
        assert torch.equal(codes.support, exact.support)
        assert torch.allclose(codes.squared_error[:, -1], exact.squared_error[:, -1], rtol=1e-4)


@pytest.mark.parametrize("name", list(ENGINES))
def test_a_signal_that_is_done_stops_at_rounding(name, atoms_of, gaussian):
    ready = Dictionary(atoms_of("random", 90, 60, 0), torch.float64)
    x = gaussian(8, 6, 2) @ ready.unit[::16]
    codes = ENGINES[name](ready.unit, ready.gram, x, (40,), ols=False, memory=1 << 20)
    assert (codes.squared_error <= 1e-29 * x.square().sum(1, keepdim=True)).all()
    assert (codes.used(40) < 40).all()


def test_threads_and_memory_do_not_matter(atoms_of, gaussian):
    ready, x = Dictionary(atoms_of("correlated", 700, 90, 0), torch.float64), gaussian(9, 90, 1)  # two tiles
    given = (ready.unit, ready.gram, x, (3, 40))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = compiled.pursue(*given, ols=False, memory=1)
        torch.set_num_threads(4)
        shared = compiled.pursue(*given, ols=False, memory=1 << 30)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(alone.support, shared.support)
    assert torch.equal(alone.squared_error, shared.squared_error)
    assert torch.equal(alone.support, batched.pursue(*given, ols=False, memory=1).support)


def test_the_formulation_follows_size_device_and_what_is_installed(monkeypatch):
    small, large = (Dictionary(torch.randn(n, 8), torch.float32) for n in (50, 3000))
    assert engine(small, 8) is batched.pursue
    assert engine(large, 100) is compiled.pursue
    monkeypatch.setattr(compiled, "available", lambda: False)
    assert engine(large, 100) is batched.pursue
    large.unit = large.unit.to("meta")
    assert engine(large, LONG + 1) is batched.pursue  # float32
    large.unit = large.unit.double()
    assert engine(large, LONG) is batched.pursue
    assert engine(large, LONG + 1) is cholesky.pursue


def test_a_gram_matrix_is_taken_where_four_would_fit(monkeypatch):
    monkeypatch.setattr("probe.sparse.dictionary.free_bytes", lambda: 4 * 4 * 3000**2)
    fits, large, double = (
        Dictionary(torch.randn(n, 8), dtype)
        for n, dtype in [(3000, torch.float32), (3001, torch.float32), (3000, torch.float64)]
    )
    assert [engine(one, 100) for one in (fits, large, double)] == [compiled.pursue, *[directions.pursue] * 2]
    parts = [one.part(torch.arange(50)) for one in (fits, large)]
    assert [engine(one, 3) for one in parts] == [batched.pursue, directions.pursue]
    assert torch.equal(parts[0].gram, fits.gram[:50, :50])


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that an operation returns."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for one in found if isinstance(found, tuple | list) else [found]:
            if isinstance(one, torch.Tensor):
                self.numbers = max(self.numbers, one.numel())
        return found


@pytest.mark.parametrize("method", ["omp", "ols"])
def test_without_gram_matrix_no_array_is_larger_than_dictionary_and_budget(method, monkeypatch, gaussian):
    n_atoms, d = 3000, 48
    monkeypatch.setattr(Dictionary, "gram_fits", False)
    monkeypatch.setattr("probe.sparse.dictionary.BASIS", 1)
    monkeypatch.setattr("probe.sparse.dictionary.BLOCK", 1000)
    atoms, x = gaussian(n_atoms, d, 0), gaussian(200, d, 1)
    with Largest() as largest:
        codes = omp(atoms, x, [4, 9, d], method=method, memory=1 << 20)
    assert largest.numbers <= n_atoms * d
    monkeypatch.undo()
    assert torch.equal(codes.support[:, :9], omp(atoms, x, [4, 9, d], method=method).support[:, :9])


def test_float32_is_for_short_paths_and_on_request(gaussian):
    assert working_dtype(100, 80, [40]) == torch.float32
    assert working_dtype(100, 80, [41]) == torch.float64
    assert working_dtype(100, 80, [40, 80]) == torch.float32  # the whole span needs no greedy path
    assert working_dtype(100, 80, [4], ols=True) == torch.float64
    atoms, signals = gaussian(20, 30, 0).float(), gaussian(3, 30, 1).float()
    assert omp(atoms, signals, [5]).squared_error.dtype == torch.float64
    assert omp(atoms, signals, [5], dtype=torch.float32).squared_error.dtype == torch.float32
    assert omp(Dictionary(atoms, torch.float32), signals, [5]).squared_error.dtype == torch.float32


def test_without_a_folder_to_keep_it_in_the_kernel_is_compiled_anew(monkeypatch):
    def no_folder(**options):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function 'f': no locator available")
        return lambda function: (function, options)

    monkeypatch.setattr(kernel, "njit", no_folder)
    assert kernel._compiled(fastmath=True)(abs) == (abs, {"nogil": True, "fastmath": True})
