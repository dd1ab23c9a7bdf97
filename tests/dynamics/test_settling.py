"""`Yes` means that a fixed point is there: maps with and without one, whose residuals are small all the same."""

import math

import pytest
import torch

from probe import find_attractors
from probe.config import SeedConfig, SolverConfig
from probe.dictionary import at_origin
from probe.dynamics import certify, iterate
from probe.dynamics.certificate import NO, UNDECIDED, YES
from probe.dynamics.settling import returns, settle

BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def left_of_0(n: int, dtype: torch.dtype) -> torch.Tensor:
    return -torch.rand((n, 1), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype) * 0.9 - 0.05


def certified(f, starts: torch.Tensor, tolerance: float = 1e-5):
    """Certificates of the end points of plain steps, all converged."""
    ends = iterate(f, starts, max_steps=500, tolerance=tolerance)
    assert ends.counts()["converged"] == len(starts)
    return certify(f, ends.end, tolerance=tolerance)


@BOTH
@pytest.mark.parametrize("offset", [1e-3, 1e-4, 1e-5, 1e-8, 0.0])
def test_the_ghost_of_a_saddle_node_is_not_certified(offset, dtype):
    """z + z^2 + offset has no fixed point for offset > 0, and a neutral one for 0; from the left all come near."""
    found = certified(lambda z: z + z.square() + offset, left_of_0(16, dtype))
    assert found.attractor.tolist() == [UNDECIDED] * 16
    assert (found.spectral_radius + found.radius_error < 1).all()  # it alone would say yes


@BOTH
@pytest.mark.parametrize("offset", [1e-3, 1e-8])
def test_nor_where_other_coordinates_are_large_or_fast(offset, dtype):
    def f(z):
        y, other = z[:, :1], z[:, 1:]
        return torch.cat([y + y.square() + offset, 10 + 0.5 * (other - 10)], 1)

    starts = torch.cat(
        [left_of_0(16, dtype), torch.randn(16, 6, generator=torch.Generator().manual_seed(1)).to(dtype)], 1
    )
    assert YES not in certified(f, starts).attractor.tolist()


@BOTH
def test_a_neutral_point_is_not_certified(dtype):
    starts = left_of_0(8, dtype)
    assert YES not in certified(lambda z: z - z**3, 0.5 * starts).attractor.tolist()


@BOTH
def test_beside_the_ghost_a_true_pair_is_told_apart(dtype):
    """z + z^2 - 0.001: -0.0316 attracts with rate 1 - 0.063."""
    fixed = -(0.001**0.5)
    found = certified(lambda z: z + z.square() - 0.001, left_of_0(16, dtype))
    assert found.attractor.tolist() == [YES] * 16
    apart = (found.point[:, 0].double() - fixed).abs()
    assert (apart < 0.1).all()
    assert (apart <= 1.05 * found.distance).all()  # the slope grows on the way
    assert (found.distance <= 1.5 * apart + 1e-5).all()
    again = (found.point + found.point.square() - 0.001 - found.point).square().sum(1).double()
    assert torch.allclose(again, found.residual, rtol=1e-3, atol=1e-12)


