"""From noise to certified attractors, on a map whose attractors are known."""

import torch

from probe import find_attractors
from probe.config import SeedConfig, SolverConfig


def double_wells(z: torch.Tensor) -> torch.Tensor:
    """Each of the three coordinates runs to +-0.9575 by its sign: eight attractors, slope 2 (1 - 0.9575^2) = 0.166."""
    return torch.tanh(2 * z)


def test_eight_attractors():
    ends, dictionary = find_attractors(
        double_wells, (3,), seeds=SeedConfig(count=400), solver=SolverConfig(batch_size=64, tolerance=1e-10)
    )
    assert ends.counts() == {"converged": 400, "cycle": 0, "max_steps": 0, "diverged": 0}
    assert len(dictionary.atoms) == 8
    assert torch.allclose(dictionary.ends.abs(), torch.full((8, 3), 0.9575040), atol=1e-4)
    assert dictionary.certificate.tolist() == [1] * 8
    assert torch.allclose(dictionary.spectral_radius, torch.full((8,), 0.16637, dtype=torch.float64), atol=1e-3)
    assert int(dictionary.basin.sum()) == 400
    # Signs of Gaussians: each basin has 400 / 8 starts, standard deviation 6.6.
    assert dictionary.basin.min() > 25
    assert dictionary.basin.max() < 75
    assert dictionary.summary["certified"] == 8


def test_a_saddle_is_not_an_attractor():
    # Starts on the axis z_1 = 0 run to a point that repels in z_1: fixed, and no attractor.
    def f(z: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.tanh(2 * z[:, 0]) * 0 + 1, torch.zeros_like(z[:, 1]) + 2 * z[:, 1] * 0], 1) + (
            torch.stack([torch.zeros_like(z[:, 0]), 1.5 * (z[:, 1] - z[:, 1].detach())], 1)
        )

    _, dictionary = find_attractors(f, (2,), seeds=SeedConfig(count=8))
    assert dictionary.certificate.tolist() == [0]
    assert dictionary.spectral_radius.item() > 1.4


def test_points_that_did_not_converge_are_not_attractors():
    _, dictionary = find_attractors(
        lambda z: 0.9 * z, (4,), seeds=SeedConfig(count=5), solver=SolverConfig(max_steps=3)
    )
    assert dictionary.certificate.tolist() == [0] * 5
    assert dictionary.summary["not_attractors"] == 5


def test_only_so_many_certificates_as_asked_for():
    _, dictionary = find_attractors(
        double_wells, (3,), seeds=SeedConfig(count=100), solver=SolverConfig(certificates=3)
    )
    assert dictionary.certificate.tolist() == [1] * 3 + [-1] * 5
