"""How fast starts move: the steps that linear convergence takes, and the exponents of those that do not settle."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.dynamics.jacobian import Jacobian, directions
from probe.dynamics.memory import Fitting
from probe.precision import full_float32

TRANSIENT, FURTHER = 20, 10
"""Steps in which the tangent vector aligns, before growth is counted; and by which this is lengthened as long as the
two halves of what is counted differ."""
COUNTED = 80
"""Steps in which growth is counted."""
APART = 3
"""Standard errors, of the later half, by which the halves may differ."""
BLOCKS = 8
"""Blocks of the trajectory; the spread of their means gives the standard error."""


@dataclass(eq=False)
class Exponents:
    """Of n trajectories; float64 on the CPU.

    Attributes:
        value: largest finite-time Lyapunov exponent, per step: the mean of log ||J v|| along the trajectory. Positive:
            neighbouring trajectories separate; about zero or negative: the trajectory is slow. NaN where it became
            non-finite, or f has no derivative.
        error: standard error over parts of the trajectory.
        end: where the trajectory arrived (n, ...), in the type of the points.
    """

    value: Tensor
    error: Tensor
    end: Tensor


@torch.no_grad()
def lyapunov_exponents(f: Callable[[Tensor], Tensor], z: Tensor, *, steps: int = COUNTED) -> Exponents:
    """The largest finite-time Lyapunov exponent of trajectories that continue from z (n, ...), in units of 1 / step:
    are starts that do not settle chaotic, or do they approach a point slowly?

    A tangent vector is carried along by products with the Jacobian and kept at length 1 (Benettin et al. 1980); growth
    is counted in ``steps`` products, after ``TRANSIENT`` in which it aligns. Where the halves of what is counted
    differ, the transient is longer, up to half of it; if they still differ then, that is part of the error. Where
    products with J^T are faster, the trajectory comes first, and the vector is carried back along it: J_n ... J_1 and
    its transpose have the same singular values.
    """
    jacobian = Jacobian(f, z)
    usable = Fitting(lambda rows: jacobian.take(rows).agrees())(torch.arange(len(z), device=z.device))
    if not bool(usable.any()):
        nan = torch.full((len(z),), torch.nan, dtype=torch.float64)
        return Exponents(nan, nan.clone(), z)
    carried = _back if jacobian.transposes else _along
    logs, z = carried(jacobian, z, TRANSIENT + steps)
    value, error = _steady_mean(logs, both_ends=jacobian.transposes)
    finite = usable & torch.isfinite(logs).all(1)
    nan = torch.full_like(error, torch.nan)
    return Exponents(torch.where(finite, value, nan).cpu(), torch.where(finite, error, nan).cpu(), z)


def _steady_mean(logs: Tensor, *, both_ends: bool) -> tuple[Tensor, Tensor]:
    """Means of logarithms (n, k) after a transient, as long as each row needs it, and their standard errors (n,).
    ``both_ends``: the trajectory began at the last of them, where it may have a transient of its own."""
    steps = logs.shape[1] - TRANSIENT
    value, error = torch.full((2, len(logs)), torch.nan, dtype=logs.dtype, device=logs.device)
    left = torch.ones(len(logs), dtype=torch.bool, device=logs.device)
    further = range(0, max(steps // (4 if both_ends else 2), 1), FURTHER)
    for more in further:
        counted = logs[:, TRANSIENT + more : logs.shape[1] - (more if both_ends else 0)]
        means = torch.stack([part.mean(1) for part in counted.chunk(BLOCKS, 1)], 1)
        halves = [half.mean(1) for half in means.chunk(2, 1)]
        apart, later = (halves[0] - halves[1]).abs(), means[:, BLOCKS // 2 :]
        steady = apart <= APART * (2 * later.var(1) / later.shape[1]).sqrt() + 1e-12
        own = means.std(1) / means.shape[1] ** 0.5
        value = torch.where(left, counted.mean(1), value)
        error = torch.where(left, torch.where(steady, own, torch.maximum(own, apart / 2)), error)
        left &= ~steady
    return value, error


def _along(jacobian: Jacobian, z: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """log ||J v|| of each step (n, steps) as v is carried along, and the last point."""
    v = directions(z)
    logs: list[Tensor] = []
    for _ in range(steps):
        z, w = jacobian.at(z).step(v)
        v = _unit(w, logs)
    return torch.stack(logs, 1), z


def _back(jacobian: Jacobian, z: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The same with J^T, from the last step to the first."""
    once, product = Fitting(jacobian.f), Fitting(lambda z, u: jacobian.at(z).transposed_times(u))
    points = [z]
    with full_float32():
        for _ in range(steps):
            points.append(once(points[-1]))
    u = directions(z)
    logs: list[Tensor] = []
    for point in reversed(points[:-1]):
        u = _unit(product(point, u), logs)
    return torch.stack(logs, 1), points[-1]


def _unit(w: Tensor, logs: list[Tensor]) -> Tensor:
    """w at length 1; the logarithms of its lengths are added to ``logs``."""
    length = torch.linalg.vector_norm(w.flatten(1).double(), dim=1)
    logs.append(length.log())
    return w / length.to(w).view(-1, *[1] * (w.ndim - 1))


def predicted_steps(
    start: Tensor, fixed: Tensor, radius: Tensor, tolerance: float, from_one: Tensor | None = None
) -> Tensor:
    """log(eps / ||z0 - z*||) / log(rho) (paper, Proposition A.9): the steps from z0 to the tolerance, if f were linear
    with this spectral radius everywhere and the whole way led along its slowest direction.

    The proposition's eps is a distance. Along the eigenvector of lambda, the eigenvalue with |lambda| = rho, the
    residual ||f(z) - z|| is |1 - lambda| times the distance, so that eps = sqrt(tolerance) / |1 - lambda|: for a
    negative or complex lambda the tolerance is reached later than for lambda = rho.

    Args:
        start, fixed: z0 and z* (n, ...).
        radius: rho (n,).
        from_one: |1 - lambda| (n,); default: 1 - rho.

    Returns:
        float64 (n,) on the CPU, at least 0; NaN where rho is not in (0, 1).
    """
    distance = (fixed.double() - start.double()).flatten(1).norm(dim=1).cpu()
    rho = radius.double().cpu()
    rho = torch.where((rho > 0) & (rho < 1), rho, torch.nan)
    eps = tolerance**0.5 / (1 - rho if from_one is None else from_one.double().cpu())
    return ((eps / distance).log() / rho.log()).clamp(min=0)


def log_error(predicted: Tensor, actual: Tensor) -> Tensor:
    """|log((1 + predicted) / (1 + actual))|: by what factor a number of steps was missed; 1 + since steps can be 0."""
    return ((1 + predicted.double()) / (1 + actual.double())).log().abs()
