"""How starts will behave, which nobody knows beforehand: a pilot of the run's own first starts, or an assumption."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import log
from statistics import fmean, stdev

import torch

from probe.config import Config
from probe.dynamics import EndPoints, LatentMap, Outcome, lyapunov_exponents
from probe.dynamics.basins import wilson
from probe.dynamics.certificate import TOGETHER
from probe.dynamics.rates import COUNTED, TRANSIENT
from probe.errors import UserError
from probe.plan.measure import taken
from probe.plan.stage import Range
from probe.studies.probing.dictionary import certify_points, merge_end_points, radius_anywhere
from probe.studies.probing.end_points import solve

PILOT = 32
"""Starts of a pilot, unless that takes too long."""
CERTIFICATE = Range(20, 200, 1000)
"""Evaluations of f that a certificate takes where no pilot has measured it: medians of the embedded models
(docs/benchmarks.md, "Certificates") and wide bounds. Products count as one and a half; a point that attracts slowly is
led on by many plain steps."""
EXPONENT = Range(2, 3.5, 5.5).times(TRANSIENT + COUNTED)
"""The same of the examination of a start at the step limit: for each of its steps one along the trajectory, one for the
graph, one and a quarter back through it; the radius takes a tenth of these. TAEF2's took 3.4, and 5.5 a small model's,
four together."""
PLAIN = 1.25
"""Evaluations without extrapolation, over those with it (docs/developing/learned.md: 0.75 to 0.84 of them)."""


@dataclass(frozen=True)
class Pilot:
    """What the first starts of a run did.

    Attributes:
        evaluations: of f, by each start.
        converged, limited: how many of them converged, and reached the step limit.
        groups: how many starts ended at each distinct end point; ``settled``: the same where one of them converged.
        certificate, exponent: evaluations of f that a certificate took, and the examination of a start at the step
            limit; None where there was none to examine.
    """

    evaluations: tuple[float, ...]
    converged: int
    limited: int
    groups: tuple[int, ...]
    settled: tuple[int, ...]
    certificate: float | None
    exponent: float | None


@dataclass(frozen=True)
class Behaviour:
    """What the starts of a run are expected to do.

    Attributes:
        evaluations: of f by a start.
        settled, limited: share of the starts that converge, and that reach the step limit.
        atoms: distinct end points; ``certified``: those of them at which some start converged.
        certificate, exponent: evaluations of f by a certificate, and by the examination of a start at the step limit.
        says: one line on where this comes from.
    """

    evaluations: Range
    settled: Range
    limited: Range
    atoms: Range
    certified: Range
    certificate: Range
    exponent: Range
    says: str


def expected(config: Config, pilot: Pilot | None) -> Behaviour:
    """Of the starts of a configuration; without a pilot bounds that nothing exceeds, and half of them as expected."""
    n, most = config.seeds.count, config.solver.max_steps + 1
    if pilot is None:
        return Behaviour(
            evaluations=Range(min(10, most / 2), most / 2, most),
            settled=Range(0, 0.5, 1),
            limited=Range(0, 0.5, 1),
            atoms=Range(min(2, n / 2), n / 2, n),
            certified=Range(0, n / 2, n),
            certificate=CERTIFICATE,
            exponent=EXPONENT,
            says=f"assumed, without a pilot: {most / 2:.0f} evaluations of f a start (at most {most}), and half of the "
            "starts end apart",
        )
    seen = len(pilot.evaluations)
    evaluations = _mean([min(one, most) for one in pilot.evaluations]).at_most(most)
    return Behaviour(
        evaluations=evaluations,
        settled=_share(pilot.converged, seen),
        limited=_share(pilot.limited, seen),
        atoms=expected_groups(pilot.groups, seen, n),
        certified=expected_groups(pilot.settled, seen, n),
        certificate=_around(pilot.certificate, CERTIFICATE),
        exponent=_around(pilot.exponent, EXPONENT),
        says=f"by a pilot of the first {seen} starts: {evaluations.expected:.0f} evaluations of f a start",
    )


def first_ends(config: Config, f: LatentMap, shape: tuple[int, ...], part: range) -> tuple[EndPoints, float]:
    """End points of some of the first starts of the run itself, with its solver, and the seconds that they took."""
    device, dtype = f.autoencoder.device, f.autoencoder.dtype
    found: list[EndPoints] = []

    def work() -> None:
        solved = solve(f, shape, [part], seed=config.seeds.seed, solver=config.solver, device=device, dtype=dtype)
        found.extend(ends for _, ends in solved)

    seconds = taken(work)
    return found[0], seconds


def pilot_of(config: Config, f: LatentMap, ends: EndPoints, row: float, seconds: float) -> Pilot:
    """What the first starts of the run show.

    Args:
        ends: where they ended.
        row: seconds of an evaluation of one row of f here, in the run's batch.
        seconds: for certificates, and for starts at the step limit, about; unless it is 0 one point is always examined.
    """
    model, solver, many = f.autoencoder, config.solver, len(ends.outcome)
    member, certify, wandering = torch.full((many,), -1), torch.empty(0).long(), torch.empty(0).long()
    with suppress(UserError):  # none of them may become an atom
        merged = merge_end_points(ends, solver=solver, dictionary=config.dictionary)
        member, certify, wandering = merged.member, merged.leader[merged.certify], merged.wandering  # type: ignore[assignment]

    def each(rows: torch.Tensor, examine: Callable[[torch.Tensor], object], expected: float) -> float | None:
        if not seconds:
            return None
        rows = rows[: int(max(min(seconds / (expected * row), TOGETHER), 1))]
        return taken(lambda: examine(ends.end[rows].to(model.device))) / len(rows) / row if len(rows) else None

    def examined(z: torch.Tensor) -> None:
        lyapunov_exponents(f, z)
        radius_anywhere(f, z, solver=solver)

    converged = ends.outcome == Outcome.CONVERGED
    groups = Counter(member[member >= 0].tolist())
    return Pilot(
        evaluations=tuple(map(float, ends.evaluations.tolist())),
        converged=int(converged.sum()),
        limited=int((ends.outcome == Outcome.MAX_STEPS).sum()),
        groups=tuple(groups.values()),
        settled=tuple(groups[atom] for atom in {*member[converged & (member >= 0)].tolist()}),
        certificate=each(certify, lambda z: certify_points(f, z, solver=solver), CERTIFICATE.expected),
        exponent=each(wandering, examined, EXPONENT.expected),
    )


def _around(measured: float | None, otherwise: Range) -> Range:
    return otherwise if measured is None else Range(0.7 * measured, measured, 1.5 * measured)


def _mean(counts: Sequence[float]) -> Range:
    """A mean, with two standard errors to either side."""
    mean = fmean(counts)
    error = 2 * stdev(counts) / len(counts) ** 0.5 if len(counts) > 1 else mean / 2
    return Range(max(mean - error, 1), mean, mean + error)


def _share(count: int, of: int) -> Range:
    """A share with Wilson's interval of 95 %."""
    low, high = wilson(count / of, of)
    return Range(float(low), count / of, float(high))


def expected_groups(groups: Sequence[int], seen: int, n: int) -> Range:
    """Distinct groups among n draws, given how often each was met in the first ``seen``.

    Chao's estimate of how many are unseen, and the part of these that the further draws meet (Chao et al., Rarefaction
    and extrapolation with Hill numbers, Ecological Monographs 84 (2014), Equation 9). Where every draw was another
    group there may be n, or so few that such draws are as likely as not: expected is their geometric mean.
    """
    found = len(groups)
    once, twice = (sum(count == k for count in groups) for k in (1, 2))
    if not found or n <= seen:
        return Range(found, found, max(found, 0 if n <= seen else n - seen))
    if once == sum(groups):
        fewest = min(max(once * (once - 1) / (2 * log(2)), once), n)  # of equal size; draws that share a group are rare
        return Range(found, n * found / seen * (fewest / n) ** 0.5, n)
    unseen = once**2 / (2 * twice) if twice else once * (once - 1) / 2
    unseen *= (seen - 1) / seen
    if not unseen:
        return Range(found, found, found + 0.05 * (n - seen))
    more = unseen * (1 - (1 - once / (seen * unseen + once)) ** (n - seen))
    return Range(found, found + more, min(n, found + once / seen * (n - seen) + 2))
