"""The antisymmetric share of Jacobians, against dense ones."""

import pytest
import torch

from probe.dynamics import Jacobian
from probe.dynamics.field import antisymmetric_share, null_share


def linear(matrix: torch.Tensor):
    return lambda z: (z.flatten(1) @ matrix.T).view_as(z)


def exact(matrix: torch.Tensor) -> float:
    return float(((matrix - matrix.T) / 2).square().sum() / matrix.square().sum())


def share(f, z: torch.Tensor, probes: int = 200) -> torch.Tensor:
    return antisymmetric_share(Jacobian(f, z), probes=probes)


def random_matrix(d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(d, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_gradient_has_none_and_a_rotation_nothing_else():
    one = random_matrix(6)
    z = torch.randn(3, 2, 3, dtype=torch.float64)
    assert float(share(linear(one + one.T), z, 2).max()) < 1e-28
    assert torch.allclose(share(linear(one - one.T), z, 2), torch.ones(3).double())
    # The gradient of sum of cosh(w . z): symmetric everywhere, linear nowhere.
    assert float(share(lambda z: torch.sinh(z.flatten(1) @ one.T).matmul(one).view_as(z), z / 9, 2).max()) < 1e-28


def test_products_agree_with_dense_jacobians():
    """Of a map that is neither, at several points at once. The relative deviation of Hutchinson's estimate with signs
    is below sqrt(2 / probes) = 10 % for numerator and denominator each; 200 probes, three deviations of the ratio."""
    weights, z = random_matrix(12), torch.randn(5, 12, dtype=torch.float64)

    def f(z):
        return torch.tanh(z @ weights.T) + 0.3 * z.square()

    dense = torch.stack([torch.autograd.functional.jacobian(lambda v: f(v[None])[0], row) for row in z])
    wanted = torch.tensor([exact(one) for one in dense]).double()
    found = share(f, z)
    assert torch.allclose(found, wanted, rtol=0.42)
    assert float((found / wanted).mean()) == pytest.approx(1, abs=0.15)  # errors of independent probes cancel


def test_independent_entries_lie_at_the_null_level():
    shares = [exact(random_matrix(8, seed)) for seed in range(400)]
    assert sum(shares) / 400 == pytest.approx(null_share(8), abs=0.02)
    assert null_share(2) == 0.25
    found = share(linear(random_matrix(40)), torch.zeros(1, 40, dtype=torch.float64))
    assert float(found) == pytest.approx(exact(random_matrix(40)), rel=0.2)


def test_a_point_does_not_depend_on_its_neighbours_and_a_constant_is_unknown():
    f, z = linear(random_matrix(6)), torch.randn(4, 6, dtype=torch.float64)
    assert bool(torch.isfinite(share(f, z)).all())
    assert bool(share(lambda z: 0 * z, z).isnan().all())
