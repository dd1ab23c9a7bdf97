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


def test_certificates():
    origin = torch.zeros(1, 40, dtype=torch.float64)
    assert certify(lambda z: 0.9 * z, origin).attractor is True
    assert certify(lambda z: 1.1 * z, origin).attractor is False  # a fixed point that repels
    moving = certify(lambda z: 0.9 * z + 1, origin)
    assert moving.attractor is False
    assert moving.residual == pytest.approx(40)
    assert math.isnan(moving.spectral_radius)


def test_an_exhausted_budget_is_undecided():
    # Eigenvalues crowded at the rim: Arnoldi needs many products, and gets few.
    values = torch.linspace(0.9, 0.9001, 400, dtype=torch.float64)
    assert math.isnan(
        spectral_radius(
            lambda z: z * values, torch.zeros(1, 400, dtype=torch.float64), relative_error=1e-9, products=20
        )
    )
