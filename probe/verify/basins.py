"""Maps whose basin boundaries are known: Newton's for z^n = 1, and Grebogi's.

The loop of ``probe.dynamics`` finds where each point ends; the measures are those of ``probe.dynamics.basins``.

| symbol | meaning | shape |
|---|---|---|
| z | x + i y, a point of the plane | (m, 2) |
| a, b, J0 | 1.32, 0.9, 0.3 of Grebogi's map | |
"""

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from probe.dynamics import Outcome, iterate
from probe.dynamics.basins import UNKNOWN, Basin, Entropy, grid_entropy, grid_uncertainty, uncertainty

SEPARATIONS = [1.5 * part for part in (1 / 128, 1 / 64, 1 / 32, 1 / 16, 0.05, 1 / 8, 1 / 4)]
PROBES = 4096


def newton_by_pairs(n: int) -> float:
    """Uncertainty exponent of Newton's map, from pairs of points in the square +-1.5."""
    probes = torch.rand((PROBES, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 - 1.5
    return uncertainty(newton(n), probes, SEPARATIONS).alpha


def newton_by_boxes() -> float:
    """That of n = 3 from boxes of 5 to 30 points of a grid of 300 x 300 in the square +-1."""
    return grid_uncertainty(_labels(newton(3), (-1, 1), (-1, 1), 300), range(5, 31)).alpha


def grebogi_by_boxes() -> float:
    """That of Grebogi's map, from boxes of 3 to 15 points of a grid of 251 x 251."""
    return grid_uncertainty(_labels(grebogi, (0, 2 * math.pi), (-0.5, 0.5), 251), range(3, 16)).alpha


@cache
def grebogi_entropy() -> Entropy:
    """Basin entropies of Grebogi's map, in boxes of 6 x 6 points of a grid of 300 x 300."""
    return grid_entropy(_labels(grebogi, (0, 2 * math.pi), (-0.5, 0.5), 300), 6)


def straight_boundary() -> float:
    """Uncertainty exponent of two half-planes, from pairs of points in the square +-1."""
    probes = torch.rand((4 * PROBES, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    return uncertainty(lambda z: (z[:, 0] > 0).long(), probes, [0.02, 0.05, 0.1, 0.2, 0.4]).alpha


def newton(n: int) -> Basin:
    """Which root of z^n = 1 Newton's iteration reaches within 100 steps."""
    roots = torch.exp(2j * math.pi * torch.arange(n, dtype=torch.float64) / n)

    def step(points: Tensor) -> Tensor:
        z = torch.view_as_complex(points.contiguous())
        return torch.view_as_real(z - (z**n - 1) / (n * z ** (n - 1)))

    def basin(points: Tensor) -> Tensor:
        end = _ends(step, points, 100)
        return torch.where(end[:, 0].isfinite(), (torch.view_as_complex(end)[:, None] - roots).abs().argmin(1), UNKNOWN)

    return basin


def grebogi(points: Tensor) -> Tensor:
    """Which attractor of Grebogi's map (1983) is reached: (0, -J0) or (pi, J0), up to multiples of 2 pi."""

    def step(z: Tensor) -> Tensor:
        angle, x = z.unbind(1)
        turned = angle + 1.32 * torch.sin(2 * angle) - 0.9 * torch.sin(4 * angle) - x * torch.sin(angle)
        return torch.stack([turned, -0.3 * torch.cos(angle)], 1)

    end = _ends(step, points, 300)
    return torch.where(end[:, 0].isfinite(), (torch.cos(end[:, 0]) < 0).long(), UNKNOWN)


def _ends(step: Callable[[Tensor], Tensor], points: Tensor, steps: int) -> Tensor:
    """The fixed points that are reached (m, 2), float64; NaN where none is."""
    ends = iterate(step, points.double(), max_steps=steps, tolerance=1e-12)
    return torch.where((ends.outcome == Outcome.CONVERGED)[:, None], ends.end, torch.nan)


def _labels(basin: Basin, first: tuple[float, float], second: tuple[float, float], points: int) -> Tensor:
    """Labels of a grid (points, points)."""
    axes = [torch.linspace(low, high, points, dtype=torch.float64) for low, high in (first, second)]
    return basin(torch.cartesian_prod(*axes)).view(points, points)
