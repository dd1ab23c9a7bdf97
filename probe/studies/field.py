"""The latent vector field on a plane: attractors, basins and data (paper, Figures 1 and 3a)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probe.config import DictionaryConfig, SeedConfig, SolverConfig
from probe.dynamics import Certificates, EndPoints, Outcome, gaussian_starts
from probe.dynamics.field import Plane, field_at, jacobian_norm, principal_plane, whole_plane
from probe.dynamics.iterate import Map
from probe.errors import UserError
from probe.studies.fixed_points import (
    certificate_record,
    certify_first,
    distinct,
    end_points,
    finite_or_none,
    fixed_points,
)
from probe.studies.probing.end_points import iteration

PRODUCTS = 70
"""Upper bound on the evaluations of f for the spectral norm at a point."""
PAPER_EXTENT = 8.0
"""The paper's plots for k = 2 show z in [-8, 8]^2."""
MARGIN = 1.3


@dataclass(frozen=True)
class VectorField:
    """The field on a grid of p x p points c = (u, v) of a plane, in rows of equal v; tensors on the CPU.

    Attributes:
        of: what spans the plane: ``latent space`` (d = 2, no projection), ``data``, distinct ``end points``, or
            ``first steps`` f(z0) if there are too few end points.
        variance: share of the variance of the spanning points that lies in the plane.
        sides: the p coordinates along each axis (2, p).
        along: the field's component in the plane (p, p, 2). norm: of the whole field (p, p).
        spectral_norm: of J_f (p, p); NaN where the Jacobian is unavailable.
        basin: index into ``points`` of the fixed point that a grid point converges to (p, p); -1 for none.
        points: distinct fixed points (m, *latent shape), largest basin first (starts and grid points).
        certificates: of the first points; the others have none.
        outcomes: of the starts and of the grid points.
        data: coordinates (n, 2) of the data's latents, projected onto the plane; None without data.
    """

    plane: Plane
    of: str
    variance: float
    sides: Tensor
    along: Tensor
    norm: Tensor
    spectral_norm: Tensor
    basin: Tensor
    points: Tensor
    certificates: Certificates
    outcomes: dict[str, dict[str, int]]
    data: Tensor | None

    @property
    def in_plane(self) -> float:
        """Share of the field's norm that lies in the plane, averaged over the grid; 1 for d = 2."""
        moves = self.norm > 0
        shares = self.along.norm(dim=2)[moves] / self.norm[moves]
        return float(shares.mean()) if len(shares) else 1.0


def most_evaluations(points: int, seeds: SeedConfig, solver: SolverConfig) -> int:
    """Approximate upper bound on the evaluations of f (one row each) in ``vector_field``."""
    grid = points**2 * (solver.max_steps + PRODUCTS)
    return grid + seeds.count * (solver.max_steps + 1) + solver.certificates * solver.products


