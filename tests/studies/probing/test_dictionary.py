"""How different the atoms are, in closed form."""

import pytest
import torch

from probe.dictionary import random_orthogonal
from probe.studies.probing.dictionary import COMPARED, diversity


def test_orthogonal_atoms_are_all_different_and_repeated_ones_are_one():
    basis = random_orthogonal(64, seed=1)
    found = diversity(basis[:10])
    assert found["n"] == 10
    assert found["atoms"] == pytest.approx(10)
    assert 9 < found["gaussian"] < 10  # not quite orthogonal in 64 dimensions
    assert diversity(basis[:1].expand(20, 64))["atoms"] == pytest.approx(1)
    assert diversity(basis[:5].repeat(4, 1))["atoms"] == pytest.approx(5)


def test_of_many_atoms_those_of_the_largest_basins_are_compared():
    atoms = torch.eye(4)[torch.arange(COMPARED + 50).ge(COMPARED).long()]
    assert diversity(atoms)["n"] == COMPARED
    assert diversity(atoms)["atoms"] == pytest.approx(1)


def test_without_atoms_there_is_nothing_to_compare():
    assert diversity(torch.empty(0, 8)) is None
