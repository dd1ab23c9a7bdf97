"""A language model iterated over its residual stream, from a prompt and from noise (paper, Appendix B.8)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from scipy.stats import binomtest
from torch import Tensor

from probe.config import DictionaryConfig, SolverConfig
from probe.dynamics import EndPoints, Outcome
from probe.dynamics.iterate import Map, apply
from probe.dynamics.memory import Fitting
from probe.metrics.interval import Interval, verdict
from probe.precision import full_float32
from probe.studies.fixed_points import certificate_record, certify_first, end_points, finite_or_none, fixed_points
from probe.studies.probing.end_points import iteration


@dataclass(frozen=True)
class Iterated:
    """n starts of one kind after iteration, on the CPU.

    Attributes:
        ends: their end points, from the same loop as for autoencoders.
        residual: ||f(h_t) - h_t|| at every step t = 0..max_steps without acceleration, float64 (n, max_steps + 1).
        norm: ||h_t|| likewise.
    """

    ends: EndPoints
    residual: Tensor
    norm: Tensor


def iterated(f: Map, starts: Tensor, solver: SolverConfig) -> Iterated:
    """Iterate f from starts (n, tokens, d); norms are recorded up to the step limit, whatever the outcome."""
    settings = iteration(solver, starts.shape[1:], starts.device)
    parts = [norms_along(f, part, settings.max_steps) for part in starts.split(settings.batch_size)]
    residual, norm = (torch.cat(kind).cpu() for kind in zip(*parts, strict=True))
    return Iterated(end_points(f, starts, settings), residual, norm)


@torch.no_grad()
def norms_along(f: Map, h: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """||f(h_t) - h_t|| and ||h_t|| for t = 0..steps, with h_{t+1} = f(h_t): both (n, steps + 1), float64."""
    residual = torch.empty((len(h), steps + 1), dtype=torch.float64, device=h.device)
    norm = torch.empty_like(residual)
    fitting = Fitting(f)
    for t in range(steps + 1):
        with full_float32():
            y, square = apply(fitting, h)
        residual[:, t] = square.double().sqrt()
        norm[:, t] = h.flatten(1).double().norm(dim=1)
        h = y
    return residual, norm


def record(
    f: Map, kinds: Mapping[str, Iterated], *, solver: SolverConfig, dictionary: DictionaryConfig, device: torch.device
) -> dict[str, Any]:
    """The results as JSON.

    Keys: ``kinds``: for each kind of start ``n``, ``outcomes``, ``steps``, ``period`` and ``end_residual`` (squared, of
    the end points), ``residual`` and ``norm`` (one list per start; null if not finite), ``converged`` (``share``, exact
    ``ci95``) and ``settles``: verdict on the claim that most starts converge (the interval lies above 1/2).
    ``fixed_points``: distinct fixed points of all kinds, most frequent first, with ``starts`` by kind, ``norm``,
    ``certificate``, ``residual``, ``spectral_radius``, ``spectral_norm``; the first ``solver.certificates`` only.
    """
    ends = EndPoints.concatenate([one.ends for one in kinds.values()])
    points, member = fixed_points(ends, dictionary.euclidean, solver.tolerance)
    certificates = certify_first(f, points, solver, device)
    parts = dict(zip(kinds, member.split([len(one.residual) for one in kinds.values()]), strict=True))
    return {
        "kinds": {name: _kind(one) for name, one in kinds.items()},
        "fixed_points": [
            {
                "starts": {name: int((part == i).sum()) for name, part in parts.items()},
                "norm": float(points[i].double().norm()),
                **certificate_record(certificates, i),
            }
            for i in range(len(certificates.attractor))
        ],
        "distinct": len(points),
    }


def _kind(one: Iterated) -> dict[str, Any]:
    n, converged = len(one.residual), int((one.ends.outcome == Outcome.CONVERGED).sum())
    exact = binomtest(converged, n).proportion_ci()
    interval = Interval(converged / n, float(exact.low), float(exact.high))
    return {
        "n": n,
        "outcomes": one.ends.counts(),
        "steps": one.ends.steps.tolist(),
        "period": one.ends.period.tolist(),
        "end_residual": finite_or_none(one.ends.residual),
        "residual": finite_or_none(one.residual),
        "norm": finite_or_none(one.norm),
        "converged": {"share": interval.mean, "ci95": [interval.low, interval.high]},
        "settles": verdict(interval, above=0.5),
    }
