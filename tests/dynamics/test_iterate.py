"""The iteration against maps whose behaviour is known."""

import math

import pytest
import torch

from probe.dynamics import Outcome, iterate
from probe.dynamics.iterate import Gathered, Iteration, iterate_batches


def rotation(angle: float) -> torch.Tensor:
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def labels(ends) -> list[str]:
    return [Outcome(int(code)).label for code in ends.outcome]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rate", [0.0, 0.5, 0.9, -0.7])
def test_linear_contraction_stops_at_the_first_point_below_tolerance(rate, dtype):
    z0 = torch.tensor([[3.0, 4.0], [0.3, 0.4]], dtype=dtype)
    ends = iterate(lambda z: rate * z, z0, tolerance=1e-5, max_steps=500)
    assert labels(ends) == ["converged"] * 2
    for row, norm in enumerate((5.0, 0.5)):
        # ||f(z_t) - z_t||^2 = (1 - rate)^2 rate^(2t) ||z0||^2, and the first t below the tolerance is returned.
        residuals = [((1 - rate) * abs(rate) ** t * norm) ** 2 for t in range(500)]
        expected = next(t for t, value in enumerate(residuals) if value < 1e-5)
        assert ends.steps[row] == expected
        assert ends.residual[row].item() == pytest.approx(residuals[expected], rel=1e-3, abs=1e-12)
        assert torch.allclose(ends.end[row], rate**expected * z0[row], rtol=1e-4, atol=1e-10)


def test_the_residual_is_that_of_the_returned_point():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 6, generator=generator, dtype=torch.float64) * 0.3

    def f(z):
        return torch.tanh(z @ weight.T) + 0.1

    for limit in (0, 1, 3, 300):
        ends = iterate(f, torch.randn(9, 6, generator=generator, dtype=torch.float64), max_steps=limit)
        again = (f(ends.end) - ends.end).square().sum(1)
        assert torch.allclose(again, ends.residual, rtol=1e-12, atol=0)


def test_step_limit_returns_exactly_that_many_applications():
    z0 = torch.tensor([[1.0], [2.0]])
    ends = iterate(lambda z: z + 1, z0, max_steps=7)
    assert labels(ends) == ["max_steps"] * 2
    assert ends.end.tolist() == [[8.0], [9.0]]
    assert ends.steps.tolist() == [7, 7]
    assert ends.first.tolist() == [[2.0], [3.0]]


@pytest.mark.parametrize("period", [2, 3, 7, 20])
def test_cycles_and_their_periods(period):
    z0 = torch.tensor([[1.0, 0.0], [3.0, 1.0]], dtype=torch.float64)
    ends = iterate(lambda z: z @ rotation(2 * math.pi / period).double().T, z0, max_steps=500)
    assert labels(ends) == ["cycle"] * 2
    assert ends.period.tolist() == [period] * 2


