"""The paper's score of a start: how far its trajectory stays from the training attractors (Sections 3, 4.2)."""

import torch
from torch import Tensor

from probe.dynamics.iterate import Map, apply
from probe.dynamics.precision import full_float32


@torch.no_grad()
def trajectory_scores(
    f: Map,
    starts: Tensor,
    attractors: Tensor,
    *,
    max_steps: int,
    tolerance: float,
    max_norm: float = 1e6,
    together: int = 256,
) -> Tensor:
    """Mean over z_0, z_1, ..., z_T of the distance to the nearest attractor; trajectories are not kept.

    T is the first step at which ||f(z_T) - z_T||^2 < tolerance, at most ``max_steps``; a trajectory that leaves the
    ball of ``max_norm`` ends before that. No start influences another.

    Args:
        starts: z_0 (n, ...).
        attractors: (m, ...), m >= 1, on any device.
        together: starts that are iterated together.

    Returns:
        float64 (n,) on the CPU; the higher, the less like the attractors.
    """
    reference = attractors.flatten(1).to(starts)
    parts = starts.split(together)
    return torch.cat([_scores(f, part, reference, max_steps, tolerance, max_norm) for part in parts])


def _scores(f: Map, z: Tensor, reference: Tensor, max_steps: int, tolerance: float, max_norm: float) -> Tensor:
    total = torch.zeros(len(z), dtype=torch.float64)
    count = torch.zeros(len(z), dtype=torch.float64)
    rows = torch.arange(len(z))
    for _ in range(max_steps + 1):
        total[rows] += _nearest(z, reference)
        count[rows] += 1
        with full_float32():
            y, residual = apply(f, z)
        goes_on = (residual >= tolerance) & (y.flatten(1).norm(dim=1) <= max_norm)  # not where NaN
        rows, z = rows[goes_on.cpu()], y[goes_on]
        if not len(rows):
            break
    return total / count


def _nearest(z: Tensor, reference: Tensor) -> Tensor:
    # By differences: the matrix product's error is that of the norms, and end points lie on their attractors.
    distance = torch.cdist(z.flatten(1), reference, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.amin(1).double().cpu()
