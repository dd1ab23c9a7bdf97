"""Spectra against matrices with known eigenvalues and dense Jacobians; certificates against known attractors."""

import math

import pytest
import torch

from probe import LatentMap, load_autoencoder
from probe.dynamics import Jacobian, certify, iterate, lyapunov_exponents, spectral_norm, spectral_radius
from probe.dynamics.certificate import NO, UNDECIDED, YES
from probe.dynamics.rates import _steady_mean


def with_radius(d: int, radius: float, seed: int) -> torch.Tensor:
    matrix = torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return matrix * (radius / torch.linalg.eigvals(matrix).abs().max())


def linear(matrix: torch.Tensor):
    return lambda z: z @ matrix.T


@pytest.mark.parametrize("d", [1, 2, 20, 24, 25, 33, 120, 400])
@pytest.mark.parametrize("radius", [0.5, 0.99, 1.3])
def test_linear_maps(d, radius):
    matrix = with_radius(d, radius, seed=d)
    jacobian = Jacobian(linear(matrix), torch.zeros(1, d, dtype=torch.float64))
    found = spectral_radius(jacobian, budget=2000)
    assert abs(found.value.item() - radius) <= found.error.item() + 1e-12
    assert found.error.item() <= 0.05 * abs(radius - 1) * 1.1
    norm = spectral_norm(jacobian, budget=1000, precise=1e-3)
    exact = torch.linalg.matrix_norm(matrix, 2).item()
    assert norm.value.item() == pytest.approx(exact, rel=1e-2)
    assert norm.value.item() <= exact * (1 + 1e-9)


def test_points_of_a_batch_have_spectra_of_their_own():
    """f(z) = tanh(z W^T): the Jacobian is W, its rows scaled by the derivative at z."""
    weight = with_radius(64, 2.0, seed=3)

    def f(z):
        return torch.tanh(z @ weight.T)

    z = torch.randn(12, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.3
    z[0] = 0
    jacobian = Jacobian(f, z)
    radius, norm = spectral_radius(jacobian, budget=3000), spectral_norm(jacobian, budget=400, precise=1e-4)
    for row in range(12):
        dense = torch.autograd.functional.jacobian(lambda v: f(v[None])[0], z[row])
        exact = torch.linalg.eigvals(dense).abs().max().item()
        assert radius.value[row].item() == pytest.approx(exact, rel=5e-2)
        assert abs(radius.value[row].item() - exact) <= radius.error[row].item() + 1e-12
        assert norm.value[row].item() == pytest.approx(torch.linalg.matrix_norm(dense, 2).item(), rel=1e-3)
        alone = Jacobian(f, z[row : row + 1])
        assert spectral_radius(alone, budget=3000).value.item() == pytest.approx(radius.value[row].item(), rel=1e-9)
        norm_alone = spectral_norm(alone, budget=400, precise=1e-4)
        assert norm_alone.value.item() == pytest.approx(norm.value[row].item(), rel=1e-9)
        assert norm_alone.products.item() == norm.products[row].item()


def test_complex_pair_and_the_unit_circle():
    turn = torch.tensor([[math.cos(1), -math.sin(1)], [math.sin(1), math.cos(1)]], dtype=torch.float64)
    matrix = torch.block_diag(0.9 * turn, *([0.3 * torch.eye(1, dtype=torch.float64)] * 60))
    found = spectral_radius(Jacobian(linear(matrix), torch.zeros(1, 62, dtype=torch.float64)))
    assert found.value.item() == pytest.approx(0.9, rel=1e-3)
    orthogonal = torch.linalg.qr(with_radius(100, 1.0, 0))[0]
    certificate = certify(linear(orthogonal), torch.zeros(1, 100, dtype=torch.float64))
    assert certificate.attractor.item() == UNDECIDED
    assert certificate.spectral_radius.item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rank", [0, 1, 3])
def test_few_distinct_eigenvalues(rank, dtype):
    """The Krylov space is invariant after a few products; in float32 rounding must not be taken for a direction."""
    d, generator = 64, torch.Generator().manual_seed(3)
    basis = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))[0].to(dtype)
    values = torch.full((d,), 0.01, dtype=dtype)
    values[:rank] = torch.tensor([0.9, -0.7, 0.5], dtype=dtype)[:rank]
    point = torch.randn(1, d, generator=generator, dtype=torch.float64).to(dtype)
    found = spectral_radius(Jacobian(lambda z: point + ((z - point) @ basis * values) @ basis.T, point))
    assert abs(found.value.item() - values.abs().max().item()) <= found.error.item() + 1e-12
    assert found.error.item() < 1e-4


