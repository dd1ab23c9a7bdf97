"""Predicted against actual steps to convergence (paper, Proposition A.9 and Figure 11).

Starts are iterated without acceleration in full precision, so that a step is one application of f. The fixed points
where they end are certified. Each start that ends in an attractor has a prediction from its distance to the attractor
and the attractor's spectral radius.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray
from torch import Tensor

from probe.config import SolverConfig
from probe.dynamics import gaussian_starts
from probe.dynamics.certificate import YES
from probe.dynamics.iterate import Map
from probe.dynamics.latent_map import LatentMap
from probe.dynamics.rates import log_error, predicted_steps
from probe.metrics.interval import Interval, correlation_interval, grouped_mean_interval, on_side
from probe.studies.fixed_points import certify_first, end_points, fixed_points
from probe.studies.probing.end_points import iteration
from probe.studies.sweeps.grid import Measured, Tell, TrainedModel
from probe.studies.sweeps.kinds import ConvergenceConfig

FEWEST = 3
"""From this many attractors on, intervals are over attractors; with fewer they are over starts and say less."""
LISTS = ("predicted", "actual", "radius", "attractor")
Starts = Mapping[str, NDArray[Any]]
"""What is known of starts, each (n,): ``LISTS``, ``error`` and ``null_error`` of ``Convergence``."""


@dataclass(frozen=True)
class Convergence:
    """Starts that ended in a certified attractor; tensors (n,) on the CPU.

    Attributes:
        predicted: steps by Proposition A.9, float64.
        actual: steps taken.
        radius: spectral radius at the attractor, float64.
        attractor: its index.
        starts: the number of starts in all; the others did not converge, or to a point without certificate.
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
        """The same for the best constant: the median of the actual steps, which no prediction knows."""
        return log_error(self.actual.double().quantile(0.5), self.actual) if len(self.actual) else self.error


def measure(trained: TrainedModel, config: ConvergenceConfig, tell: Tell) -> Measured:
    """Predicted against actual steps of a trained model from Gaussian starts; values as in ``record``; its
    lists, ``error`` and ``null_error`` as tensors."""
    tell(0.0, "predicting steps")
    model = trained.load()
    z0 = gaussian_starts(trained.cell.seed, range(config.solver.starts), model.latent_shape(trained.side))
    z0 = z0.to(model.device, model.dtype)
    found = convergence(LatentMap(model), z0, config.solver.solver(), config.measure.euclidean)
    values = {name: value for name, value in record(found).items() if name not in LISTS}
    return Measured(values, {name: getattr(found, name) for name in (*LISTS, "error", "null_error")})


def convergence(f: Map, z0: Tensor, solver: SolverConfig, euclidean: float) -> Convergence:
    """Iterate starts z0 (n, ...) without acceleration and predict their steps.

    Args:
        solver: ``accelerate`` and ``far_precision`` are ignored.
        euclidean: decides which end points are one attractor, as in ``DictionaryConfig``.
    """
    plain = solver.model_copy(update={"accelerate": False, "far_precision": "float32"})
    ends = end_points(f, z0, iteration(plain, z0.shape[1:], z0.device))
    points, member = fixed_points(ends, euclidean, solver.tolerance)
    certified = torch.zeros(len(points), dtype=torch.bool)
    radius, from_one = torch.full((2, len(points)), torch.nan, dtype=torch.float64)
    found = certify_first(f, points, solver, z0.device)
    examined = len(found.attractor)
    certified[:examined] = found.attractor == YES
    radius[:examined], from_one[:examined] = found.spectral_radius, found.from_one
    rows = (member >= 0).nonzero().squeeze(1)
    rows = rows[certified[member[rows]]]
    of = member[rows]
    predicted = predicted_steps(z0.cpu()[rows], points[of], radius[of], solver.tolerance, from_one[of])
    known = predicted.isfinite()  # a radius of exactly 0 predicts nothing
    rows, of = rows[known], of[known]
    return Convergence(predicted[known], ends.steps[rows], radius[of], of, len(z0))


def of_run(dictionary: Mapping[str, Tensor], starts: int) -> Convergence:
    """The same from a run's dictionary.safetensors: certified basins whose leader was iterated without acceleration.

    Args:
        dictionary: ``predicted_steps``, ``plain_steps``, ``spectral_radius``, ``certificate``.
        starts: of the run.
    """
    predicted, steps = dictionary["predicted_steps"], dictionary["plain_steps"]
    rows = ((dictionary["certificate"] == YES) & predicted.isfinite() & (steps >= 0)).nonzero().squeeze(1)
    return Convergence(predicted[rows], steps[rows], dictionary["spectral_radius"][rows], rows, starts)


def record(found: Convergence) -> dict[str, Any]:
    """The summary as JSON.

    Keys: those of ``probe.report.study.convergence.Convergence``, null if undefined; ``LISTS``, with one entry per used
    start; ``verdict`` on the claim that the prediction tells which starts take longer (the interval of the correlation
    lies above 0, the correlation of predictions shuffled over the starts); ``error_verdict`` on the claim that the
    prediction is closer to the actual steps than the best constant (that of ``error_difference`` lies below 0).
    """
    starts = {name: getattr(found, name).numpy() for name in ("predicted", "attractor", "error", "null_error")}
    predicted, actual = starts["predicted"], found.actual.double().numpy()
    pearson, difference = correlation({**starts, "actual": actual}), gain(starts)
    moving = predicted > 0
    ratio = np.quantile(actual[moving] / predicted[moving], [0.05, 0.5, 0.95]) if moving.any() else None
    return {
        "starts": found.starts,
        "used": len(actual),
        "attractors": len(found.attractor.unique()),
        **{name: getattr(found, name).tolist() for name in LISTS},
        "correlation": pearson,
        "rank_correlation": None if pearson is None else float(scipy.stats.spearmanr(predicted, actual).statistic),
        "ratio": None if ratio is None else dict(zip(("q05", "median", "q95"), ratio.tolist(), strict=True)),
        "error": float(found.error.mean()) if len(actual) else None,
        "null_error": float(found.null_error.mean()) if len(actual) else None,
        "error_difference": difference,
        "verdict": on_side(pearson["ci95"] if pearson else None, 1),
        "error_verdict": on_side(difference["ci95"] if difference else None, -1),
    }


def correlation(starts: Starts) -> dict[str, Any] | None:
    """Pearson's correlation, with an interval over attractors if there are enough; None if undefined."""
    return _estimate(correlation_interval, starts["attractor"], starts["predicted"], starts["actual"])


def gain(starts: Starts) -> dict[str, Any] | None:
    """The mean over starts of error minus null error; None without an interval."""
    return _estimate(grouped_mean_interval, starts["attractor"], starts["error"] - starts["null_error"])


def _estimate(interval: Callable[..., Interval], attractor: NDArray[Any], *values: NDArray[Any]) -> Any:
    if not len(attractor):
        return None
    many = len(np.unique(attractor)) >= FEWEST
    found = interval(*values, attractor if many else np.arange(len(attractor)))
    return None if found.ci95 is None else {**found.as_json(), "over": "attractors" if many else "starts"}
