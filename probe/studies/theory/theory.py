"""The paper's theory measured on one autoencoder and its attractors (Section 3, Proposition 3.2, Theorem 1).

The parts: J_f at the data and far from them (``field``), the field against the score of the latent density (``score``),
and here both sides of the proposition, the bound that attractors give on the autoencoder's error:

||x - D(E(x))||^2 <= 2 ||x - D(P(E(x)))||^2 + 2 L^2 ||E(x) - P(E(x))||^2 with P(z) the prototype nearest to z and L a
Lipschitz constant of D. (The paper omits the factor 2 of (a + b)^2 <= 2 a^2 + 2 b^2.)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.dynamics.field import jacobian_norm
from probe.dynamics.iterate import Map
from probe.metrics.interval import correlation_interval, mean_interval, mean_intervals, verdict
from probe.studies.inputs import encode
from probe.studies.theory.field import as_json, measure, places
from probe.studies.theory.score import alignment

FACTORS = {"with_2": 2.0, "without_2": 1.0}
"""The proposition as it follows, and as printed in the paper."""
ALL = "all data sets"
CONTROLS = ("one_step", "noise")
ALONG = (0.0, 0.5, 1.0)
"""Positions on the segment from E(x) to P(E(x)) at which the Jacobian of D is computed."""


@dataclass(frozen=True)
class Terms:
    """The terms for n images, float64 (n,) on the CPU; squared norms over pixels and channels, in the model's range."""

    left: Tensor
    """||x - D(E(x))||^2"""
    prototype: Tensor
    """||x - D(P(E(x)))||^2"""
    coverage: Tensor
    """||E(x) - P(E(x))||^2, without L"""
    secant: Tensor
    """||D(E(x)) - D(P(E(x)))|| / ||E(x) - P(E(x))||, a lower bound on every Lipschitz constant of D"""


