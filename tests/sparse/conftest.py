"""Dictionaries and signals for the tests of the sparse coder."""

import pytest
import torch

from probe.dictionary import unit_rows
from probe.sparse import Dictionary


def gaussian(rows: int, columns: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def atoms_of(kind: str, n: int, d: int, seed: int) -> torch.Tensor:
    base = gaussian(n, d, seed)
    if kind == "correlated":
        base = base + 4 * gaussian(1, d, seed + 1)
    elif kind == "duplicated":
        base[n - n // 2 :] = -base[: n // 2]
    elif kind == "rank deficient":
        rank = max(min(n, d) // 3, 1)
        base = gaussian(n, rank, seed) @ gaussian(rank, d, seed + 1)
    return unit_rows(base)


@pytest.fixture(name="gaussian")
def gaussian_fixture():
    return gaussian


@pytest.fixture(name="atoms_of")
def atoms_of_fixture():
    return atoms_of


@pytest.fixture(scope="module", params=[True, False], ids=["gram", "no gram"])
def with_and_without_gram(request):
    """Everything once as if the Gram matrix fitted, and once as if it did not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dictionary, "gram_fits", request.param)
        yield
