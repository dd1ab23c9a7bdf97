"""Errors in parts of the dictionaries, against OMP by its definition; the jackknife, against new draws."""

import numpy as np
import pytest
import torch
from torch import Tensor

from probe.config import SparseConfig
from probe.dictionary.controls import gaussian, unit_rows
from probe.metrics.interval import jackknife, over_draws
from probe.sparse import Dictionary
from probe.studies.probing.subsets import BLOCKS, Subsets, errors_in_subsets, subsets_of


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def errors(atoms: Tensor, signals: Tensor, level: int) -> np.ndarray:
    """Latent MSE (n,) of OMP, written down from its definition."""
    found, unit = [], atoms.numpy()
    for signal in signals.numpy():
        residual, chosen = signal, []
        for _ in range(level):
            chosen.append(int(np.abs(unit @ residual).argmax()))
            residual = signal - unit[chosen].T @ np.linalg.lstsq(unit[chosen].T, signal, rcond=None)[0]
        found.append(np.mean(residual**2))
    return np.array(found)


@pytest.mark.parametrize("gram", [True, False])
def test_every_part_is_the_pursuit_in_that_part_alone(gram, monkeypatch):
    monkeypatch.setattr(Dictionary, "gram_fits", gram)
    first, signals, sparse = randn(36, 1, 5, 8), randn(7, 40, seed=1), SparseConfig()
    atoms = unit_rows(randn(30, 40, seed=2))
    member = torch.cat([torch.arange(30), torch.tensor([0, 0, 1, 2, -1, 16])])  # starts 30.. merged, and one left out
    bases = {"attractors": atoms, "one_step": unit_rows(first), "gaussian": gaussian(36, 40, 1)}
    prepared = {name: Dictionary(basis, torch.float64) for name, basis in bases.items()}
    made = subsets_of(prepared, member, first, sparse, seed=0)
    found = errors_in_subsets(made, signals)
    assert sorted(found) == [
        "left_out/attractors", "left_out/one_step", "size/attractors", "size/gaussian", "size/one_step",
    ]  # fmt: skip
    for block in range(BLOCKS):
        starts = [i for i in range(36) if i % BLOCKS != block]
        kept = sorted({int(member[i]) for i in starts} - {-1})
        assert found["left_out/attractors"][block].numpy() == pytest.approx(errors(atoms[kept], signals, 2))
        assert found["left_out/one_step"][block].numpy() == pytest.approx(errors(bases["one_step"][starts], signals, 2))
    assert 0 in {int(member[i]) for i in range(36) if i % BLOCKS}  # start 0 leads, but others of its basin stay
    assert made.facts["blocks"] == BLOCKS
    assert made.facts["starts"]["attractors"] == [2, 4, 8, 16, 32, 36]
    assert made.facts["atoms"]["attractors"] == [2, 4, 8, 16, 30, 30]
    assert made.facts["starts"]["gaussian"] == [2, 4, 8, 16, 32, 64, 80]  # more vectors than d = 40
    for row, size in enumerate(made.facts["atoms"]["attractors"]):
        assert found["size/attractors"][row].numpy() == pytest.approx(errors(atoms[:size], signals, 2))
    few = errors_in_subsets(made, signals, few=3)
    assert torch.allclose(few["left_out/one_step"], found["left_out/one_step"][:, :3], rtol=1e-13)
    assert torch.equal(few["size/one_step"], found["size/one_step"])
    assert errors_in_subsets(made, signals, few=0)["left_out/attractors"].shape == (BLOCKS, 0)
    assert found["size/gaussian"][-1].numpy() == pytest.approx(errors(gaussian(80, 40, 1), signals, 2))


def test_starts_without_a_first_step_are_left_out():
    first = randn(20, 1, 5, 8)
    first[3], first[4] = torch.nan, 0
    basis = Dictionary(unit_rows(first), torch.float64)
    made = subsets_of({"attractors": basis, "one_step": basis}, torch.arange(20), first, SparseConfig(), seed=0)
    assert made.atom["one_step"].tolist() == [0, 1, 2, -1, -1, *range(3, 18)]


def test_a_dictionary_of_one_block_leaves_nothing():
    """Without it, the code is empty and the error that of the zero code."""
    signals = randn(3, 10)
    one = Subsets(
        {"attractors": Dictionary(unit_rows(randn(1, 10)), torch.float64)}, {"attractors": torch.tensor([0, -1])}, 1, 2
    )
    found = errors_in_subsets(one, signals)
    assert found["left_out/attractors"][0].numpy() == pytest.approx(signals.square().mean(1).numpy())
    assert torch.equal(found["left_out/attractors"][1], found["size/attractors"][-1])


def test_of_an_older_dictionary_nothing_is_known():
    basis = Dictionary(unit_rows(randn(20, 40)), torch.float64)
    made = subsets_of({"attractors": basis}, None, randn(20, 1, 5, 8), SparseConfig(), seed=0)
    assert errors_in_subsets(made, randn(2, 40)) == {}


def test_the_jackknife_knows_how_far_draws_of_the_starts_differ():
    """30 Gaussian dictionaries of 64 atoms: the variance of their mean errors, and that which each one estimates."""
    signals, means, sds = randn(8, 40) * torch.linspace(3, 0.1, 40), [], []
    for draw in range(30):
        basis = Dictionary(gaussian(64, 40, seed=10 + draw), torch.float64)
        found = errors_in_subsets(Subsets({"attractors": basis}, {"attractors": torch.arange(64)}, 2, 16), signals)
        means.append(float(found["size/attractors"][-1].mean()))
        sds.append(float(jackknife(found["left_out/attractors"].mean(1))))
    truth = np.std(means, ddof=1)
    assert np.sqrt(np.mean(np.square(sds))) == pytest.approx(truth, rel=0.4)
    missed = [
        not low < np.mean(means) < high for low, high in (over_draws(m, s, 16) for m, s in zip(means, sds, strict=True))
    ]
    assert np.mean(missed) < 0.15