@pytest.mark.parametrize(("r", "period"), [(3.2, 2), (3.5, 4), (3.55, 8)])
def test_logistic_map_in_its_periodic_regimes(r, period):
    z0 = torch.rand(20, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ends = iterate(lambda z: r * z * (1 - z), z0, max_steps=1000, tolerance=1e-10)
    assert labels(ends) == ["cycle"] * 20
    assert set(ends.period.tolist()) == {period}


def test_logistic_map_with_a_stable_point_and_in_chaos():
    z0 = torch.rand(20, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    stable = iterate(lambda z: 2.8 * z * (1 - z), z0, max_steps=1000, tolerance=1e-12)
    assert labels(stable) == ["converged"] * 20
    assert torch.allclose(stable.end, torch.full_like(stable.end, 1 - 1 / 2.8), atol=1e-6)
    chaos = iterate(lambda z: 3.9 * z * (1 - z), z0, max_steps=1000, tolerance=1e-16)
    assert set(labels(chaos)) == {"max_steps"}


def test_a_slow_alternating_contraction_is_no_cycle():
    ends = iterate(lambda z: -0.99 * z, torch.tensor([[10.0]]), max_steps=300)
    assert labels(ends) == ["max_steps"]


def test_quasi_periodic_rotation_is_no_cycle():
    ends = iterate(lambda z: z @ rotation(1.0).T, torch.tensor([[1.0, 0.0]]), max_steps=500)
    assert labels(ends) == ["max_steps"]


def mixture(z: torch.Tensor) -> torch.Tensor:
    """The first coordinate names the map: 0 contracts, 1 flips its sign, 2 drifts, 3 grows, 4 turns NaN."""
    kind, value = z[:, :1], z[:, 1:]
    moved = torch.where(kind == 0, 0.5 * value, value)
    moved = torch.where(kind == 1, -value, moved)
    moved = torch.where(kind == 2, value + 1, moved)
    moved = torch.where(kind == 3, 10 * value, moved)
    moved = torch.where(kind == 4, torch.where(value > 5, torch.nan, value + 1), moved)
    return torch.cat([kind, moved], 1)


@pytest.mark.parametrize("batch", [1, 3, 10])
def test_rows_do_not_touch_each_other(batch):
    kinds = torch.tensor([0, 1, 2, 3, 4, 4, 3, 2, 1, 0]).float()
    z0 = torch.stack([kinds, torch.linspace(1, 2, 10)], 1)
    parts = [iterate(mixture, z, max_steps=60, max_norm=1e4) for z in z0.split(batch)]
    outcome = torch.cat([part.outcome for part in parts]).tolist()
    by_kind = {0: Outcome.CONVERGED, 1: Outcome.CYCLE, 2: Outcome.MAX_STEPS, 3: Outcome.DIVERGED, 4: Outcome.DIVERGED}
    assert outcome == [by_kind[int(kind)] for kind in kinds]
    whole = iterate(mixture, z0, max_steps=60, max_norm=1e4)
    for name in ("end", "outcome", "steps", "residual", "period", "first"):
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(whole, name)), name
    diverged = whole.outcome == Outcome.DIVERGED
    assert torch.isfinite(whole.end).all()
    assert (whole.end[diverged].norm(dim=1) <= 1e4).all()
    assert torch.isinf(whole.residual[diverged]).all()


def test_two_basins():
    z0 = torch.tensor([[-2.0], [-0.1], [0.1], [2.0]], dtype=torch.float64)
    ends = iterate(lambda z: torch.tanh(2 * z), z0, tolerance=1e-20)
    fixed = 0.9575040240772687  # the positive root of z = tanh(2 z)
    assert torch.allclose(ends.end.squeeze(), torch.tensor([-fixed, -fixed, fixed, fixed], dtype=torch.float64))


def test_half_precision_and_changed_shapes_are_refused():
    with pytest.raises(ValueError, match="float32 or float64"):
        iterate(lambda z: z, torch.zeros(1, 2, dtype=torch.bfloat16))
    with pytest.raises(ValueError, match="shapes must be equal"):
        iterate(lambda z: z[:, :1], torch.zeros(1, 2))


def test_a_coarser_type_is_refused():
    with pytest.raises(ValueError, match="types must be equal"):
        iterate(lambda z: (0.999 * z).bfloat16(), torch.ones(1, 2))


@pytest.mark.parametrize("lag", [1, 2, 7, 1000])
def test_when_the_flags_are_looked_at_does_not_matter(lag):
    z0 = torch.stack([torch.tensor([0, 1, 2, 3, 4.0]), torch.linspace(1, 2, 5)], 1)
    one, other = (iterate(mixture, z0, max_steps=60, max_norm=1e4, batch_size=2, lag=value) for value in (0, lag))
    for name in ("end", "outcome", "steps", "residual", "period", "evaluations"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_no_tf32_within_the_loop():
    before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    assert before[1]  # what would do harm: convolutions in TF32 by default
    seen = []

    def f(z):
        seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
        return z

    iterate(f, torch.ones(1, 2))
    assert set(seen) == {(False, False)}  # on a GPU the flags of outcomes are looked at some steps later
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_a_place_is_never_empty_while_starts_wait():
    """Steps of f with a batch of 4: the sum of all evaluations over 4, and a tail."""
    rows = []

    def f(z):
        rows.append(len(z))
        return 0.5 * z

    z0 = (2.0 ** torch.arange(40))[torch.randperm(40, generator=torch.Generator().manual_seed(0))].view(-1, 1)
    ends = iterate(f, z0, batch_size=4, max_norm=1e13)
    assert set(ends.outcome.tolist()) == {Outcome.CONVERGED}
    assert sum(rows) == int(ends.evaluations.sum())
    assert rows == sorted(rows, reverse=True)
    assert rows[: len(rows) - 45] == [4] * (len(rows) - 45)


def test_a_compiled_map_sees_few_shapes():
    shapes = set()

    def f(z):
        shapes.add(len(z))
        return 0.5 * z

    z0 = (2.0 ** torch.arange(40)).view(-1, 1)
    steady = iterate(f, z0, batch_size=8, max_norm=1e13, steady=True)
    assert shapes <= {8, 4, 2, 1}
    plain = iterate(lambda z: 0.5 * z, z0, batch_size=8, max_norm=1e13)
    assert torch.equal(steady.end, plain.end)
    assert torch.equal(steady.steps, plain.steps)


@pytest.mark.parametrize("count", [3, 31, 40, 74])
def test_a_compiled_map_never_sees_more_rows_than_fit(count):
    seen = set()

    def f(z):
        seen.add(len(z))
        return 0.5 * z

    generator = torch.Generator().manual_seed(count)
    parts = [(i, (2.0 ** torch.randint(0, 40, (size, 1), generator=generator))) for i, size in enumerate((count, 43))]
    how = Iteration(batch_size=64, max_norm=1e13, steady=True)
    assert {name for name, _ in iterate_batches(f, parts, how)} == {0, 1}
    assert max(seen) <= 64
    assert len(seen) <= 8


def test_gradients_are_on_between_batches():
    for _, ends in iterate_batches(lambda z: 0.5 * z, [(0, torch.ones(2, 1)), (1, torch.ones(2, 1))], Iteration()):
        assert torch.is_grad_enabled()
        assert not ends.end.requires_grad


def test_batches_come_as_they_are_done_and_are_taken_when_there_is_room():
    taken, seen = [], []

    def batches():
        for name, length in (("slow", 3.0), ("a", 1.0), ("b", 1.0), ("c", 1.0)):
            taken.append(name)
            yield name, torch.full((4, 1), length * 1e6 if name == "slow" else length)

    how = Iteration(batch_size=6)
    for name, ends in iterate_batches(lambda z: 0.5 * z, batches(), how, lambda *told: seen.append(told)):
        if name == "a":
            assert taken == ["slow", "a", "b"]
        assert len(ends.end) == 4
    assert seen[-1][0] + seen[-1][1] == 16
    parts = [ended + part for ended, _, part in seen]
    assert parts == sorted(parts)


def test_what_has_ended_survives_an_interruption():
    """Rates 0.5 and 0.99 from 1: the first ends at 2^-2t / 4 < 1e-5, so after 8 steps; the second has far to go."""
    evaluations = 0

    def f(z):
        nonlocal evaluations
        evaluations += 1
        if evaluations > 20:
            raise KeyboardInterrupt
        return z * torch.tensor([0.5, 0.99]).gather(0, (z[:, 1] > 0).long())[:, None]

    z0 = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    gathered = Gathered()
    stream = iterate_batches(f, [("a", z0[:3]), ("b", z0[3:])], Iteration(batch_size=5), gathered=gathered)
    assert next(stream)[0] == "b"
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    ((name, rows, ends),) = gathered.unfinished()
    assert (name, rows) == ("a", [0, 2])
    assert ends.steps.tolist() == [8, 8]
    assert torch.equal(ends.end[:, 0], torch.full((2,), 2.0**-8))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_outcomes():
    z0 = torch.stack([torch.tensor([0, 1, 2, 3, 4.0]), torch.linspace(1, 2, 5)], 1)
    here = iterate(mixture, z0, max_steps=60, max_norm=1e4)
    there = iterate(mixture, z0.cuda(), max_steps=60, max_norm=1e4)
    assert torch.equal(here.outcome, there.outcome.cpu())
    assert torch.equal(here.steps, there.steps.cpu())
    assert torch.allclose(here.end, there.end.cpu())


@pytest.mark.parametrize(
    ("centre", "rate", "steps"),
    # The residual 0.1 * 0.9^t (that of t = 0 in full precision) is below 0.005 of the first at t = 51; near a point of
    # norm 8, a residual of 1e-3 is a few units of TF32's rounding from the start.
    [(0.0, 0.9, 51), (8.0, 0.999, 1)],
    ids=["by its share of the first residual", "by rounding"],
)
def test_reduced_precision_ends_where_the_residual_nears_its_rounding(centre, rate, steps):
    reduced = []

    def f(z):
        reduced.append(torch.backends.cuda.matmul.allow_tf32)
        return centre + rate * (z - centre)

    iterate(f, torch.full((1, 1), centre + 1), max_steps=300, tolerance=1e-10, far_precision="tf32")
    assert reduced[: steps + 1] == [False] + [True] * steps
    assert not any(reduced[steps + 1 :])
