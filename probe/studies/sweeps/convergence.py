"""Predicted against actual steps to convergence (paper, Proposition A.9 and Figure 11).

Starts are iterated plainly, in full precision, so that a step is one application of f; the fixed points where they end
are certified, and each start that ended in an attractor has a prediction from its own distance and that attractor's
spectral radius.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray
from torch import Tensor

from probe.config import DictionaryConfig, SeedConfig, SolverConfig
from probe.dynamics import gaussian_starts
from probe.dynamics.certificate import YES
from probe.dynamics.iterate import Map
from probe.dynamics.prediction import log_error, predicted_steps
from probe.metrics.correlation import correlation_interval
from probe.metrics.interval import Interval, grouped_mean_interval, on_side
from probe.studies.fixed_points import end_points, fixed_points
from probe.studies.probing.dictionary import certify_points
from probe.studies.probing.end_points import iteration

FEWEST = 3
"""Attractors from which on the interval is over attractors; with fewer it is over starts, and says less."""


@dataclass(frozen=True)
class Convergence:
    """Starts that ended in a certified attractor; tensors (n,) on the CPU.

    Attributes:
        predicted: steps by Proposition A.9, float64.
        actual: steps that were taken.
        radius: spectral radius at the attractor, float64.
        attractor: which one it is, a number.
        starts: how many there were in all; the others did not converge, or to a point without certificate.
    """

    predicted: Tensor
    actual: Tensor
    radius: Tensor
    attractor: Tensor
    starts: int

    @property
    def error(self) -> Tensor:
        """``log_error`` of the prediction, float64 (n,)."""
        return log_error(self.predicted, self.actual)

    @property
    def null_error(self) -> Tensor:
        """The same of the best constant: the median of the very steps that were taken, which no prediction knows."""
        return log_error(self.actual.double().quantile(0.5), self.actual) if len(self.actual) else self.error


def convergence(
    f: Map,
    latent_shape: Sequence[int],
    *,
    seeds: SeedConfig,
    solver: SolverConfig,
    dictionary: DictionaryConfig,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Convergence:
    """Iterate Gaussian starts plainly and predict their steps.

    Args:
        solver: ``accelerate`` and ``far_precision`` are not used.
        dictionary: ``euclidean`` says which end points are one attractor.
    """
    device = torch.device(device)
    plain = solver.model_copy(update={"accelerate": False, "far_precision": "float32"})
    z0 = gaussian_starts(seeds.seed, range(seeds.count), latent_shape).to(dtype)
    ends = end_points(f, z0.to(device), iteration(plain, latent_shape, device))
    points, member = fixed_points(ends, dictionary.euclidean, solver.tolerance)
    certified = torch.zeros(len(points), dtype=torch.bool)
    radius = torch.full((len(points),), torch.nan, dtype=torch.float64)
    examined = points[: solver.certificates]
    if len(examined):
        found = certify_points(f, examined.to(device), solver=solver)
        certified[: len(examined)], radius[: len(examined)] = found.attractor == YES, found.spectral_radius
    rows = (member >= 0).nonzero().squeeze(1)
    rows = rows[certified[member[rows]]]
    predicted = predicted_steps(z0[rows], points[member[rows]], radius[member[rows]], solver.tolerance)
    known = predicted.isfinite()  # a radius of exactly 0 predicts nothing
    rows = rows[known]
    return Convergence(predicted[known], ends.steps[rows], radius[member[rows]], member[rows], seeds.count)


def of_run(dictionary: dict[str, Tensor], starts: int) -> Convergence:
    """The same from a run's dictionary.safetensors: leaders of certified basins that were iterated plainly.

    Args:
        dictionary: ``predicted_steps``, ``plain_steps``, ``spectral_radius``, ``certificate``.
        starts: of the run.
    """
    predicted, steps = dictionary["predicted_steps"], dictionary["plain_steps"]
    rows = ((dictionary["certificate"] == YES) & predicted.isfinite() & (steps >= 0)).nonzero().squeeze(1)
    return Convergence(predicted[rows], steps[rows], dictionary["spectral_radius"][rows], rows, starts)


def record(found: Convergence) -> dict[str, Any]:
    """As JSON: ``starts``, ``used``, ``attractors``, lists ``predicted``, ``actual``, ``radius``, ``attractor``;
    ``correlation`` (Pearson's, ``ci95``, ``over``: attractors or starts) and ``rank_correlation`` (Spearman's), null
    where there is none; ``ratio`` (actual / predicted: ``median``, ``q05``, ``q95``); ``error`` and ``null_error``, the
    means of the prediction's log_error and of the best constant's, and ``error_difference``, the mean of the one minus
    the other (``mean``, ``ci95``, ``over``), null where there is none; ``verdict``, ``error_verdict``.

    The verdict is on the claim that the prediction tells which starts take longer: it ``holds`` where the interval of
    the correlation lies above 0, which is what predictions dealt to the starts at random would have, ``does not hold``
    where it lies below, and is ``undecided`` else. ``error_verdict`` is on the claim that the prediction is nearer to
    the steps than the best constant: it holds where the interval of the difference lies below 0.
    """
    predicted, actual = found.predicted.numpy(), found.actual.double().numpy()
    groups = found.attractor.numpy()
    pearson, difference = correlation(predicted, actual, groups), gain(found.error, found.null_error, groups)
    moving = predicted > 0
    ratio = np.quantile(actual[moving] / predicted[moving], [0.05, 0.5, 0.95]) if moving.any() else None
    return {
        "starts": found.starts,
        "used": len(actual),
        "attractors": len(found.attractor.unique()),
        "predicted": predicted.tolist(),
        "actual": found.actual.tolist(),
        "radius": found.radius.tolist(),
        "attractor": found.attractor.tolist(),
        "correlation": pearson,
        "rank_correlation": None if pearson is None else float(scipy.stats.spearmanr(predicted, actual).statistic),
        "ratio": None if ratio is None else dict(zip(("q05", "median", "q95"), ratio.tolist(), strict=True)),
        "error": float(found.error.mean()) if len(actual) else None,
        "null_error": float(found.null_error.mean()) if len(actual) else None,
        "error_difference": difference,
        "verdict": on_side(pearson["ci95"] if pearson else None, 1),
        "error_verdict": on_side(difference["ci95"] if difference else None, -1),
    }


def correlation(
    predicted: NDArray[np.float64], actual: NDArray[np.float64], attractor: NDArray[np.int64]
) -> dict[str, Any] | None:
    """Pearson's correlation, over attractors where there are some; None where there is none."""
    if not len(predicted):
        return None
    groups, over = _groups(attractor)
    return _with_interval(correlation_interval(predicted, actual, groups), over)


def gain(error: Tensor, null_error: Tensor, attractor: NDArray[np.int64]) -> dict[str, Any] | None:
    """The mean of the one error minus the other, start by start; None where there is no interval."""
    if not len(error):
        return None
    groups, over = _groups(attractor)
    return _with_interval(grouped_mean_interval((error - null_error).numpy(), groups), over)


def _groups(attractor: NDArray[np.int64]) -> tuple[NDArray[np.int64], str]:
    many = len(np.unique(attractor)) >= FEWEST
    return (attractor, "attractors") if many else (np.arange(len(attractor)), "starts")


def _with_interval(found: Interval, over: str) -> dict[str, Any] | None:
    return None if found.ci95 is None else {**found.as_json(), "over": over}
