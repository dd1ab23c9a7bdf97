"""Do plain steps from a point settle in a fixed point? A small residual and a spectral radius below 1 do not say so:
f(z) = z + z^2 + 0.001 has both at z = -0.044, and no fixed point at all.

| symbol | meaning | shape |
|---|---|---|
| z | points whose residual is below the tolerance | (n, ...) |
| rho | spectral radius of J_f there, as first estimated | (n,) |
| k | plain steps in which a residual shrinks to ``LEFT`` if it shrinks by rho at each | (n,) |
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.dynamics.acceleration import extrapolate
from probe.dynamics.flow import IDLE, per_row
from probe.dynamics.iterate import apply
from probe.dynamics.jacobian import directions
from probe.dynamics.memory import Fitting
from probe.precision import full_float32

LEFT = 0.01
"""What k steps leave of a residual if the radius is right."""
TENFOLD = 0.1
"""What they may leave of it."""
MOST = 2000
"""Plain steps at most. A residual that shrinks more slowly is extrapolated from these."""
SPACING = 400
"""Steps between the points that are extrapolated."""
ROUNDING = 16
"""Units of rounding, relative to the norm of the point, by which f(z) - z may be wrong."""


@dataclass
class Settled:
    """Of n points.

    Attributes:
        point: where k steps lead (n, ...); the point itself where they did not settle.
        residual: ||f(z) - z||^2 of ``point``, float64 on the CPU (n,).
        settled: the residual has shrunk tenfold, or is rounding (bool, CPU).
    """

    point: Tensor
    residual: Tensor
    settled: Tensor


def rounding(z: Tensor) -> Tensor:
    """By how much ||f(z) - z|| of points z (n, ...) may be wrong: float64 (n,) on the CPU."""
    norms = torch.linalg.vector_norm(z.flatten(1), dim=1)
    return ROUNDING * torch.finfo(z.dtype).eps * norms.double().cpu()


@torch.no_grad()
def settle(f: Callable[[Tensor], Tensor], z: Tensor, residual: Tensor, rho: Tensor, together: int) -> Settled:
    """Take plain steps from points z (n, ...), ``together`` at a time.

    Where a residual shrinks too slowly for ``MOST`` steps to show it, the point is extrapolated from those (reduced
    rank extrapolation), and the residual there must have shrunk likewise.

    Args:
        residual: ||f(z) - z||^2 of the points, float64 (n,) on the CPU.
        rho: estimate of the spectral radius (n,) on the CPU; a point where it is not below 1 is left as it is.
    """
    found = Settled(z.clone(), residual.clone(), torch.zeros(len(z), dtype=torch.bool))
    rows = (rho < 1).nonzero().squeeze(1)  # not where NaN
    if not len(rows):
        return found
    steps = torch.log(torch.tensor(LEFT)) / rho[rows].clamp(min=LEFT, max=1 - 1e-9).log()
    steps, order = steps.ceil().clamp(max=MOST).long().sort(descending=True, stable=True)
    rows = rows[order]
    with full_float32():
        point, left = Fitting(lambda *part: _walked(f, *part), together)(z[rows.to(z.device)], steps.to(z.device))
    left = left.double().cpu()
    # Compared as norms; NaN compares false.
    shrunk = left.sqrt() <= torch.maximum(TENFOLD * residual[rows].sqrt(), rounding(point))
    rows, here = rows[shrunk], shrunk.to(z.device)
    found.point[rows.to(z.device)], found.residual[rows], found.settled[rows] = point[here], left[shrunk], True
    return found


@torch.no_grad()
def returns(f: Callable[[Tensor], Tensor], z: Tensor, kick: float, radius: Tensor, together: int) -> Tensor:
    """Whether a start beside z comes to where plain steps from z lead, so that nothing there repels; bool (n,), CPU.

    Both take the steps in which a repelling direction of rate ``radius`` (n,), above 1, would grow by
    ``1 / LEFT`` sqrt(d), at most ``MOST``: a random kick of length ``kick`` has 1 / sqrt(d) of it along one direction.
    Their distance must shrink tenfold, and below a hundredth of what it would have grown to.
    """
    grows = z[0].numel() ** 0.5 / LEFT
    steps = (torch.log(torch.tensor(grows)) / radius.clamp(min=1 + 1e-9).log()).ceil().clamp(1, MOST).long()
    steps, order = steps.sort(descending=True, stable=True)
    rows = order.to(z.device)

    def walked(start: Tensor) -> Tensor:
        with full_float32():
            return torch.cat(
                [_steps(f, *part) for part in zip(start.split(together), steps.split(together), strict=True)]
            )

    beside = walked(z[rows] + kick * directions(z[rows], 1))
    left = torch.linalg.vector_norm((beside - walked(z[rows])).flatten(1), dim=1).double().cpu() / kick
    found = torch.zeros(len(z), dtype=torch.bool)
    found[order] = left <= torch.clamp(radius[order] ** steps / grows, max=TENFOLD)
    return found


def _walked(f: Callable[[Tensor], Tensor], z: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """The points after ``steps`` (n,), descending, each at least 1; extrapolated after ``MOST``. With residuals."""
    marks: list[Tensor] = []
    z = _steps(f, z, steps, marks)
    residual = apply(f, z)[1]
    if int(steps[0]) < MOST:
        return z, residual
    # Of f applied SPACING times the points are plain steps; the newest first.
    passed = torch.stack([point.flatten(1) for point in (*marks, z)], 1).flip(1)
    point = extrapolate(passed[:, :-1], passed[:, :-1] - passed[:, 1:])[0].view_as(z)
    better = apply(f, point)[1]
    takes = (steps == MOST) & (better < residual)
    return torch.where(per_row(takes, z), point, z), torch.where(takes, better, residual)


def _steps(f: Callable[[Tensor], Tensor], z: Tensor, steps: Tensor, marks: list[Tensor] | None = None) -> Tensor:
    """Points after ``steps`` (n,), descending; ``marks`` gets those after every ``SPACING``, if some take ``MOST``."""
    counts, z = steps.tolist(), z.clone()
    rows = left = len(z)
    for step in range(counts[0]):
        if marks is not None and counts[0] == MOST and step % SPACING == 0:
            marks.append(z.clone())
        while counts[left - 1] <= step:
            left -= 1
        rows = left if left <= (1 - IDLE) * rows else rows
        z[:left] = f(z[:rows])[:left]
    return z