@pytest.mark.parametrize("d", [1, 2, 64])
def test_a_reflection_that_shrinks(d):
    """Its left singular vectors are its right ones turned round: the search may not begin at their sum, 0."""
    found = certify(lambda z: 2 - 0.9 * (z - 2), torch.full((1, d), 2.0, dtype=torch.float64))
    assert found.attractor.item() == YES
    assert found.spectral_radius.item() == pytest.approx(0.9)
    assert found.from_one.item() == pytest.approx(1.9)


def test_an_identity_and_a_nilpotent_map():
    origin = torch.zeros(1, 50, dtype=torch.float64)
    assert spectral_radius(Jacobian(lambda z: z, origin)).value.item() == pytest.approx(1)
    shift = torch.diag(torch.ones(49, dtype=torch.float64), 1)
    found = certify(linear(shift), origin, budget=400)
    assert found.attractor.item() != NO  # all eigenvalues are 0, and as ill-conditioned as can be


@pytest.mark.parametrize("radius", [0.998, 1.002])
def test_far_from_normal_near_one(radius):
    # Distinct eigenvalues on the diagonal, large entries above it: the Ritz residual says little of the error.
    d, generator = 200, torch.Generator().manual_seed(0)
    matrix = torch.triu(torch.randn(d, d, dtype=torch.float64, generator=generator), 1) * 0.05
    matrix += torch.diag(torch.linspace(-0.5, 0.9, d, dtype=torch.float64))
    matrix[7, 7] = radius
    found = certify(linear(matrix), torch.zeros(1, d, dtype=torch.float64), budget=1000)
    assert found.attractor.item() == (YES if radius < 1 else NO)
    assert abs(found.spectral_radius.item() - radius) <= found.radius_error.item()


def test_a_small_budget_is_undecided_and_says_so():
    matrix = with_radius(300, 0.999, seed=1)
    origin = torch.zeros(1, 300, dtype=torch.float64)
    found = certify(linear(matrix), origin, budget=24, norm=False)
    assert found.products.item() == 48  # as many for the first look
    assert found.attractor.item() == UNDECIDED
    assert found.radius_error.item() > 1e-3
    assert certify(linear(matrix), origin, budget=3000, norm=False).attractor.item() == YES


def test_what_has_no_derivative_is_undecided_and_no_crash():
    origin = torch.zeros(1, 50)
    for f in (lambda z: 0.5 * z.detach(), lambda z: z + (0.5 * z - z).detach(), torch.sqrt):
        found = certify(f, origin)
        assert found.attractor.item() == UNDECIDED
        assert not found.differentiable.item()
    hidden = certify(torch.no_grad()(lambda z: 0.5 * z), origin)  # forward mode does not care
    assert hidden.attractor.item() == YES
    assert hidden.spectral_radius.item() == pytest.approx(0.5)
    constant = certify(lambda z: 0 * z, origin)
    assert constant.attractor.item() == YES


@pytest.mark.parametrize("d", [64, 4096])
@pytest.mark.parametrize("shown", [0.0, 0.1])
def test_a_hidden_dependence_far_from_the_origin_is_noticed(d, shown):
    """In float32 a small product drowns in the rounding of differences: that shows nothing, and certifies nothing."""
    point = torch.randn(1, d, generator=torch.Generator().manual_seed(3))
    hidden = certify(lambda z: point + shown * (z - point) + (1.2 - shown) * (z - point).detach(), point)
    assert hidden.attractor.item() == UNDECIDED
    honest = certify(lambda z: point + 0.5 * (z - point), point)
    assert honest.attractor.item() == YES
    weak = certify(lambda z: point + 0.01 * (z - point), point)
    assert weak.attractor.item() == YES


def test_weights_that_require_gradients_do_no_harm():
    torch.manual_seed(0)
    linear_map = torch.nn.Linear(32, 32)
    with torch.no_grad():
        linear_map.weight *= 0.5
    ends = iterate(linear_map, torch.randn(5, 32), max_steps=300, tolerance=1e-10)
    found = certify(linear_map, ends.end, tolerance=1e-9)
    assert found.attractor.tolist() == [YES] * 5
    assert torch.is_grad_enabled()


