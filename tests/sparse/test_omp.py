"""OMP against scikit-learn's float64 orthogonal_mp."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import orthogonal_mp

from probe.dictionary import dct, random_orthogonal, unit_rows
from probe.sparse import omp

pytestmark = pytest.mark.usefixtures("with_and_without_gram")


def gaussian(rows: int, columns: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dictionary(kind: str, n: int, d: int, seed: int) -> torch.Tensor:
    base = gaussian(n, d, seed)
    if kind == "correlated":
        base = base + 4 * gaussian(1, d, seed + 1)
    elif kind == "duplicated":
        base[n - n // 2 :] = base[: n // 2]
    elif kind == "rank deficient":
        rank = max(min(n, d) // 3, 1)
        base = gaussian(n, rank, seed) @ gaussian(rank, d, seed + 1)
    return unit_rows(base)


def reference(atoms: torch.Tensor, signals: torch.Tensor, k: int) -> tuple[list[set[int]], np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where it stops early
        codes = orthogonal_mp(atoms.T.numpy(), signals.T.numpy(), n_nonzero_coefs=k).reshape(len(atoms), -1)
    errors = np.square(signals.T.numpy() - atoms.T.numpy() @ codes).sum(0)
    return [set(np.flatnonzero(column)) for column in codes.T], errors


def check(atoms: torch.Tensor, signals: torch.Tensor, k: int) -> None:
    codes = omp(atoms, signals, levels=[k])
    supports, errors = reference(atoms, signals, k)
    # Which of two parallel atoms wins is rounding: name each by the first that it is parallel to.
    name = ((atoms @ atoms.T).abs() > 1 - 1e-12).to(torch.uint8).argmax(1).tolist()
    for row, theirs, error in zip(codes.support, supports, errors, strict=True):
        mine = {name[i] for i in row.tolist() if i >= 0}
        assert mine == {name[i] for i in theirs} or error < 1e-12  # at rounding level the last choices are noise
    assert np.allclose(codes.squared_error[:, -1].numpy(), errors, atol=1e-6)


@pytest.mark.parametrize("kind", ["random", "correlated", "duplicated", "rank deficient"])
@pytest.mark.parametrize(("n", "d", "k"), [(120, 60, 12), (40, 60, 12), (60, 60, 20)])
def test_supports_and_residuals_are_scikit_learns(kind, n, d, k):
    atoms = dictionary(kind, n, d, seed=n)
    check(atoms, gaussian(20, d, seed=1), k)


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["random", "correlated", "duplicated", "rank deficient"]),
    n=st.integers(2, 40),
    d=st.integers(2, 30),
    data=st.data(),
)
def test_against_scikit_learn_on_many_problems(kind, n, d, data):
    # scikit-learn's own last steps at full rank are rounding; stay below it.
    rank = max(min(n, d) // 3, 1) if kind == "rank deficient" else min(n // 2 or 1, d)
    k = data.draw(st.integers(1, rank))
    seed = data.draw(st.integers(0, 10_000))
    check(dictionary(kind, n, d, seed), gaussian(3, d, seed + 7), k)


def test_levels_are_one_nested_path():
    atoms, signals = dictionary("correlated", 80, 40, 0), gaussian(10, 40, 1)
    codes = omp(atoms, signals, levels=[1, 3, 10, 30])
    for level in codes.levels:
        alone = omp(atoms, signals, levels=[level])
        assert torch.equal(alone.support, codes.support[:, :level])
        x = codes.reconstruct(atoms, level)
        assert torch.allclose(x, alone.reconstruct(atoms, level), atol=1e-10)
        error = (signals - x).square().sum(1)
        assert torch.allclose(error, codes.squared_error[:, codes.levels.index(level)], atol=1e-10)
        chosen = atoms[codes.support[:, :level]]
        assert torch.einsum("nd,nkd->nk", signals - x, chosen).abs().max() < 1e-9  # the residual is orthogonal to them
    assert (codes.squared_error.diff(dim=1) <= 1e-12).all()


def test_orthonormal_dictionaries_take_the_largest_coefficients():
    signals = gaussian(7, 24, 3)
    for atoms in (random_orthogonal(24, 0), dct((2, 3, 4))):
        codes = omp(atoms, signals, levels=[1, 5, 24])
        largest = (signals @ atoms.T).square().sort(1, descending=True).values
        for position, level in enumerate(codes.levels):
            assert torch.allclose(codes.squared_error[:, position], largest[:, level:].sum(1), atol=1e-10)
        check(atoms, signals, 9)


def test_exactly_sparse_signals_stop_when_they_are_done():
    atoms = dictionary("random", 60, 50, 5)
    signals = 2 * atoms[[3, 7]] + atoms[[10, 11]]
    codes = omp(atoms, signals, levels=[2, 10])
    assert codes.used(10).tolist() == [2, 2]
    assert codes.squared_error.max() < 1e-20
    assert {int(i) for i in codes.support[0] if i >= 0} == {3, 10}


def test_zero_signals_duplicates_and_levels_beyond_the_dictionary():
    atoms = dictionary("random", 5, 8, 0)
    twice = torch.cat([atoms, atoms])
    signals = torch.cat([torch.zeros(1, 8, dtype=torch.float64), gaussian(3, 8, 1)])
    codes = omp(twice, signals, levels=[2, 8, 100])
    assert codes.used(100).tolist() == [0, 5, 5, 5]  # no copy of a chosen atom is chosen
    assert (codes.support[:, :5] < 5).all()  # ties go to the lowest index
    projected = signals @ torch.linalg.pinv(atoms) @ atoms
    assert torch.allclose(codes.reconstruct(twice, 100), projected, atol=1e-10)
    assert torch.equal(codes.squared_error[:, 1], codes.squared_error[:, 2])


def test_atoms_normalised_in_float32_keep_the_guards():
    atoms = torch.nn.functional.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)))
    codes = omp(torch.cat([atoms, atoms]), gaussian(20, 8, 1).float(), levels=[2, 8])
    assert codes.used(8).tolist() == [5] * 20


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_scale_of_a_signal_does_not_matter(scale):
    atoms, signals = dictionary("correlated", 50, 30, 0), gaussian(5, 30, 1)
    assert torch.equal(omp(atoms, scale * signals, [12]).support, omp(atoms, signals, [12]).support)


def test_the_chunk_size_does_not_matter():
    atoms, signals = dictionary("random", 50, 30, 0), gaussian(70, 30, 1)
    small = omp(atoms, signals, [12], memory=1)
    assert torch.equal(small.support, omp(atoms, signals, [12]).support)


def test_float32_agrees_to_its_precision():
    atoms, signals = dictionary("random", 100, 60, 0), gaussian(20, 60, 1)
    low, high = omp(atoms, signals, [20], dtype=torch.float32), omp(atoms, signals, [20])
    assert low.squared_error.dtype == torch.float32
    # Choices may differ where two atoms are within rounding; the errors then agree all the same.
    assert torch.allclose(low.squared_error.double(), high.squared_error, rtol=1e-3)


def test_what_does_not_fit_is_refused():
    atoms = dictionary("random", 5, 8, 0)
    for wrong, signals, levels, message in [
        (atoms, gaussian(2, 7, 0), [1], "must be"),
        (atoms, torch.full((1, 8), torch.inf), [1], "finite"),
        (atoms, torch.full((1, 8), torch.nan), [1], "finite"),
        (atoms, gaussian(2, 8, 0), [0], "at least 1"),
        (atoms, gaussian(2, 8, 0), [3.0], "must be integers"),
        (atoms[:0], gaussian(2, 8, 0), [1], "at least one atom"),
    ]:
        with pytest.raises(ValueError, match=message):
            omp(wrong, signals, levels)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 30), d=st.integers(2, 30), data=st.data())
def test_atoms_and_signals_of_any_scale(n, d, data):
    """Scales change no choice; weights are those of the atoms as given; atoms of zeros are never chosen."""
    seed = data.draw(st.integers(0, 10_000))
    k = data.draw(st.integers(1, max(min(n, d) // 2, 1)))
    atoms, signals = dictionary("random", n, d, seed), gaussian(3, d, seed + 1)
    zero = data.draw(st.booleans())
    if zero:
        atoms[n - 1] = 0
    exponents = torch.randint(-140, 140, (n, 1), generator=torch.Generator().manual_seed(seed))
    larger = data.draw(st.sampled_from([2.0**-300, 2.0**-30, 1.0, 2.0**300]))
    plain, scaled = omp(atoms, signals, [k]), omp(torch.ldexp(atoms, exponents), larger * signals, [k])
    assert torch.equal(plain.support, scaled.support)
    assert torch.allclose(scaled.reconstruct(torch.ldexp(atoms, exponents), k) / larger, plain.reconstruct(atoms, k))
    if zero:
        assert (plain.support != n - 1).all()


def test_float32_signals_far_from_one():
    atoms, signals = dictionary("random", 400, 300, 0).float(), gaussian(3, 300, 1).float()
    plain = omp(atoms, signals, [100])
    for scale in (2.0**-110, 2.0**100):
        assert torch.equal(omp(atoms, scale * signals, [100]).support, plain.support)


@pytest.mark.parametrize("kind", ["random", "correlated", "duplicated"])
def test_larger_problems_are_scikit_learns(kind):
    atoms = dictionary(kind, 700, 400, seed=3)  # large enough for the compiled code
    check(atoms, gaussian(8, 400, seed=1), 120)


def test_methods_and_dtypes_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="methods: omp, ols"):
        omp(dictionary("random", 5, 8, 0), gaussian(2, 8, 0), [1], method="lasso")
    with pytest.raises(ValueError, match="float32 or float64"):
        omp(dictionary("random", 5, 8, 0), gaussian(2, 8, 0), [1], dtype=torch.float16)
