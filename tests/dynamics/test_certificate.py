"""Spectral radii against matrices with known eigenvalues and dense Jacobians."""

import math

import pytest
import torch

from probe.dynamics import certify, spectral_radius


def with_radius(d: int, radius: float, seed: int) -> torch.Tensor:
    matrix = torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return matrix * (radius / torch.linalg.eigvals(matrix).abs().max())


@pytest.mark.parametrize("d", [1, 2, 20, 32, 33, 120])
@pytest.mark.parametrize("radius", [0.5, 0.99, 1.3])
def test_linear_maps(d, radius):
    matrix = with_radius(d, radius, seed=d)
    found = spectral_radius(lambda z: z @ matrix.T, torch.zeros(1, d, dtype=torch.float64))
    assert found == pytest.approx(radius, rel=5e-3)


def test_complex_pair():
    turn = 0.9 * torch.tensor([[math.cos(1), -math.sin(1)], [math.sin(1), math.cos(1)]], dtype=torch.float64)
    matrix = torch.block_diag(turn, *([0.3 * torch.eye(1, dtype=torch.float64)] * 60))
    assert spectral_radius(lambda z: z @ matrix.T, torch.zeros(1, 62, dtype=torch.float64)) == pytest.approx(
        0.9, rel=1e-3
    )


def test_nonlinear_map_against_its_dense_jacobian():
    weight = with_radius(64, 1.4, seed=3)

    def f(z):
        return torch.tanh(z @ weight.T)

    z = torch.randn(1, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    dense = torch.autograd.functional.jacobian(lambda v: f(v[None])[0], z[0])
    assert spectral_radius(f, z) == pytest.approx(torch.linalg.eigvals(dense).abs().max().item(), rel=5e-3)


@pytest.mark.parametrize("radius", [0.998, 1.002])
def test_far_from_normal_near_one(radius):
    # Distinct eigenvalues on the diagonal, large entries above it: the Ritz residual says little of the error.
    d, generator = 200, torch.Generator().manual_seed(0)
    matrix = torch.triu(torch.randn(d, d, dtype=torch.float64, generator=generator), 1) * 0.05
    matrix += torch.diag(torch.linspace(-0.5, 0.9, d, dtype=torch.float64))
    matrix[7, 7] = radius
    found = certify(lambda z: z @ matrix.T, torch.zeros(1, d, dtype=torch.float64))
    assert found.attractor is (radius < 1)
    assert found.spectral_radius == pytest.approx(radius, abs=1e-6)


def test_what_has_no_derivative_is_undecided_and_no_crash():
    origin = torch.zeros(1, 50)
    assert certify(torch.no_grad()(lambda z: 0.5 * z), origin).attractor is None
    assert certify(torch.sqrt, origin).attractor is None  # infinite slope
    constant = certify(lambda z: 0 * z, origin)
    assert constant.attractor is True
    assert constant.spectral_radius == 0
    assert certify(lambda z: 0.9999 * z, origin).attractor is None  # too near 1 to say


def test_certificates():
    origin = torch.zeros(1, 40, dtype=torch.float64)
    assert certify(lambda z: 0.9 * z, origin).attractor is True
    assert certify(lambda z: 1.1 * z, origin).attractor is False  # a fixed point that repels
    moving = certify(lambda z: 0.9 * z + 1, origin)
    assert moving.attractor is False
    assert moving.residual == pytest.approx(40)
    assert math.isnan(moving.spectral_radius)


def test_an_exhausted_budget_is_undecided():
    # Eigenvalues crowded about 1: a sharp answer needs many products, and there are few.
    values = torch.linspace(0.99, 1.0001, 2000, dtype=torch.float64)
    assert math.isnan(spectral_radius(lambda z: z * values, torch.zeros(1, 2000, dtype=torch.float64), products=60))
