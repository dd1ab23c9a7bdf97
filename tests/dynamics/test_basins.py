"""Measures of basins, against published exponents, closed forms, and maps whose basins are known."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from probe.dynamics import basins
from probe.dynamics.basins import UNKNOWN, Kicks, basin_entropy, grid_entropy, grid_uncertainty, kicks, uncertainty
from probe.metrics.interval import wilson

SEPARATIONS = [1.5 * part for part in (1 / 128, 1 / 64, 1 / 32, 1 / 16, 0.05, 1 / 8, 1 / 4)]


def newton(n, steps=100):
    """Which root of z^n - 1 Newton's iteration finds."""
    roots = torch.exp(2j * math.pi * torch.arange(n) / n).to(torch.complex128)

    def basin(points):
        z = torch.complex(points[:, 0].double(), points[:, 1].double())
        for _ in range(steps):
            z = z - (z**n - 1) / (n * z ** (n - 1))
        distance, root = (z[:, None] - roots).abs().min(1)
        return torch.where(distance < 1e-3, root, UNKNOWN)

    return basin


def grebogi(points, steps=200):
    """Grebogi's map; its attractors are (0, -J0) and (pi, J0)."""
    angle, x = points.T
    for _ in range(steps):
        turned = angle + 1.32 * torch.sin(2 * angle) - 0.9 * torch.sin(4 * angle) - x * torch.sin(angle)
        angle, x = turned % (2 * math.pi), -0.3 * torch.cos(angle)
    return (torch.cos(angle) < 0).long()


def half(points):
    return (points[:, 0] > 0).long()


