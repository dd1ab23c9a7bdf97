"""Predicted against actual steps where the prediction is exact, where it means nothing, and from a run."""

import json

import numpy as np
import pytest
import torch

from probe import find_attractors
from probe.config import SeedConfig, SolverConfig
from probe.dynamics import gaussian_starts
from probe.dynamics.rates import predicted_steps
from probe.report.figures.convergence import convergence_figure, sentence
from probe.studies.sweeps.convergence import Convergence, convergence, of_run, record

SOLVER = SolverConfig(tolerance=1e-8)


def found(f, d: int = 1, solver: SolverConfig = SOLVER, count: int = 40) -> Convergence:
    return convergence(f, gaussian_starts(0, range(count), (d,)), solver, euclidean=0.05)


def two_slopes(z: torch.Tensor) -> torch.Tensor:
    """To 10 from the right of 0, at slope 0.9; to -10 from the left, at slope 0.5."""
    return torch.where(z > 0, 10 + 0.9 * (z - 10), -10 + 0.5 * (z + 10))


def test_exact_in_one_dimension():
    """The residual after t steps is (1 - rho) rho^t |e0|: the first t that is enough is the prediction rounded up."""
    one = found(two_slopes)
    assert len(one.actual) == one.starts == 40
    late = one.actual - one.predicted
    # Near 1e-4 beside 10, float32 rounds the residual by 1e-6 / 1e-4 = 1 %: 0.1 steps at slope 0.9.
    assert float(late.min()) > -0.2
    assert float(late.max()) < 1.2
    assert torch.allclose(one.radius.unique(), torch.tensor([0.5, 0.9]).double(), atol=1e-3)
    content = record(one)
    assert (content["attractors"], content["verdict"]) == (2, "holds")
    assert content["correlation"]["over"] == "starts"  # two attractors are too few to be drawn from
    assert content["correlation"]["mean"] > 0.99
    assert content["ratio"]["median"] == pytest.approx(1, abs=0.1)
    assert "take longer: holds (" in sentence(content)
    json.dumps(content, allow_nan=False)


def test_exact_where_the_eigenvalue_is_negative():
    """The residual is 1.9 * 0.9^t |e0|: by 1 - rho = 0.1 instead of |1 - lambda| = 1.9, it would be 28 steps fewer."""
    one = found(lambda z: 1 - 0.9 * (z - 1))
    assert len(one.actual) == 40
    late = one.actual - one.predicted
    assert float(late.min()) > -0.2
    assert float(late.max()) < 1.2


def test_the_error_against_the_best_constant():
    one = found(two_slopes)
    content = record(one)
    p, t = one.predicted.numpy(), one.actual.numpy()
    constant = np.median(t)
    assert content["error"] == pytest.approx(np.mean(np.abs(np.log1p(p) - np.log1p(t))))
    assert content["null_error"] == pytest.approx(np.mean(np.abs(np.log1p(constant) - np.log1p(t))))
    assert content["error_verdict"] == "holds"
    # A constant prediction, but for the last digits, is as good as the constant itself, and another one worse.
    for factor, result in ((1.0, "undecided"), (5.0, "does not hold")):
        flat = Convergence(torch.full((40,), factor * constant).double(), one.actual, one.radius, one.attractor, 40)
        assert record(flat)["error_verdict"] == result


def test_over_attractors_where_there_are_some():
    """Eight attractors with one spectral radius each: nothing but distances differ."""
    content = record(found(lambda z: torch.tanh(2 * z), 3))
    assert (content["attractors"], content["correlation"]["over"]) == (8, "attractors")
    assert content["used"] == 40


@pytest.mark.parametrize("f", [lambda z: 2 * z, lambda z: z, lambda z: 0 * z])
def test_nothing_to_predict(f):
    """Diverging; fixed everywhere, with a radius of 1; at once, with a radius of 0."""
    one = found(f, 2)
    assert (len(one.actual), one.starts) == (0, 40)
    content = record(one)
    assert (content["verdict"], content["correlation"], content["ratio"]) == ("undecided", None, None)
    assert "nothing to compare" in sentence(content)
    convergence_figure(content, "nothing")


def test_from_the_dictionary_of_a_run():
    solver = SolverConfig(tolerance=1e-8, accelerate=False, far_precision="float32")
    _, dictionary = find_attractors(two_slopes, (1,), seeds=SeedConfig(count=40), solver=solver)
    one = of_run(vars(dictionary), 40)
    assert (len(one.actual), one.starts) == (2, 40)
    assert float((one.actual - one.predicted).abs().max()) < 1.2


def test_predictions_without_a_radius_are_unknown():
    start, fixed = torch.zeros(4, 2), torch.tensor([[3.0, 4.0]]).expand(4, -1)
    radius = torch.tensor([0.0, 0.5, 1.0, torch.nan])
    steps = predicted_steps(start, fixed, radius, tolerance=1e-4)
    # eps = 0.01 / 0.5; from 5 to 0.02 at a half each: log2(250).
    assert steps[1].item() == pytest.approx(7.9658, abs=1e-4)
    assert steps[[0, 2, 3]].isnan().all()
    assert predicted_steps(fixed[:1], fixed[:1], radius[1:2], 1e-4).item() == 0


def test_predictions_dealt_at_random_are_not_believed():
    generator = torch.Generator().manual_seed(0)
    one = found(two_slopes)
    order = torch.randperm(40, generator=generator)
    dealt = Convergence(one.predicted[order], one.actual, one.radius, torch.arange(40), 40)
    assert record(dealt)["verdict"] == "undecided"
    turned = Convergence(-one.predicted + 1000, one.actual, one.radius, torch.arange(40), 40)
    assert record(turned)["verdict"] == "does not hold"


def test_the_figure_has_a_mark_for_each_start():
    axes = convergence_figure(record(found(two_slopes)), "title").axes[0]
    assert len(axes.collections[0].get_offsets()) == 40