def nearest(z: Tensor, prototypes: Tensor, together: int = 64) -> Tensor:
    """P(z): the prototype (of m, ...) nearest to each row of z (n, ...), by Euclidean distance."""
    flat = prototypes.flatten(1).to(z)
    place = [
        # By differences: the error of a matrix product grows with the norms.
        torch.cdist(part.flatten(1), flat, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
        for part in z.split(together)
    ]
    return flat[torch.cat(place)].view_as(z)


@torch.no_grad()
def terms(model: Autoencoder, images: Tensor, z: Tensor, p: Tensor, together: int = 64) -> Terms:
    """The terms for uint8 images (n, 3, H, W) with latents z (n, ...) and their prototypes p (n, ...)."""
    rows = []
    for x, a, b in zip(images.split(together), z.split(together), p.split(together), strict=True):
        pixels, of_z, of_p = model.from_pixels(x), model.decode(a), model.decode(b)
        apart = _square(a - b)
        secant = (_square(of_z - of_p) / apart).sqrt()  # 0 / 0 where an image's latent is its prototype
        rows.append(torch.stack([_square(pixels - of_z), _square(pixels - of_p), apart, secant.nan_to_num(0.0)]))
    return Terms(*torch.cat(rows, 1).cpu())


def _square(x: Tensor) -> Tensor:
    return x.flatten(1).double().square().sum(1)


def segment_norms(decode: Callable[[Tensor], Tensor], z: Tensor, p: Tensor, together: int = 64) -> Tensor:
    """The largest singular value of J_D at points of the segments from z (n, ...) to p: (n, len(ALONG)), float64.

    Their maximum is a lower bound on the Lipschitz constant of D, which may be steeper elsewhere. All NaN if D has no
    derivative.
    """
    points = torch.stack([z + t * (p - z) for t in ALONG], 1).flatten(0, 1)
    return jacobian_norm(decode, points, together).view(len(z), len(ALONG))


@dataclass(frozen=True)
class Prototypes:
    """The candidates for P: ``attractors`` (m, *latent shape), which are ``certified`` or, if none are, all end points
    of the dictionary; and two controls, f(z0) of starts (``one_step``) and the starts themselves (``noise``)."""

    attractors: Tensor
    certified: bool
    one_step: Tensor
    noise: Tensor


def theory(
    model: Autoencoder,
    f: Map,
    prototypes: Prototypes,
    datasets: Mapping[str, tuple[Tensor, Tensor]],
    *,
    points: int = 16,
    probes: int = 8,
    seed: int = 0,
    together: int = 64,
    on_part: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Measure everything.

    Args:
        prototypes: on any device.
        datasets: by name, uint8 images (n, 3, H, W) and further, held-out images (m, 3, H, W).
        points: the most points of each kind at which a Jacobian is computed.
        probes: random probes for the antisymmetric part at a point.
        together: rows computed together.
        on_part: called with the name of each part when it starts.

    Returns:
        JSON: ``prototypes`` (``n``, ``certified``), ``decoder`` (``lipschitz``: the largest spectral norm of J_D found,
        or secant if larger, null if no norm is available; ``points``, ``largest_secant``), ``bound`` (by data set, see
        ``_bound``),
        ``field`` (a list, see ``field.measure``), ``score`` (by data set, and for all together where there are
        several, see ``score.alignment``; null if there are too few images).
    """
    chosen = {name: getattr(prototypes, name).to(model.device, model.dtype) for name in ("attractors", *CONTROLS)}
    latents: dict[str, Tensor] = {}
    heldout: dict[str, Tensor] = {}
    found: dict[str, dict[str, Terms]] = {}
    norms = [torch.empty(0, dtype=torch.float64)]
    for name, (images, further) in datasets.items():
        on_part(f"bound on {name}")
        z = latents[name] = encode(model, images, together=together)
        heldout[name] = encode(model, further, together=together) if len(further) else z[:0]
        near = {kind: nearest(z, kinds, together) for kind, kinds in chosen.items()}
        found[name] = {kind: terms(model, images, z, p, together) for kind, p in near.items()}
        norms.append(segment_norms(model.decode, z[:points], near["attractors"][:points], together).flatten())
    slopes = torch.cat(norms)
    secants = [float(terms.secant.max()) for one in found.values() for terms in one.values()]
    # D may be steepest where no Jacobian was computed; a secant is a lower bound on every Lipschitz constant, too.
    lipschitz = max(float(slopes.max()), *secants) if len(slopes) and bool(slopes.isfinite().all()) else None
    field = []
    for place in places(latents, chosen["attractors"], points, seed=seed):
        on_part(f"Jacobians: {' of '.join(filter(None, (place.where, place.dataset)))}")
        field.append(measure(f, place, probes=probes, seed=seed, together=together))
    on_part("score")
    pairs = {name: (latents[name], heldout[name]) for name in latents}
    if len(pairs) > 1:
        pairs[ALL] = (torch.cat(list(latents.values())), torch.cat(list(heldout.values())))
    return {
        "prototypes": {"n": len(prototypes.attractors), "certified": prototypes.certified},
        "decoder": {"lipschitz": lipschitz, "points": len(slopes), "largest_secant": max(secants, default=None)},
        "bound": {name: _bound(one, lipschitz) for name, one in found.items()},
        "field": field,
        "score": {name: alignment(f, z, fitted, seed=seed, together=together) for name, (z, fitted) in pairs.items()},
    }


def _bound(found: Mapping[str, Terms], lipschitz: float | None) -> dict[str, Any]:
    """The terms of a data set as JSON.

    Keys: ``n``; ``left``, ``prototype``, ``distance`` (||E(x) - P||^2), ``coverage`` (L^2 times that; null without L),
    each ``mean`` and ``ci95`` over images; ``bounds`` (null without L): for each of ``FACTORS`` the ``tightness``
    (right side / left side), ``kept`` (images for which it holds), ``broken_at_most`` (upper end of the exact 95 %
    interval of the share for which it fails), ``verdict``; ``correlation`` of the right and left side over images;
    ``controls``: the same means with other prototypes, the paired difference of prototype errors (attractors minus
    these), and the ``verdict`` on the claim that the attractors' is smaller; ``prototypes``: that on one step of f.
    """
    ours = found["attractors"]
    left, prototype, distance = (one.numpy() for one in (ours.left, ours.prototype, ours.coverage))
    coverage = None if lipschitz is None else lipschitz**2 * distance
    right = None if coverage is None else prototype + coverage
    controls = {name: _control(ours, found[name]) for name in CONTROLS}
    return {
        "n": len(left),
        **{name: _mean(v) for name, v in (("left", left), ("prototype", prototype), ("distance", distance))},
        "coverage": None if coverage is None else _mean(coverage),
        "bounds": None if right is None else {name: _side(left, factor * right) for name, factor in FACTORS.items()},
        "correlation": None if right is None else as_json(correlation_interval(right, left)),
        "controls": controls,
        "prototypes": controls["one_step"]["verdict"],
    }


def _side(left: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """One form of the proposition. L is a lower bound, so images that violate it refute nothing: undecided."""
    kept = int((left <= right).sum())
    return {
        "tightness": _mean(right / np.maximum(left, np.finfo(float).tiny)),
        "kept": kept,
        "broken_at_most": float(binomtest(len(left) - kept, len(left)).proportion_ci().high),
        "verdict": "holds" if kept == len(left) else "undecided",
    }


def _control(ours: Terms, other: Terms) -> dict[str, Any]:
    columns = torch.stack([other.prototype, other.coverage, ours.prototype - other.prototype], 1)
    prototype, distance, difference = mean_intervals(columns.numpy())
    return {
        "prototype": as_json(prototype),
        "distance": as_json(distance),
        "difference": as_json(difference),
        "verdict": verdict(difference, below=0),
    }


def _mean(values: np.ndarray) -> dict[str, Any]:
    return as_json(mean_interval(values))