def vector_field(
    f: Map,
    latent_shape: Sequence[int],
    *,
    seeds: SeedConfig,
    solver: SolverConfig,
    dictionary: DictionaryConfig,
    data: Tensor | None = None,
    extent: float | None = None,
    points: int = 61,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> VectorField:
    """The field of f on the latent plane (d = 2), or on the plane of the first two principal components.

    Args:
        dictionary: fixed points closer than ``euclidean`` are merged; cosine would merge all points on a ray.
        data: latents (n, *latent_shape); used as the starts, and to span the plane if d > 2.
        extent: half the side of the window, centred at the plane's origin. Default: the paper's 8 for d = 2 if it
            holds 98 % of the end points and data, else a window around them.
        points: grid points along an axis.

    Raises:
        UserError: d = 1, or neither end points nor first steps span a plane.
    """
    device, d = torch.device(device), torch.Size(latent_shape).numel()
    if d < 2:
        raise UserError("a 1-dimensional latent space has no plane to plot; use a model with at least 2 dimensions.")
    settings = iteration(solver, latent_shape, device)
    starts = gaussian_starts(seeds.seed, range(seeds.count), latent_shape) if data is None else data
    ends = end_points(f, starts.to(device, dtype), settings)
    plane, of, variance = _plane(d, ends, data, dictionary.euclidean, solver.tolerance)
    shown = [ends.end[ends.outcome != Outcome.DIVERGED]] + ([] if data is None else [data.cpu()])
    centre, half = _window(plane.coordinates(torch.cat(shown).flatten(1)), d, extent)
    sides = centre[:, None] + torch.linspace(-half, half, points, dtype=torch.float64)
    z = plane.points(torch.stack(torch.meshgrid(*sides, indexing="xy"), 2).view(-1, 2))
    z = z.view(-1, *latent_shape).to(device, dtype)
    parts = (field_at(f, part, plane) for part in z.split(settings.batch_size))
    along, norm = (torch.cat(values) for values in zip(*parts, strict=True))
    grid_ends = end_points(f, z, settings)
    fixed, member = fixed_points(EndPoints.concatenate([grid_ends, ends]), dictionary.euclidean, solver.tolerance)
    square = (points, points)
    return VectorField(
        plane=plane,
        of=of,
        variance=variance,
        sides=sides,
        along=along.view(*square, 2),
        norm=norm.view(square),
        spectral_norm=jacobian_norm(f, z, settings.batch_size).view(square),
        basin=member[: len(z)].view(square),
        points=fixed,
        certificates=certify_first(f, fixed, solver, device),
        outcomes={"starts": ends.counts(), "grid": grid_ends.counts()},
        data=None if data is None else plane.coordinates(data.flatten(1)),
    )


def _plane(
    d: int, ends: EndPoints, data: Tensor | None, euclidean: float, tolerance: float
) -> tuple[Plane, str, float]:
    """The plane, what spans it, and the share of the variance in it."""
    if d == 2:
        return whole_plane(), "latent space", 1.0
    settled = ends.outcome != Outcome.DIVERGED
    points = ends.end[settled]
    candidates = {} if data is None else {"data": data}
    candidates["end points"] = points[distinct(points, euclidean, tolerance).leader]
    candidates["first steps"] = ends.first[settled]
    for of, spanning in candidates.items():
        try:
            plane, variance = principal_plane(spanning.flatten(1))
        except ValueError:  # one or two distinct points only
            continue
        return plane, of, variance
    raise UserError("neither the end points nor f of the starts span a plane; raise seeds.count, or give data.")


def _window(shown: Tensor, d: int, extent: float | None) -> tuple[Tensor, float]:
    """Centre (2,) and half side of the square window, from the coordinates (n, 2) that it should show."""
    origin = torch.zeros(2, dtype=torch.float64)
    least = PAPER_EXTENT if d == 2 else 0.0
    if extent or not len(shown):
        return origin, extent or least or 1.0
    low, high = (shown.quantile(share, 0) for share in (0.01, 0.99))
    if d == 2 and float(torch.maximum(-low, high).max()) <= PAPER_EXTENT:
        return origin, PAPER_EXTENT
    return (low + high) / 2, max(least, MARGIN * float((high - low).max()) / 2) or 1.0


def record(field: VectorField, labels: Sequence[str | None] | None = None) -> dict[str, Any]:
    """The field as JSON (field.json); null if unknown.

    Keys: ``d``; ``plane`` (``of``, ``projection``: true unless d = 2, ``variance_share``, ``field_share``: share of the
    field's norm in the plane, mean over the grid, ``origin``, ``axes``); ``sides`` (of the grid, along both axes);
    ``u``, ``v`` (the field along the axes), ``norm``, ``spectral_norm``, ``basin``, each a list of rows;
    ``fixed_points`` (``z``, ``coordinates``, ``certificate``, ``residual``, ``spectral_radius``, ``spectral_norm``,
    ``grid_share``: of the grid's area); ``outcomes``; ``data`` (``coordinates``, ``labels``) or null.
    """
    return {
        "d": len(field.plane.origin),
        "plane": {
            "of": field.of,
            "projection": len(field.plane.origin) > 2,
            "variance_share": field.variance,
            "field_share": field.in_plane,
            "origin": field.plane.origin.tolist(),
            "axes": field.plane.axes.tolist(),
        },
        "sides": field.sides.tolist(),
        "u": field.along[..., 0].tolist(),
        "v": field.along[..., 1].tolist(),
        "norm": finite_or_none(field.norm),
        "spectral_norm": finite_or_none(field.spectral_norm),
        "basin": field.basin.tolist(),
        "fixed_points": [
            {
                "z": z.flatten().tolist(),
                "coordinates": field.plane.coordinates(z.flatten()[None])[0].tolist(),
                **certificate_record(field.certificates, i),
                "grid_share": float((field.basin == i).double().mean()),
            }
            for i, z in enumerate(field.points)
        ],
        "outcomes": field.outcomes,
        "data": None if field.data is None else {"coordinates": field.data.tolist(), "labels": labels},
    }
