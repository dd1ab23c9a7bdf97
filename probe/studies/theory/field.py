"""J_f at the data, near them and far from them: does f contract there, and is its field a gradient?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probe.dynamics import Jacobian, gaussian_starts
from probe.dynamics.field import antisymmetric_share, jacobian_norm, null_share
from probe.dynamics.iterate import Map
from probe.metrics.interval import Interval, mean_interval, verdict
from probe.studies.fixed_points import finite_or_none

NEAR, FAR = 0.25, 4.0
"""Standard deviation of the noise near and far from the data, in units of ``deviation`` of the data."""
GRADIENT = 0.01
"""The field counts as a gradient if its antisymmetric part holds less than this share of J_f's squared norm."""


@dataclass(frozen=True)
class Place:
    """Points of one kind: ``data`` and ``near`` (of a data set), ``noise``, ``far`` and ``attractors`` (of none)."""

    where: str
    dataset: str | None
    points: Tensor


def places(latents: Mapping[str, Tensor], attractors: Tensor, n: int, *, seed: int) -> list[Place]:
    """The points (at most n of each kind) at which J_f is computed, from latents of images by data set (k, ...) and the
    run's attractors (m, ...). Without data, only attractors and noise."""
    shape = attractors.shape[1:]
    noise = gaussian_starts(seed, range(n), shape).to(attractors)
    found = []
    for name, z in latents.items():
        found += [Place("data", name, z[:n]), Place("near", name, z[:n] + NEAR * deviation(z) * noise[: len(z)])]
    if latents:
        pooled = torch.cat(list(latents.values()))
        found.append(Place("far", None, pooled.mean(0) + FAR * deviation(pooled) * noise))
    return [*found, Place("noise", None, noise), Place("attractors", None, attractors[:n])]


def deviation(z: Tensor) -> float:
    """Root of the mean variance of a coordinate of z (n, ...), over rows; 0 for one point."""
    return float(z.flatten(1).double().var(0, correction=0).mean().sqrt())


def measure(f: Map, place: Place, *, probes: int, seed: int, together: int = 64) -> dict[str, Any]:
    """J_f at the points of a place, as JSON.

    Keys: ``where``, ``dataset`` (or null), ``n``; ``norm``: the spectral norm of J_f (``mean``, ``ci95`` over points,
    ``largest``: a lower bound on the Lipschitz constant there, ``below_1``: share of the points, ``values``),
    ``contracts``: verdict on the claim that the mean is below 1; ``antisymmetric``: share of ||J_f||_F^2 (``mean``,
    ``ci95``, ``null``: for independent entries, ``values``), ``gradient``: verdict on the claim that the mean is below
    ``GRADIENT``, ``less_than_chance``: that it is below ``null``. Unknown values are null, their verdicts undecided.
    """
    norm = jacobian_norm(f, place.points, together)
    if bool(norm.isfinite().all()):
        parts = enumerate(place.points.split(together))
        share = torch.cat([antisymmetric_share(Jacobian(f, z), probes=probes, seed=seed + i) for i, z in parts])
    else:
        share = torch.full_like(norm, torch.nan)
    chance = null_share(place.points[0].numel())
    of_norm, of_share = mean_interval(norm.numpy()), mean_interval(share.numpy())
    return {
        "where": place.where,
        "dataset": place.dataset,
        "n": len(norm),
        "norm": {
            **as_json(of_norm),
            "values": finite_or_none(norm),
            "largest": finite_or_none(norm.max()),
            "below_1": finite_or_none(norm.lt(1).double().where(norm.isfinite(), torch.nan).mean()),
        },
        "contracts": verdict(of_norm, below=1),
        "antisymmetric": {**as_json(of_share), "values": finite_or_none(share), "null": chance},
        "gradient": verdict(of_share, below=GRADIENT),
        "less_than_chance": verdict(of_share, below=chance),
    }


def as_json(found: Interval) -> dict[str, Any]:
    """``mean`` and ``ci95``; null if unknown."""
    return {**found.as_json(), "mean": found.mean if math.isfinite(found.mean) else None}