def box(n, size, seed=0):
    return (torch.rand((n, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1) * size


def grid(basin, first, second, points):
    axes = (torch.linspace(*ends, points, dtype=torch.float64) for ends in (first, second))
    return basin(torch.cartesian_prod(*axes)).view(points, points)


@pytest.mark.parametrize(("n", "alpha"), [(2, 0.99), (3, 0.55), (4, 0.40)])
def test_newtons_map_has_its_exponents(n, alpha):
    found = uncertainty(newton(n), box(4096, 1.5), SEPARATIONS)
    assert found.alpha == pytest.approx(alpha, abs=0.05)
    assert 0 < found.error < 0.06
    assert found.dimension == 2 - found.alpha
    assert (np.diff(found.share) > 0).all()
    assert (found.known > 4090).all()  # one probe in thousands has found no root yet


def test_grids_have_published_exponents_and_entropies():
    # Intervals of the tests of Attractors.jl; the dimension of Newton's boundary is published as 1.42.
    assert 0.55 <= grid_uncertainty(grid(newton(3), (-1, 1), (-1, 1), 300)).alpha <= 0.65
    assert 0.2 <= grid_uncertainty(grid(grebogi, (0, 2 * math.pi), (-0.5, 0.5), 251), range(3, 16)).alpha <= 0.3
    entropy = grid_entropy(grid(grebogi, (0, 2 * math.pi), (-0.5, 0.5), 300), 6)
    assert 0.40 <= entropy.value <= 0.42
    assert 0.60 <= entropy.boundary <= 0.61


def test_pairs_across_a_straight_boundary_are_as_many_as_geometry_says():
    # Probes uniform in [-1, 1]^2: a partner at eps in direction t is across with probability eps |cos t| / 2, eps / pi
    # in the mean.
    eps = [0.02, 0.05, 0.1, 0.2, 0.4]
    found = uncertainty(half, box(20_000, 1.0), eps)
    expected = np.array(eps) / math.pi
    assert (np.abs(found.share - expected) < 4 * np.sqrt(expected / 20_000)).all()
    assert found.alpha == pytest.approx(1, abs=3 * found.error)
    assert found.error < 0.03


def test_the_standard_error_of_alpha_is_the_spread_of_its_estimates():
    eps = [0.05, 0.1, 0.2, 0.4]
    drawn = [uncertainty(half, box(300, 1.0, seed), eps, partners=2, seed=seed) for seed in range(24)]
    alpha, error = (np.array([getattr(one, name) for one in drawn]) for name in ("alpha", "error"))
    # The standard deviation of 24 has an error of 15 %, the mean of skewed errors as much again.
    assert alpha.std() == pytest.approx(error.mean(), rel=0.45)
    assert abs(alpha.mean() - 1) < 0.1


def test_separations_without_an_uncertain_pair_count_in_the_fit():
    rng = np.random.default_rng(0)
    eps, n, reached = np.array([0.01, 0.03, 0.1, 0.3]), 64, []
    for _ in range(15):
        other = rng.random((n, 4)) < eps  # alpha 1; no pair at the smallest distance in half of the cases
        reached.append(basins.uncertain_pairs(torch.zeros(n), torch.tensor(other)[:, :, None].long(), eps, 2).alpha)
    assert abs(np.nanmean(reached) - 1) < 0.15


def test_a_grid_in_halves_has_alpha_one_and_entropies_in_closed_form():
    labels = np.zeros((300, 300), int)
    labels[:150] = 7
    found = grid_uncertainty(labels)
    side = np.arange(2, 16)
    assert found.share == pytest.approx((side - 1) / (301 - side))  # of the places of a box, those across the middle
    assert found.alpha == pytest.approx(1, abs=0.03)  # these 301 - side places instead of 300
    assert grid_entropy(labels, 5).value == 0  # the boundary lies between boxes
    assert math.isnan(grid_entropy(labels, 5).boundary)
    cut = grid_entropy(labels, 20)  # 15 x 15 boxes, of which one row is halved
    assert (cut.boxes, cut.boundary_boxes) == (225, 15)
    assert cut.boundary == pytest.approx(math.log(2))
    assert cut.value == pytest.approx(math.log(2) / 15)


def test_three_dimensions():
    labels = np.zeros((40, 40, 40), int)
    labels[:, 19:] = 1
    assert grid_uncertainty(labels, [2, 3, 5]).share == pytest.approx([1 / 39, 2 / 38, 4 / 36])
    assert grid_entropy(labels, 2).value == pytest.approx(math.log(2) / 20)


def test_unknown_labels_are_left_out():
    centre = torch.tensor([0, 0, UNKNOWN, 1])
    around = torch.tensor([[0, 1], [UNKNOWN, 1], [0, 0], [1, 1]])[:, :, None]
    found = basins.uncertain_pairs(centre, around, [0.1, 0.2], 2)
    assert found.share.tolist() == [0, 2 / 3]
    assert found.known.tolist() == [2, 3]
    assert math.isnan(found.alpha)
    boxes = basin_entropy([[0, 0, UNKNOWN], [0, UNKNOWN, UNKNOWN], [3, 5, UNKNOWN]])
    assert (boxes.boxes, boxes.boundary_boxes) == (2, 1)
    assert boxes.value == pytest.approx(math.log(2) / 2)
    labels = np.full((20, 20), UNKNOWN)
    labels[5:10] = 2
    assert grid_uncertainty(labels, [2, 4]).share.tolist() == [0, 0]
    assert math.isnan(basin_entropy([[UNKNOWN] * 4]).value)


def test_entropies_reach_their_bounds():
    assert basin_entropy(np.arange(12).reshape(3, 4)).value == pytest.approx(math.log(4))
    assert basin_entropy(np.zeros((3, 4), int)).value == 0


def test_intervals_are_those_of_scipy():
    low, high = wilson([0, 3 / 50, 1], [20, 50, 7])
    for place, (k, n) in enumerate([(0, 20), (3, 50), (7, 7)]):
        expected = stats.binomtest(k, n).proportion_ci(method="wilson")
        assert (low[place], high[place]) == pytest.approx((expected.low, expected.high), abs=1e-12)


def wells(points):
    """z -> tanh(2 z) in every coordinate: attractors at the corners +-0.9575, basins are the orthants."""
    return ((points.flatten(1) > 0).long() * 2 ** torch.arange(points[0].numel())).sum(1)


def test_the_smallest_kick_is_the_distance_of_the_boundary():
    root = 0.9575040240772687
    attractors = torch.full((3, 2), root, dtype=torch.float64)
    attractors[2, 1] = -root
    directions = torch.tensor([[-1.0, 0.0], [-0.6, -0.8], [0.6, -0.8]], dtype=torch.float64)
    found = kicks(wells, attractors, wells(attractors), directions, [0.5, 1.0, 2.0], rounds=20)
    assert isinstance(found, Kicks)
    assert found.smallest[:2].tolist() == pytest.approx([root, root / 0.8], rel=1e-5)
    assert found.smallest[2] == math.inf
    assert found.returned.tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def test_a_kick_that_reaches_no_attractor_does_not_come_back():
    def ball(points):
        return torch.where(points.norm(dim=1) < 0.3, 4, UNKNOWN)

    directions = basins.unit(torch.randn((50, 5), generator=torch.Generator().manual_seed(1)))
    found = kicks(ball, torch.zeros(50, 5), torch.full((50,), 4), directions, [1.0, 4.0], rounds=12)
    assert found.smallest.tolist() == pytest.approx([0.3] * 50, abs=1e-3)
    assert not found.returned.any()