def test_a_point_that_is_not_fixed_is_no_attractor():
    found = certify(lambda z: 0.5 * z, torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    assert found.attractor.tolist() == [YES, NO]
    assert found.residual.tolist() == [0.0, 0.25]
    assert found.products[1] == 0


def test_a_residual_at_the_tolerance_to_within_rounding_is_below_it_after_the_plain_steps():
    """Computed in another batch, it may come out on the other side; the certificate is about the point they lead to."""
    # f(z) = (z + (0, 1)) / 2, so that ||f(z) - z|| at (2 a, 1) is a; rounding there is 16 * 1.2e-7 = 2e-6.
    z = torch.tensor([[2 * a, 1.0] for a in (0.9e-5, 1.1e-5, 1.3e-5)])
    found = certify(lambda z: 0.5 * z + 0.5 * torch.tensor([0.0, 1.0]), z, tolerance=1e-10)
    assert found.attractor.tolist() == [YES, YES, NO]
    assert (found.residual[:2] < 1e-12).all()


def test_memory_that_runs_out_halves_the_batch():
    seen = []

    def f(z):
        seen.append(len(z))
        if len(z) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 0.5 * z

    found = certify(f, torch.zeros(16, 40))
    assert found.attractor.tolist() == [YES] * 16
    assert {4} == set(seen) - {16, 8, 1}  # 1: where the modes are measured


def test_an_embedded_attractor_against_its_dense_jacobian():
    """d = 256, 512 of TAEF2's size is in tests/studies/test_taef2.py."""
    model = load_autoencoder("embedded:cifar-attractors")
    f = LatentMap(model)
    z0 = torch.randn((4, *model.latent_shape(32)), generator=torch.Generator().manual_seed(5))
    ends = iterate(f, z0, max_steps=500)
    found = certify(f, ends.end)
    for row in range(4):
        dense = torch.func.jacfwd(lambda v: f(v[None])[0].flatten())(ends.end[row]).reshape(256, 256).double()
        exact = torch.linalg.eigvals(dense).abs().max().item()
        assert abs(found.spectral_radius[row].item() - exact) <= found.radius_error[row].item() + 1e-4
        norm = torch.linalg.matrix_norm(dense, 2).item()
        assert found.spectral_norm[row].item() == pytest.approx(norm, rel=6e-2)
        assert (found.attractor[row].item() == YES) == (exact < 1)


@pytest.mark.parametrize("keep", [True, False])
def test_the_exponent_of_the_henon_map_with_products_of_either_side(keep, monkeypatch):
    """0.419 (Sprott 2003), with the vector carried back by J^T or along by J."""
    monkeypatch.setattr(Jacobian, "transposes", keep)

    def henon(z):
        x, y = z.unbind(1)
        return torch.stack([1 - 1.4 * x.square() + y, 0.3 * x], 1)

    found = lyapunov_exponents(henon, torch.tensor([[0.1, 0.1]], dtype=torch.float64), steps=4000)
    assert found.value.item() == pytest.approx(0.419, abs=0.015)
    assert found.error.item() < 0.015


def test_lyapunov_exponents_of_known_maps():
    logistic = torch.tensor([[0.3], [0.4]], dtype=torch.float64)
    chaos = lyapunov_exponents(lambda z: 4 * z * (1 - z), logistic, steps=4000)
    assert torch.allclose(chaos.value, torch.full_like(chaos.value, math.log(2)), atol=0.02)
    assert (chaos.error < 0.02).all()
    turn = torch.tensor([[math.cos(1), -math.sin(1)], [math.sin(1), math.cos(1)]], dtype=torch.float64)
    rotation = lyapunov_exponents(linear(turn), torch.ones(1, 2, dtype=torch.float64))
    assert rotation.value.item() == pytest.approx(0, abs=1e-9)
    slow = lyapunov_exponents(linear(0.995 * torch.eye(3, dtype=torch.float64)), torch.ones(1, 3, dtype=torch.float64))
    assert slow.value.item() == pytest.approx(math.log(0.995), rel=1e-6)
    hidden = lyapunov_exponents(lambda z: 0.5 * z.detach(), torch.ones(1, 3))
    assert torch.isnan(hidden.value).all()


def test_an_exponent_after_a_transient_that_takes_longer():
    """Growth by e for the first 40 steps, then by e^-0.1: counted from step 20 on, the exponent would be 0.12."""
    logs = torch.where(torch.arange(120) < 40, 1.0, -0.1).double()
    noise = 0.01 * torch.randn(5, 120, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value, error = _steady_mean(logs + noise, both_ends=False)
    assert torch.allclose(value, torch.full((5,), -0.1, dtype=torch.float64), atol=0.01)
    assert (error < 0.01).all()
    drifting = torch.linspace(1, -1, 120, dtype=torch.float64)[None]
    value, error = _steady_mean(drifting, both_ends=False)
    assert error.item() > 0.2  # no part of it is steady, and the error says so


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_super_attracting_points_are_certified(dtype):
    """Newton's map for the root of 2, 50 times, and for 1 as a cube: the derivative at the root is 0."""
    starts = torch.rand((8, 50), dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype) + 0.5
    for f, root in ((lambda z: (z + 2 / z) / 2, 2**0.5), (lambda z: z - (z**3 - 1) / (3 * z.square()), 1.0)):
        ends = iterate(f, starts, max_steps=100)
        found = certify(f, ends.end)
        assert found.attractor.tolist() == [YES] * 8
        assert torch.allclose(found.point, torch.full_like(found.point, root), rtol=1e-5)
