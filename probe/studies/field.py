"""The latent vector field on a plane, and what lives there: attractors, basins, data (paper, Figures 1 and 3a)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probe.config import DictionaryConfig, SeedConfig, SolverConfig
from probe.dynamics import Certificates, EndPoints, Outcome, gaussian_starts
from probe.dynamics.certificate import NO, UNDECIDED, YES
from probe.dynamics.field import Plane, field_at, jacobian_norm, principal_plane, whole_plane
from probe.dynamics.iterate import Map
from probe.errors import UserError
from probe.studies.fixed_points import distinct, end_points, fixed_points
from probe.studies.probing.dictionary import certify_points
from probe.studies.probing.end_points import iteration

PAPER_EXTENT = 8.0
"""Of the paper's pictures for k = 2: z in [-8, 8]^2."""
MARGIN = 1.3
CERTIFICATES = {YES: "attractor", NO: "not an attractor", UNDECIDED: "undecided"}


@dataclass(frozen=True)
class VectorField:
    """What was found on a grid of p x p points c = (u, v) of a plane, row by row of v; tensors on the CPU.

    Attributes:
        plane: z = origin + c axes.
        of: what spans it: ``latent space`` (d = 2, nothing is projected), ``data``, distinct ``end points``, or ``first
            steps`` f(z0), where there are too few of those.
        variance: share of the variance of those that lies in the plane.
        sides: the p coordinates along each axis (2, p).
        along: the field's part in the plane (p, p, 2). norm: of the whole field (p, p).
        spectral_norm: of J_f (p, p); NaN where J_f is not to be had.
        basin: the fixed point that a grid point runs to (p, p), a row of ``points``; -1 for none.
        points: distinct fixed points (m, *latent shape), by how many starts and grid points they take.
        certificates: of the first points; the others have none.
        outcomes: of the starts and of the grid points.
        data: coordinates of the data's latents (n, 2), of their nearest points in the plane; None without data.
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
        """Mean over the grid of the share of the field's norm that lies in the plane; 1 for d = 2."""
        moves = self.norm > 0
        shares = self.along.norm(dim=2)[moves] / self.norm[moves]
        return float(shares.mean()) if len(shares) else 1.0


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
    """The field of f on the latent plane (d = 2), or on that of the first two principal components.

    Args:
        seeds: Gaussian starts, where there is no data.
        dictionary: fixed points nearer than its ``euclidean`` are one; cosine would merge those on one ray.
        data: latents (n, *latent_shape), which are then the starts, and span the plane where d > 2.
        extent: half the side of a window about the plane's origin; by default the paper's 8 for d = 2, if 98 % of the
            end points and data lie in it; else a window about these.
        points: of the grid along an axis.

    Raises:
        UserError: the latent space is no plane and has none: d = 1.
    """
    device, d = torch.device(device), torch.Size(latent_shape).numel()
    if d < 2:
        raise UserError("a latent of one dimension has no plane to draw a field on; take a model with 2 or more.")
    how = iteration(solver, latent_shape, device)
    starts = gaussian_starts(seeds.seed, range(seeds.count), latent_shape) if data is None else data
    ends = end_points(f, starts.to(device, dtype), how)
    plane, of, variance = _plane(d, ends, data, dictionary.euclidean, solver.tolerance)
    shown = [ends.end[ends.outcome != Outcome.DIVERGED]] + ([] if data is None else [data.cpu()])
    centre, half = _window(plane.coordinates(torch.cat(shown).flatten(1)), d, extent)
    sides = centre[:, None] + torch.linspace(-half, half, points, dtype=torch.float64)
    u, v = torch.meshgrid(*sides, indexing="xy")
    z = plane.points(torch.stack([u, v], 2).view(-1, 2)).view(-1, *latent_shape).to(device, dtype)
    parts = z.split(how.batch_size)
    along, norm = (torch.cat(values) for values in zip(*(field_at(f, part, plane) for part in parts), strict=True))
    grid_ends = end_points(f, z, how)
    fixed, member = fixed_points(EndPoints.concatenate([grid_ends, ends]), dictionary.euclidean, solver.tolerance)
    square = (points, points)
    return VectorField(
        plane=plane,
        of=of,
        variance=variance,
        sides=sides,
        along=along.view(*square, 2),
        norm=norm.view(square),
        spectral_norm=jacobian_norm(f, z, how.batch_size).view(square),
        basin=member[: len(z)].view(square),
        points=fixed,
        certificates=certify_points(f, fixed[: solver.certificates].to(device), solver=solver)
        if len(fixed) and solver.certificates
        else Certificates.unknown(torch.empty(0)),
        outcomes={"starts": ends.counts(), "grid": grid_ends.counts()},
        data=None if data is None else plane.coordinates(data.flatten(1)),
    )


