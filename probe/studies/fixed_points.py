"""Where given starts end, which end points are the same fixed point, and their certificates."""

from typing import Any

import torch
from torch import Tensor

from probe.config import SolverConfig
from probe.dictionary import Merge, merge_by_euclid
from probe.dynamics import Certificates, EndPoints, Iteration, Outcome
from probe.dynamics.iterate import Map, iterate_batches
from probe.dynamics.memory import Fitting
from probe.studies.probing.attractor_dictionary import CERTIFICATES
from probe.studies.probing.dictionary import certify_points
from probe.studies.probing.end_points import OnStep

NOWHERE = -1
RESOLUTION = 100.0
"""Distance left to the fixed point at a residual equal to the tolerance, in units of that residual, for a spectral
radius of 0.99: closer points cannot be told apart."""


def end_points(f: Map, starts: Tensor, settings: Iteration, on_step: OnStep | None = None) -> EndPoints:
    """Iterate starts (n, ...) to their end points, returned on the CPU; ``on_step`` as in ``end_points.solve``."""
    ((_, ends),) = iterate_batches(Fitting(f), [(None, starts)], settings, on_step)
    return EndPoints(**{name: value.cpu() for name, value in vars(ends).items()})


def fixed_points(ends: EndPoints, euclidean: float, tolerance: float) -> tuple[Tensor, Tensor]:
    """Distinct converged end points (m, ...), largest basin first; each start's index among them or NOWHERE (n,)."""
    rows = (ends.outcome == Outcome.CONVERGED).nonzero().squeeze(1)
    member = torch.full((len(ends.outcome),), NOWHERE)
    merge = distinct(ends.end[rows], euclidean, tolerance)
    member[rows] = merge.member
    return ends.end[rows[merge.leader]], member


def distinct(points: Tensor, euclidean: float, tolerance: float) -> Merge:
    """Merge points (n, ...) that are closer than ``euclidean`` times their root mean square norm.

    The distance is never below what the tolerance resolves: near the origin a relative distance would merge nothing.
    """
    flat = points.flatten(1)
    scale = float(flat.double().square().sum(1).mean().sqrt()) if len(flat) else 0.0
    least = RESOLUTION * tolerance**0.5 / scale if scale else 0.0
    return merge_by_euclid(flat, max(euclidean, least), starts=torch.arange(len(flat)))


def certify_first(f: Map, points: Tensor, solver: SolverConfig, device: torch.device | str) -> Certificates:
    """Certificates of the first ``solver.certificates`` of the points (m, ...); no rows if there are none."""
    chosen = points[: solver.certificates]
    if not len(chosen):
        return Certificates.none()
    return certify_points(f, chosen.to(device), solver=solver)


def certificate_record(found: Certificates, i: int) -> dict[str, Any]:
    """The i-th certificate as JSON: ``certificate``, ``residual``, ``spectral_radius``, ``spectral_norm``.

    Numbers are null if unknown; ``certificate`` is "not looked at" for a point without one.
    """
    examined = i < len(found.attractor)
    names = ("residual", "spectral_radius", "spectral_norm")
    return {
        "certificate": CERTIFICATES[int(found.attractor[i])] if examined else "not looked at",
        **{name: finite_or_none(getattr(found, name)[i]) if examined else None for name in names},
    }


def finite_or_none(values: Tensor) -> Any:
    """A tensor as JSON: a number or nested lists of numbers, with null for everything that is not finite."""
    if values.ndim:
        return [finite_or_none(row) for row in values]
    return float(values) if bool(values.isfinite()) else None