def rotation(rate: float, angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return rate * torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


@BOTH
@pytest.mark.parametrize(
    "matrix",
    [0.9999 * torch.eye(4), rotation(0.9999, 1e-4), rotation(0.9999, 1e-3), torch.diag(torch.tensor([0.5, 0.9999]))],
    ids=["slow", "slow rotation", "rotation", "slow manifold"],
)
def test_a_slow_linear_map_has_one_attractor(matrix, dtype):
    """All starts converge at once, each where it is; what 2000 plain steps cannot show, their extrapolation does."""
    matrix = matrix.to(dtype)
    for centre in (0.0, 3.0):
        f = lambda z, centre=centre: centre + (z - centre) @ matrix.T  # noqa: E731
        _, found = find_attractors(
            f, (len(matrix),), seeds=SeedConfig(count=24), solver=SolverConfig(tolerance=1e-4), dtype=dtype
        )
        assert found.certificate.tolist().count(YES) == 1
        best = found.certificate.tolist().index(YES)
        assert bool(at_origin(found.ends, found.distance)[best]) == (centre == 0)
        assert found.atoms[best].any().item() == (centre != 0)
        apart = torch.linalg.vector_norm(found.ends[best].double() - centre)
        assert apart <= found.distance[best]
        assert apart < 0.02


def test_what_shrinks_to_the_origin_is_one_attractor_without_a_direction():
    """Directions of rounding are as far apart as any others."""

    def f(z):  # average pooling, and up again
        pooled = torch.nn.functional.avg_pool2d(z, 2)
        return 0.6 * torch.nn.functional.interpolate(pooled, scale_factor=2)

    for tolerance in (1e-5, 1e-16):
        seeds, solver = SeedConfig(count=32), SolverConfig(tolerance=tolerance)
        _, found = find_attractors(f, (4, 8, 8), seeds=seeds, solver=solver)
        assert len(found) == 1
        assert found.certificate.tolist() == [YES]
        assert found.basin.tolist() == found.settled.tolist() == [32]
        assert not found.atoms.any()
        assert found.summary["at_origin"] == 32
        assert found.summary["united"] == 31


@BOTH
def test_points_on_a_slow_cycle_are_not_certified(dtype):
    turn = rotation(1.0, 1e-3).to(dtype)

    def f(z):
        r = torch.linalg.vector_norm(z, dim=1, keepdim=True)
        return z @ turn.T / r * (1 + 0.5 * (r - 1))

    starts = torch.randn(16, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)
    assert YES not in certified(f, starts).attractor.tolist()


@BOTH
def test_where_the_norm_is_below_1_it_decides(dtype):
    """All eigenvalues of 0.9 Q have one modulus, so that 300 products do not find the radius to 5 % of 0.1."""
    q = torch.linalg.qr(torch.randn(100, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    point = torch.randn(100, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)
    matrix = 0.9 * q.to(dtype)
    found = certified(lambda z: point + (z - point) @ matrix.T, torch.randn(3, 100, dtype=dtype))
    assert found.attractor.tolist() == [YES] * 3
    assert (found.spectral_norm + found.norm_error < 1).all()
    apart = torch.linalg.vector_norm(found.point - point, dim=1).double()
    assert (apart <= found.distance).all()
    assert (found.distance < 1e-2).all()


def test_the_distance_is_bounded_or_estimated_for_normal_and_skewed_maps():
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(40, 40, dtype=torch.float64, generator=generator))[0]
    normal = basis @ torch.diag(torch.linspace(-0.8, 0.9, 40).double()) @ basis.T
    skewed = basis @ (torch.diag(torch.linspace(-0.8, 0.9, 40).double()) + 0.1 * torch.ones(40, 40).triu(1)) @ basis.T
    fixed = torch.randn(40, dtype=torch.float64, generator=generator)
    for matrix, bounded in ((normal, True), (skewed, False)):
        starts = torch.randn(8, 40, dtype=torch.float64, generator=generator)
        found = certified(lambda z, matrix=matrix: fixed + (z - fixed) @ matrix.T, starts)
        assert found.attractor.tolist() == [YES] * 8
        assert bool((found.spectral_norm + found.norm_error < 1).all()) == bounded
        apart = torch.linalg.vector_norm(found.point - fixed, dim=1)
        assert (apart <= (1 if bounded else 3) * found.distance).all()


def test_plain_steps_do_not_depend_on_the_batch():
    """Rows take different numbers of steps; the first coordinate chooses the rate."""
    rates = torch.tensor([0.97, 0.3, 0.9999, 0.9])

    def f(z):
        return torch.cat([z[:, :1], z[:, 1:] * rates[z[:, 0].long()][:, None]], 1)

    z = torch.cat([torch.arange(4.0)[:, None], torch.tensor([[0.02, 1e-3, 1.0, 0.01]]).T.expand(4, 3)], 1)
    residual = (f(z) - z).square().sum(1).double()
    together = settle(f, z, residual, rates.double(), 8)
    assert together.settled.all()
    for row in range(4):
        one = slice(row, row + 1)
        alone = settle(f, z[one], residual[one], rates[one].double(), 1)
        assert torch.equal(alone.point, together.point[one])
        assert torch.equal(alone.residual, together.residual[one])
        steps = math.ceil(math.log(0.01) / math.log(rates[row]))
        if steps <= 2000:
            assert together.point[row, 1].item() == pytest.approx(
                z[row, 1].item() * rates[row].item() ** steps, rel=1e-3
            )
        else:
            assert together.point[row, 1:].abs().max() < 1e-4  # extrapolated


def test_a_point_that_is_not_fixed_stays_where_it_is():
    z = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    found = certify(lambda z: 0.5 * z, z)
    assert found.attractor.tolist() == [YES, NO]
    assert torch.equal(found.point[1], z[1])
    assert found.distance[1].isnan()


@pytest.mark.parametrize("size", [20, 30, 50, 100])
@BOTH
def test_a_jordan_block_below_1_is_not_said_to_repel(size, dtype):
    """Its eigenvalue is 0.9; of the block with an error of rounding they go up to 0.9 + (1e-16)^(1 / size)."""
    block = (0.9 * torch.eye(size) + torch.diag(torch.ones(size - 1), 1)).to(dtype)
    found = certify(lambda z: z @ block.T, torch.zeros(1, size, dtype=dtype))
    assert found.attractor.item() == UNDECIDED


@BOTH
def test_what_repels_is_still_said_to(dtype):
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(60, 60, dtype=torch.float64, generator=generator))[0]
    saddle = basis @ torch.diag(torch.cat([torch.tensor([1.05]), torch.linspace(-0.9, 0.9, 59)]).double()) @ basis.T
    random = torch.randn(60, 60, dtype=torch.float64, generator=generator)
    random *= 1.3 / torch.linalg.eigvals(random).abs().max()
    for matrix, radius in ((saddle, 1.05), (random, 1.3), (1.5 * torch.eye(60).double(), 1.5)):
        found = certify(lambda z, matrix=matrix: z @ matrix.to(dtype).T, torch.zeros(1, 60, dtype=dtype))
        assert found.attractor.item() == NO
        assert abs(found.spectral_radius.item() - radius) <= found.radius_error.item() + 1e-5


def test_no_start_that_plain_steps_lead_back_is_said_to_leave():
    """A derivative of 1.2 that holds within 1e-7 of the point only, and 0.5 elsewhere."""

    def f(z):
        return torch.where(z.abs() < 1e-7, 1.2 * z, 0.5 * z)

    point = torch.zeros(3, 8, dtype=torch.float64)
    assert returns(f, point, 3e-3, torch.full((3,), 1.2, dtype=torch.float64), 2).all()
    assert not returns(lambda z: 1.2 * z, point, 3e-3, torch.full((3,), 1.2, dtype=torch.float64), 2).any()


def test_a_norm_below_the_radius_bounds_nothing():
    """A symmetric Jacobian with one eigenvalue of 0.997 that stands alone: its norm is its radius, and where the search
    for the norm misses it, the distance to the fixed point comes from the radius."""
    d, rho, fixed = 200, 0.997, torch.full((1, 200), 0.3)
    for seed in (7, 9):  # of 24 these are missed
        square = torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        basis = torch.linalg.eigh(square + square.T)[1]
        values = torch.linspace(-rho + 0.02, rho - 0.02, d, dtype=torch.float64)
        values[-1] = rho
        matrix = (basis @ torch.diag(values) @ basis.T).float()
        start = fixed + 2.5e-3 / (1 - rho) * basis[:, -1].float()
        found = certify(lambda z, a=matrix: fixed + (z - fixed) @ a.T, start, tolerance=1e-5)
        assert found.attractor.tolist() == [YES]
        assert (found.point - fixed).norm().item() <= found.distance.item()
