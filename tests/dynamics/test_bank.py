"""A bank of maps with known answers, all in one batch, crossed with every way to iterate."""

import itertools
import sys

import pytest
import torch

from probe.dynamics import Outcome, iterate
from probe.verify.bank import bank, mistakes, starts

SETTINGS = list(itertools.product([4, 33], [False, True], ["float32", "bfloat16"], [0, 2], [False, True]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("batch_size", "accelerate", "far_precision", "lag", "steady"), SETTINGS)
def test_every_map_in_every_setting(dtype, batch_size, accelerate, far_precision, lag, steady):
    z0 = starts(dtype)
    ends = iterate(
        bank,
        z0,
        max_steps=250,
        tolerance=1e-10,
        max_norm=1e4,
        batch_size=batch_size,
        accelerate=accelerate,
        far_precision=far_precision,
        lag=lag,
        steady=steady,
    )
    assert mistakes(ends) == []
    assert torch.allclose(ends.first, bank(z0), atol=1e-6, equal_nan=True)


def test_a_start_that_ends_elsewhere_is_named():
    ends = iterate(bank, starts(torch.float64), max_steps=250, tolerance=1e-10, max_norm=1e4)
    ends.end[0, 1] += 0.01
    ends.period[2] = 6
    ends.outcome[8] = Outcome.CONVERGED
    assert [line.partition(":")[0] for line in mistakes(ends)] == ["linear", "rotation", "chaos"]


def test_acceleration_saves_evaluations_of_a_slow_linear_map_and_ends_at_its_fixed_point():
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(30, 30, dtype=torch.float64, generator=generator))[0]
    slow = torch.cat([torch.tensor([0.98, 0.95]), torch.linspace(-0.6, 0.6, 28)]).double()
    matrix = basis @ torch.diag(slow) @ basis.T
    fixed = torch.randn(30, dtype=torch.float64, generator=generator)

    def f(z):
        return fixed + (z - fixed) @ matrix.T

    z0 = torch.randn(16, 30, dtype=torch.float64, generator=generator)
    plain, fast = (iterate(f, z0, accelerate=value, tolerance=1e-10, max_steps=2000) for value in (False, True))
    assert plain.counts() == fast.counts() == {"converged": 16, "cycle": 0, "max_steps": 0, "diverged": 0}
    assert int(fast.evaluations.sum()) < 0.5 * int(plain.evaluations.sum())
    assert torch.equal(plain.evaluations, plain.steps + 1)
    assert (fast.evaluations > fast.steps).all()
    assert (fast.residual < 1e-10).all()
    again = (f(fast.end) - fast.end).square().sum(1)
    assert torch.allclose(again, fast.residual, rtol=1e-6, atol=0)
    assert (fast.end - fixed).norm(dim=1).max() < 1e-3


def test_a_guess_that_f_does_not_confirm_costs_one_evaluation_and_changes_nothing():
    """A rate that looks linear while the map bends: the row goes back to the very point."""

    def f(z):
        return z - 0.02 * z.sign() * z.abs().clamp(min=0.3).sqrt() * (z.abs() > 0.01)

    z0 = torch.tensor([[30.0], [20.0]], dtype=torch.float64)
    plain, fast = (iterate(f, z0, accelerate=value, tolerance=1e-12, max_steps=1500) for value in (False, True))
    assert torch.equal(plain.outcome, fast.outcome)
    assert torch.allclose(plain.end, fast.end, atol=0.05)


def test_where_a_start_came_near_and_left_again_it_is_extrapolated_only_once_it_is_nearer():
    """Three times it is thrown out again at 0.002 of its way: what it did then may not be taken for the end."""
    rates, calls = torch.linspace(0.2, 0.9, 9, dtype=torch.float64), []

    def f(z):
        x, left = z[:, :-1], z[:, -1:]
        thrown = (x.norm(dim=1, keepdim=True) < 0.002) & (left > 0.5)
        y = torch.cat([x * rates + thrown * torch.full_like(x, 0.3), left - thrown.double()], 1)
        calls.append((z[0].clone(), y[0]))
        return y

    start = torch.cat([torch.full((1, 9), 1 / 3), torch.full((1, 1), 3.0)], 1).double()
    ends = iterate(f, start, accelerate=True, tolerance=1e-16, max_steps=1000, lag=0)
    assert int(ends.extrapolations) > 0
    assert float(ends.end.abs().max()) < 1e-6
    (zs, ys), last = zip(*calls, strict=True), len(calls) - 1
    failed = {t - 1 for t in range(2, last) if torch.equal(zs[t], ys[t - 2]) and not torch.equal(zs[t], ys[t - 1])}
    residuals = {t: float((ys[t] - zs[t]).norm()) for t in range(last) if t not in failed}
    guesses = [t for t in residuals if not torch.equal(zs[t + 1], ys[t])]
    assert len(guesses) == int(ends.extrapolations) + len(failed)
    for t in guesses:
        past = [residual for at, residual in residuals.items() if at <= t]
        turns = [r for i, r in enumerate(past) if max(past[i:]) > 2 * r]
        assert past[-1] < 0.5 * min(turns, default=torch.inf)
        assert past[-1] < 0.005 * past[0]
    thrown = [t for t in residuals if residuals[t] > 1]
    assert len(thrown) >= 3
    assert any(t > thrown[-1] for t in guesses)


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("batch_size", [4, 33])
def test_what_a_cpu_leaves_out_changes_nothing(monkeypatch, accelerate, batch_size):
    """On a GPU all operations are done at every step, whether a row needs them or not: the same to the last bit."""
    z0 = starts(torch.float32)
    how = {"max_steps": 250, "tolerance": 1e-10, "max_norm": 1e4, "batch_size": batch_size, "accelerate": accelerate}
    few = iterate(bank, z0, **how)
    for module in ("iterate", "cycles", "acceleration"):
        monkeypatch.setattr(sys.modules[f"probe.dynamics.{module}"], "some", lambda flags: True)
    every = iterate(bank, z0, **how)
    assert {name: torch.equal(value, getattr(every, name)) for name, value in vars(few).items()} == dict.fromkeys(
        vars(few), True
    )


def test_a_cycle_is_found_after_a_far_part_that_never_ends():
    """The residual of a cycle does not fall, so half of the steps are taken in bfloat16; what follows must be enough to
    settle on the cycle and to see it."""

    def f(z):
        return -z + 0.01 * (z - z.sign())

    ends = iterate(f, torch.tensor([[0.2], [1.7]]), max_steps=1000, tolerance=1e-8, far_precision="bfloat16")
    assert ends.outcomes == ["cycle", "cycle"]
    assert ends.period.tolist() == [2, 2]