def _plane(
    d: int, ends: EndPoints, data: Tensor | None, euclidean: float, tolerance: float
) -> tuple[Plane, str, float]:
    """The plane, what spans it, and the share of its variance there."""
    if d == 2:
        return whole_plane(), "latent space", 1.0
    settled = ends.outcome != Outcome.DIVERGED
    points = ends.end[settled]
    ways = {} if data is None else {"data": data}
    ways["end points"] = points[distinct(points, euclidean, tolerance).leader]
    ways["first steps"] = ends.first[settled]
    for of, spanning in ways.items():
        try:
            plane, variance = principal_plane(spanning.flatten(1))
        except ValueError:  # all ran to one or two points, or there is next to no data
            continue
        return plane, of, variance
    raise UserError("neither the end points nor f of the starts span a plane; raise seeds.count, or give data.")


def _window(shown: Tensor, d: int, extent: float | None) -> tuple[Tensor, float]:
    """The centre (2,) of the square that is drawn, and half its side, by coordinates (n, 2) of what is to be seen."""
    origin = torch.zeros(2, dtype=torch.float64)
    least = PAPER_EXTENT if d == 2 else 0.0
    if extent or not len(shown):
        return origin, extent or least or 1.0
    low, high = (shown.quantile(share, 0) for share in (0.01, 0.99))
    if d == 2 and float(torch.maximum(-low, high).max()) <= PAPER_EXTENT:
        return origin, PAPER_EXTENT
    return (low + high) / 2, max(least, MARGIN * float((high - low).max()) / 2) or 1.0


def record(field: VectorField, labels: Sequence[str | None] | None = None) -> dict[str, Any]:
    """The field as field.json holds it; null stands for what is not known.

    Keys: ``d``; ``plane`` (``of``, ``projection``: true unless d = 2, ``variance_share``, ``field_share``: of the
    field's norm that lies in the plane, mean over the grid, ``origin``, ``axes``); ``sides`` (of the grid, along both
    axes); ``u``, ``v`` (the field along the axes), ``norm``, ``spectral_norm``, ``basin``, each a list of rows;
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
        "norm": _known(field.norm),
        "spectral_norm": _known(field.spectral_norm),
        "basin": field.basin.tolist(),
        "fixed_points": [_fixed_point(field, i) for i in range(len(field.points))],
        "outcomes": field.outcomes,
        "data": None if field.data is None else {"coordinates": field.data.tolist(), "labels": labels},
    }


def _fixed_point(field: VectorField, i: int) -> dict[str, Any]:
    z, found = field.points[i].flatten(), field.certificates
    looked_at = i < len(found.attractor)
    about = {name: _known(getattr(found, name)[i]) if looked_at else None for name in ("residual", *RADII)}
    return {
        "z": z.tolist(),
        "coordinates": field.plane.coordinates(z[None])[0].tolist(),
        "certificate": CERTIFICATES[int(found.attractor[i])] if looked_at else "not looked at",
        **about,
        "grid_share": float((field.basin == i).double().mean()),
    }


RADII = ("spectral_radius", "spectral_norm")


def _known(values: Tensor) -> Any:
    """As lists; null where a number is not finite."""
    if values.ndim:
        return [_known(row) for row in values]
    return float(values) if torch.isfinite(values) else None
