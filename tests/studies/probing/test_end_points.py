"""From noise to certified attractors, on a map whose attractors are known."""

import pytest
import torch

from probe import find_attractors
from probe.config import SeedConfig, SolverConfig
from probe.errors import UserError


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
    # The second coordinate drops to 0 from everywhere, and is driven away from there: fixed, and no attractor. Points
    # beside it come back after they have left, so that it is not denied either.
    def f(z: torch.Tensor) -> torch.Tensor:
        first, second = torch.ones_like(z[:, 0]) + 0 * z[:, 0], 1.5 * z[:, 1]
        return torch.stack([first, torch.where(second.abs() < 1e-2, second, 0 * second)], 1)

    _, dictionary = find_attractors(f, (2,), seeds=SeedConfig(count=8))
    assert dictionary.certificate.tolist() == [-1]
    assert abs(dictionary.spectral_radius.item() - 1.5) <= dictionary.radius_error.item() + 1e-9


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


def test_the_origin_is_an_attractor_among_others():
    """f is 0 where the first coordinate is small, else (+-1, 0, 0): three attractors, super-attracting."""

    def f(z: torch.Tensor) -> torch.Tensor:
        first = torch.where(z[:, 0].abs() < 0.7, 0 * z[:, 0], torch.sign(z[:, 0]))
        return torch.stack([first, 0 * z[:, 1], 0 * z[:, 2]], 1)

    ends, found = find_attractors(f, (3,), seeds=SeedConfig(count=60))
    inside = int((ends.end[:, 0] == 0).sum())
    assert found.certificate.tolist() == [1, 1, 1]
    assert found.summary["at_origin"] == inside > 20  # 60 times P(|N| < 0.7) = 0.52: 31 +- 4
    assert found.basin[0] == inside
    assert not found.atoms[0].any()
    assert int((found.member == 0).sum()) == inside
    assert int(found.basin.sum()) == 60
    assert found.summary["plain_same"] == found.summary["plain_checked"]


def test_all_starts_at_the_origin_are_one_attractor():
    _, found = find_attractors(lambda z: 0 * z, (3,), seeds=SeedConfig(count=9))
    assert (len(found), found.certificate.tolist(), found.basin.tolist()) == (1, [1], [9])
    assert found.summary["at_origin"] == 9
    assert found.summary["vendi"] is None


def test_diverging_starts_leave_nothing_and_the_error_says_so():
    with pytest.raises(UserError, match="all 5 starts diverged"):
        find_attractors(lambda z: 3 * z, (3,), seeds=SeedConfig(count=5))


def test_predicted_against_plain_steps():
    """A linear map: Proposition A.9 is exact, and the accelerated run is checked by a plain one."""
    basis = torch.linalg.qr(torch.randn(30, 30, generator=torch.Generator().manual_seed(0)))[0]
    matrix = basis @ torch.diag(torch.linspace(0.2, 0.95, 30)) @ basis.T
    fixed = torch.randn(30, generator=torch.Generator().manual_seed(1))

    def f(z: torch.Tensor) -> torch.Tensor:
        return fixed + (z - fixed) @ matrix.T

    ends, found = find_attractors(f, (30,), seeds=SeedConfig(count=20), solver=SolverConfig(plain_checks=1))
    assert found.certificate.tolist() == [1]
    assert ends.steps[found.leader.item()] < found.plain_steps.item()
    assert [found.summary[f"plain_{name}"] for name in ("checked", "same", "elsewhere")] == [1, 1, 0]
    # Only the part of the start along the slowest direction goes that slowly.
    assert 0 <= found.predicted_steps.item() - found.plain_steps.item() < 60
    plainly = SolverConfig(accelerate=False, far_precision="float32")
    _, plain = find_attractors(f, (30,), seeds=SeedConfig(count=20), solver=plainly)
    assert plain.plain_steps.tolist() == plain.steps.tolist() == found.plain_steps.tolist()
    assert plain.summary["plain_checked"] == 0
