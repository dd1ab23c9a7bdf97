"""End points of given starts, and which of them are one fixed point, by distance."""

import torch
from torch import Tensor

from probe.dictionary import Merge, merge_by_euclid
from probe.dynamics import EndPoints, Iteration, Outcome
from probe.dynamics.iterate import Map, iterate_batches
from probe.dynamics.memory import Fitting

NOWHERE = -1
RESOLUTION = 100.0
"""Way that a residual at the tolerance leaves to the fixed point, in units of that residual, at a spectral radius of
0.99: points that are nearer to each other are not told apart."""


def end_points(f: Map, starts: Tensor, how: Iteration) -> EndPoints:
    """Where the starts (n, ...) end, on the CPU."""
    ((_, ends),) = iterate_batches(Fitting(f), [(None, starts)], how)
    return EndPoints(**{name: value.cpu() for name, value in vars(ends).items()})


def fixed_points(ends: EndPoints, euclidean: float, tolerance: float) -> tuple[Tensor, Tensor]:
    """Distinct converged end points (m, ...), largest basins first, and which one each start has, or NOWHERE (n,)."""
    rows = (ends.outcome == Outcome.CONVERGED).nonzero().squeeze(1)
    member = torch.full((len(ends.outcome),), NOWHERE)
    merge = distinct(ends.end[rows], euclidean, tolerance)
    member[rows] = merge.member
    return ends.end[rows[merge.leader]], member


def distinct(points: Tensor, euclidean: float, tolerance: float) -> Merge:
    """Merge points (n, ...) within ``euclidean`` of their root mean square norm.

    Not nearer than the tolerance can tell, though: near the origin a relative distance would tell all points apart.
    """
    flat = points.flatten(1)
    scale = float(flat.double().square().sum(1).mean().sqrt()) if len(flat) else 0.0
    least = RESOLUTION * tolerance**0.5 / scale if scale else 0.0
    return merge_by_euclid(flat, max(euclidean, least), starts=torch.arange(len(flat)))
