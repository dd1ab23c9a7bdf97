"""Levels of min(N, d) and more are the projection on the span."""

import pytest
import torch

from probe.sparse import omp
from probe.sparse.dictionary import Dictionary, independent

pytestmark = pytest.mark.usefixtures("with_and_without_gram")


@pytest.mark.parametrize(("n", "d"), [(20, 30), (30, 30), (45, 30)])
@pytest.mark.parametrize("kind", ["random", "correlated", "duplicated", "rank deficient"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_last_level_is_the_projection(n, d, kind, dtype, atoms_of, gaussian):
    atoms, x = atoms_of(kind, n, d, 0), gaussian(5, d, 1)
    x[0] = 0
    codes = omp(atoms.to(dtype), x.to(dtype), [3, 9, d, 10 * d], dtype=dtype)
    exact = x @ torch.linalg.pinv(atoms, rtol=1e-8) @ atoms
    rounding = 1e-10 if dtype == torch.float64 else 1e-3
    for level in (d, 10 * d):
        found = codes.reconstruct(atoms.to(dtype), level)
        assert torch.allclose(found.double(), exact, atol=rounding)
        assert torch.equal(codes.used(level), codes.used(d))
    assert int(codes.used(d)[0]) == 0
    rank = int(torch.linalg.matrix_rank(atoms))
    assert int(codes.used(d).max()) <= rank
    assert (codes.squared_error.diff(dim=1) <= 0).all()
    alone = omp(atoms.to(dtype), x.to(dtype), [9], dtype=dtype)
    assert torch.equal(codes.support[:, :9], alone.support)  # still nested


def test_only_the_whole_span(atoms_of, gaussian):
    atoms, x = atoms_of("random", 12, 20, 0), gaussian(3, 20, 1)
    codes = omp(atoms, x, [12, 50])
    assert torch.allclose(codes.coefficients[0].gather(1, codes.support.argsort(1)), x @ torch.linalg.pinv(atoms))
    assert [part.shape for part in codes.sparse(50)] == [(3, 12), (3, 12)]
    none = omp(torch.zeros(4, 20), x.float(), [1, 4])
    assert none.used(4).tolist() == [0, 0, 0]
    assert torch.allclose(none.squared_error[:, 0], x.float().double().square().sum(1))


def test_the_basis_is_independent_and_spans(atoms_of):
    atoms = atoms_of("rank deficient", 30, 24, 0)
    chosen, factor = independent(atoms)
    assert len(chosen) == int(torch.linalg.matrix_rank(atoms)) == 8
    assert torch.allclose(factor @ factor.T, atoms[chosen] @ atoms[chosen].T, atol=1e-12)


@pytest.mark.parametrize("kind", ["random", "correlated", "duplicated", "rank deficient"])
def test_a_basis_found_in_blocks_spans_as_well(kind, atoms_of, gaussian, monkeypatch):
    """200 atoms, 48 at a time; the first ones are zeros, copies of one atom, and scaled so that they hardly differ."""
    monkeypatch.setattr("probe.sparse.dictionary.BASIS", 1)
    atoms = atoms_of(kind, 200, 24, 0)
    atoms[:10], atoms[10:60] = 0, atoms[60]
    atoms[30:40] += 1e-7 * gaussian(10, 24, 3)  # within rounding of the floor
    chosen, factor = independent(torch.nn.functional.normalize(atoms, dim=1))
    rank = int(torch.linalg.matrix_rank(atoms, rtol=1e-5))
    assert len(set(chosen.tolist())) == len(chosen) == rank
    unit = torch.nn.functional.normalize(atoms, dim=1)[chosen]
    assert torch.allclose(factor @ factor.T, unit @ unit.T, atol=1e-12)
    x = gaussian(5, 24, 1)
    exact = x @ torch.linalg.pinv(atoms, rtol=1e-5) @ atoms
    assert torch.allclose(omp(atoms, x, [24]).reconstruct(atoms, 24), exact, atol=1e-5)


def test_a_dictionary_serves_many_calls(atoms_of, gaussian):
    atoms, x = atoms_of("random", 30, 20, 0), gaussian(4, 20, 1)
    ready = Dictionary(atoms, torch.float64)
    assert torch.equal(omp(ready, x, [5, 20]).support, omp(atoms, x, [5, 20]).support)
    assert ready.gram is ready.gram
    with pytest.raises(ValueError, match=r"prepared in torch\.float64"):
        omp(ready, x, [5], dtype=torch.float32)
