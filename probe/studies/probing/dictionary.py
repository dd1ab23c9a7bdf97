"""Data-free weight probing: from end points to a dictionary of certified atoms (paper, Sections 3, 4.1)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from probe.config import DictionaryConfig, SeedConfig, SolverConfig
from probe.dictionary import (
    at_origin,
    gaussian,
    merge_by_cosine,
    merge_by_euclid,
    merge_certified,
    unit_rows,
    with_origin,
)
from probe.dynamics import (
    Certificates,
    EndPoints,
    Estimate,
    Outcome,
    certify,
    gaussian_starts,
    iterate,
)
from probe.dynamics.certificate import NO, UNDECIDED, YES, spectra_at
from probe.dynamics.iterate import Map, apply
from probe.dynamics.latent_map import in_type
from probe.dynamics.memory import Fitting
from probe.dynamics.rates import predicted_steps
from probe.errors import UserError
from probe.metrics.sets import vendi_score
from probe.studies.probing.attractor_dictionary import MEASURED, AttractorDictionary

UNKNOWN = -1
LEADERS = 12
"""Atoms (largest basins first) whose start is iterated plainly, for comparison with the predicted steps."""
PICTURES, THUMBNAILS = 64, 4096
"""Atoms whose decoded end points are kept as pictures, and as small ones (``picture``); largest basins first."""
TOGETHER = 1 << 14
"""Atoms made at once."""
COMPARED = 1024
"""Atoms (largest basins first) that enter the Vendi score."""


@dataclass(frozen=True)
class Merged:
    """Distinct end points before they are certified, largest basin first; tensors have m rows.

    Attributes:
        leader: indices of the starts that lead.
        basin, settled: starts merged into each, and how many of them converged.
        certify: rows (of these m) to certify.
        check: indices of starts to iterate plainly: ``sampled`` drawn at random, then leaders.
        wandering: indices of starts at the step limit that get a Lyapunov exponent.
        summary: counts and rules.
        member: for every start the row of its atom (N,), -1 for a start outside the dictionary; None where an older
            version merged.
    """

    leader: Tensor
    basin: Tensor
    settled: Tensor
    certify: Tensor
    check: Tensor
    sampled: int
    wandering: Tensor
    summary: dict[str, object]
    member: Tensor | None = None


def merge_end_points(ends: EndPoints, *, solver: SolverConfig, dictionary: DictionaryConfig) -> Merged:
    """Merge the end points of the chosen outcomes, and choose what to certify and to check.

    Raises:
        UserError: no start has one of the chosen outcomes.
    """
    rows = admitted(ends, dictionary)
    if not len(rows):
        raise UserError(_nothing_admitted(ends, dictionary))
    points = ends.end[rows].flatten(1)
    # A basin in which any start converged is led by such a start: the certificate is about that point.
    priority = (ends.outcome[rows] != Outcome.CONVERGED).long()
    merge = with_origin(merge_by_cosine(points, dictionary.cosine, priority, starts=rows), points, priority)
    apart = merge_by_euclid(points, dictionary.euclidean, starts=rows)
    leader = rows[merge.leader]
    summary: dict[str, object] = {
        "atoms": len(leader),
        "rule": f"cosine > {dictionary.cosine:g}",
        "index": merge.index,
        "recall": merge.recall,
        "recall_sampled": merge.sampled,
        "atoms_euclidean": len(apart.leader),
        "rule_euclidean": f"distance < {dictionary.euclidean:g} of the root mean square norm",
        "index_euclidean": apart.index,
        "recall_euclidean": apart.recall,
        "recall_euclidean_sampled": apart.sampled,
        "components": merge.components,
        "outcomes_used": list(dictionary.outcomes),
        "starts_used": len(rows),
    }
    converged = (ends.outcome[leader] == Outcome.CONVERGED).nonzero().squeeze(1)[: solver.certificates]
    wandering = (ends.outcome == Outcome.MAX_STEPS).nonzero().squeeze(1)[: solver.exponents]
    sample = ends.outcome == Outcome.CONVERGED  # with extrapolations or reduced precision, drawn at random
    if solver.far_precision == "float32":
        sample = sample & (ends.extrapolations > 0)
    sample = sample.nonzero().squeeze(1)
    order = torch.randperm(len(sample), generator=torch.Generator().manual_seed(0))
    sample = sample[order[: solver.plain_checks]]
    check = torch.cat([sample, leader[converged[:LEADERS]]]) if len(sample) else sample
    settled = merge.member[(ends.outcome[rows] == Outcome.CONVERGED) & (merge.member >= 0)]
    settled = torch.bincount(settled, minlength=len(leader))
    member = torch.full_like(ends.steps, -1, dtype=torch.long)
    member[rows] = merge.member
    return Merged(leader, merge.basin, settled, converged, check, len(sample), wandering, summary, member)


def _nothing_admitted(ends: EndPoints, dictionary: DictionaryConfig) -> str:
    """Why no start can enter the dictionary, and what to do."""
    counts = ends.counts()
    if counts["diverged"] == len(ends.outcome):
        return (
            f"all {len(ends.outcome)} starts diverged (their norms grew beyond solver.max_norm, or were not finite): "
            "there is no end point to make a dictionary of; try model.clamp=true or model.latents=scaled."
        )
    stated = ", ".join(f"{count} {name}" for name, count in counts.items())
    return (
        f"no start can enter the dictionary: dictionary.outcomes is {list(dictionary.outcomes)}, and the starts "
        f"ended as {stated}; allow another outcome or raise solver.max_steps."
    )


def admitted(ends: EndPoints, dictionary: DictionaryConfig) -> Tensor:
    """Rows of the end points of the chosen outcomes."""
    chosen = sum((ends.outcome == Outcome[name.upper()] for name in dictionary.outcomes), torch.zeros(1)) > 0
    return chosen.nonzero().squeeze(1)


def iterate_plainly(
    f: Map, starts: Tensor, points: Tensor, *, seeds: SeedConfig, solver: SolverConfig, cosine: float
) -> tuple[Tensor, Tensor]:
    """Iterate starts (k,) again, without acceleration and in full precision; ``points`` is where they ended
    (k, *latent shape), on the device and in the type of the iteration.

    Returns:
        Steps (k,), -1 for a start that did not converge; and (k,) 1 if it ended in the same point by the merging rule,
        0 if it converged to another, -1 if it did not converge.
    """
    if not len(starts):
        return torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long)
    z0 = gaussian_starts(seeds.seed, starts.tolist(), points.shape[1:]).to(points)
    ends = iterate(f, z0, max_steps=solver.max_steps, tolerance=solver.tolerance, max_norm=solver.max_norm)
    near = torch.nn.functional.cosine_similarity(ends.end.flatten(1), points.flatten(1)) > cosine
    converged = ends.outcome == Outcome.CONVERGED
    return tuple(torch.where(converged, value.long(), UNKNOWN).cpu() for value in (ends.steps, near))  # type: ignore


def assemble_dictionary(
    ends: EndPoints,
    merged: Merged,
    certificates: Certificates,
    plain: tuple[Tensor, Tensor],
    *,
    seeds: SeedConfig,
    solver: SolverConfig,
    cosine: float,
) -> AttractorDictionary:
    """The dictionary, from the certificates of ``merged.certify`` and ``iterate_plainly``'s answer for
    ``merged.check``. Certified attractors that are one (``merge_certified``) are merged."""
    merged, found = _united(merged, _known(ends, merged, certificates), cosine)
    leader = merged.leader
    known = torch.full((len(ends.steps),), UNKNOWN, dtype=torch.long)
    if solver.far_precision == "float32":
        already = (ends.outcome == Outcome.CONVERGED) & (ends.extrapolations == 0)
        known = torch.where(already, ends.steps, UNKNOWN)
    known[merged.check] = plain[0]
    predicted = torch.full((len(leader),), torch.nan, dtype=torch.float64)
    shrinks = ((found.spectral_radius > 0) & (found.spectral_radius < 1)).nonzero().squeeze(1)
    if len(shrinks):
        z0 = gaussian_starts(seeds.seed, leader[shrinks].tolist(), ends.end.shape[1:])
        radius, from_one = found.spectral_radius[shrinks], found.from_one[shrinks]
        predicted[shrinks] = predicted_steps(z0, found.point[shrinks], radius, solver.tolerance, from_one)
    nowhere = at_origin(found.point, found.distance)
    same = plain[1][: merged.sampled].clone()
    if merged.member is not None and len(same):  # at the origin the cosine is that of rounding
        member = merged.member[merged.check[: merged.sampled]]
        same[(same == 0) & (member >= 0) & nowhere[member]] = 1
    atoms = torch.zeros_like(found.point.flatten(1), dtype=torch.float32)
    for rows in (~nowhere).nonzero().squeeze(1).split(TOGETHER):  # float64 of all could be several GB
        atoms[rows] = unit_rows(found.point[rows]).float()
    directions = (~nowhere).nonzero().squeeze(1)[:COMPARED]
    summary = {
        **merged.summary,
        "atoms": len(leader),
        "at_origin": int(merged.basin[nowhere].sum()),
        "vendi": diversity(unit_rows(found.point[directions])),
        "plain_checked": merged.sampled,
        "plain_same": int((same == 1).sum()),
        "plain_elsewhere": int((same == 0).sum()),
        "certified": int((found.attractor == YES).sum()),
        "not_attractors": int((found.attractor == NO).sum()),
        "undecided": int((found.attractor == UNDECIDED).sum()),
    }
    return AttractorDictionary(
        atoms=atoms,
        ends=found.point,
        leader=leader,
        basin=merged.basin,
        settled=merged.settled,
        outcome=ends.outcome[leader],
        steps=ends.steps[leader],
        **{name: getattr(found, name) for name in (*MEASURED, "products")},
        certificate=found.attractor,
        predicted_steps=predicted,
        plain_steps=known[leader],
        summary=summary,
        member=merged.member,
    )


def _known(ends: EndPoints, merged: Merged, certificates: Certificates) -> Certificates:
    """What is known of each of the m distinct end points."""
    leader, rows = merged.leader, merged.certify
    found = Certificates.unknown(ends.end[leader], ends.residual[leader])
    found.attractor[ends.outcome[leader] != Outcome.CONVERGED] = NO
    if len(rows):
        for name, value in vars(found).items():
            value[rows] = getattr(certificates, name).to(value)
    return found


def _united(merged: Merged, found: Certificates, cosine: float) -> tuple[Merged, Certificates]:
    """Both with one row for certified attractors that are one: that of the largest basin, largest first."""
    first, yes = torch.arange(len(merged.leader)), (found.attractor == YES).nonzero().squeeze(1)
    first[yes] = yes[merge_certified(found.point[yes], found.distance[yes], cosine)]
    basin, settled = (torch.zeros_like(n).index_add(0, first, n) for n in (merged.basin, merged.settled))
    rows = (first == torch.arange(len(first))).nonzero().squeeze(1)
    rows = rows[basin[rows].argsort(descending=True, stable=True)]
    summary = {**merged.summary, "united": len(first) - len(rows)}
    few = replace(merged, leader=merged.leader[rows], basin=basin[rows], settled=settled[rows], summary=summary)
    if merged.member is not None:
        place = torch.full_like(first, UNKNOWN)
        place[rows] = torch.arange(len(rows))
        few = replace(few, member=torch.where(merged.member >= 0, place[first[merged.member]], UNKNOWN))
    return few, Certificates(**{name: value[rows] for name, value in vars(found).items()})


def diversity(atoms: Tensor) -> dict[str, Any] | None:
    """Vendi score of the first ``COMPARED`` unit atoms (m, d), and of as many Gaussian directions; None if m is 0."""
    if not len(atoms):
        return None
    n = min(len(atoms), COMPARED)
    return {"n": n, "atoms": vendi_score(atoms[:n]), "gaussian": vendi_score(gaussian(n, atoms.shape[1], seed=0))}


def radius_anywhere(f: Map, points: Tensor, *, solver: SolverConfig) -> Estimate:
    """Spectral radii of J_f at any points (k, *latent shape), fixed or not; NaN where f has no derivative."""
    return spectra_at(f, points, budget=solver.products, norm=False)[1]


def certify_points(
    f: Map, points: Tensor, *, solver: SolverConfig, on_product: Callable[[], None] = lambda: None
) -> Certificates:
    """Certificates of points (k, *latent shape), in their own type or in ``solver.certificate_dtype``; ``on_product``
    as for ``certify``."""
    dtype = torch.float64 if solver.certificate_dtype == "float64" else points.dtype
    with in_type(f, dtype):
        found = certify(f, points.to(dtype), tolerance=solver.tolerance, budget=solver.products, on_product=on_product)
    if dtype != points.dtype and len(points):  # the residual is that of the point that is kept
        found.point = found.point.to(points.dtype)
        found.residual = Fitting(lambda z: apply(f, z)[1])(found.point).double().cpu()
    return found
