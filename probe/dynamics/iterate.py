"""The one iteration loop z_{t+1} = f(z_t) (paper, Section 3), row by row.

| symbol | meaning | shape |
|---|---|---|
| z | latents, one row a start | (n, ...) |
| y | f(z) | (n, ...) |
| residual | ||f(z) - z||^2, of z itself | (n,) |
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.dynamics import acceleration, cycles
from probe.dynamics.end_points import RUNNING, EndPoints, Gathered, Outcome
from probe.dynamics.flow import Group, State, flow, per_row, some
from probe.precision import full_float32, reduced

Map = Callable[[Tensor], Tensor]
FAR = {"tf32": 0.005, "bfloat16": 0.05}
"""Reduced precision serves until the residual ||f(z) - z|| has fallen to this share of the first,"""
COARSE = {"tf32": 4 * 2**-11, "bfloat16": 4 * 2**-9}
"""or to this share of ||f(z)||, some units of its rounding."""


@dataclass(frozen=True)
class Iteration:
    """How to iterate.

    Attributes:
        max_steps: the most steps of a start (one more evaluation gives the last residual; where an extrapolation has
            come below the tolerance just then, the plain steps that may confirm it are still taken).
        tolerance: on the squared norm of f(z) - z (paper, Section 4.1: 1e-5).
        max_norm: a row whose norm passes this has diverged.
        accelerate: extrapolate where a row is in its linear regime; see ``acceleration``.
        far_precision: ``float32`` (none), ``tf32`` or ``bfloat16`` for the first part of the way: until the residual
            has fallen to ``FAR`` of the first or to ``COARSE`` of ||f(z)||, for at most half of max_steps. What comes
            after, and every outcome, is in the type of the starts with TF32 off.
        steady, lag: see ``flow``. The result does not depend on the lag.
    """

    max_steps: int = 500
    tolerance: float = 1e-5
    max_norm: float = 1e6
    batch_size: int = 64
    accelerate: bool = False
    far_precision: str = "float32"
    steady: bool = False
    lag: int | None = None

    @property
    def accelerator(self) -> acceleration.Accelerator:
        return acceleration.Extrapolation() if self.accelerate else acceleration.Plain()


def iterate(f: Map, z0: Tensor, settings: Iteration | None = None, **fields: object) -> EndPoints:
    """Iterate f from every row of z0 until that row converges, cycles, diverges or has made max_steps steps.

    The residual that decides is that of the returned point: a row is returned as z, not f(z), when
    ||f(z) - z||^2 < tolerance. No row influences another.

    Args:
        f: the map; takes and returns (k, ...) for any k, each row by itself.
        z0: starts (n, ...), float32 or float64.
        settings, fields: an ``Iteration``, or fields of one.

    Raises:
        ValueError: z0 is empty or of lower precision than float32, or f changes the shape or type.
    """
    settings = settings or Iteration(**{"batch_size": max(len(z0), 1), **fields})  # type: ignore[arg-type]
    ((_, ends),) = iterate_batches(f, [(None, z0)], settings)
    return ends


def iterate_batches(
    f: Map,
    batches: "Iterable[tuple[object, Tensor]]",
    settings: Iteration,
    on_step: Callable[[int, int, float], None] | None = None,
    gathered: "Gathered | None" = None,
) -> "Iterator[tuple[object, EndPoints]]":
    """Iterate the starts of several batches as one stream; yields each batch when all of its starts have ended.

    A start that ended leaves its place to the next one that waits, be it of another batch. Batches are taken when there
    is room, so memory does not grow with their number.

    Args:
        batches: names and starts (n, ...), on the device on which f computes.
        on_step: called after each step with (starts that have ended, rows running, their part of the way in starts).
        gathered: holds what has ended so far, for a caller that is interrupted.
    """
    ends = Gathered() if gathered is None else gathered
    source = ends.watch(batches, settings.batch_size)
    meter = _Meter(settings.max_steps, on_step) if on_step else None
    groups = source if settings.far_precision == "float32" else _far(f, source, settings)
    accelerator = settings.accelerator
    for group in flow(
        (_near_state(group, accelerator) for group in groups),
        settings.batch_size,
        lambda state: _near_step(f, state, settings, accelerator),
        lag=settings.lag,
        steady=settings.steady,
        on_step=meter,
    ):
        if meter:
            meter.ended += len(group.starts)
        yield from ends.put(group)


@torch.no_grad()
def apply(f: Map, z: Tensor) -> tuple[Tensor, Tensor]:
    """One step: f(z) and the squared residual ||f(z) - z||^2 of z, shape (n,)."""
    y = _checked(f(z), z)
    return y, (y - z).flatten(1).square().sum(1)


def _checked(y: Tensor, z: Tensor) -> Tensor:
    """f(z), if it may be compared with z."""
    if y.shape != z.shape:
        raise ValueError(f"f maps latents of shape {tuple(z.shape)} to {tuple(y.shape)}; the shapes must be equal")
    if y.dtype != z.dtype:  # rounding to a coarser type would make fixed points of its own
        raise ValueError(f"f maps {z.dtype} latents to {y.dtype}; the types must be equal")
    return y


def _near_state(group: Group, accelerator: acceleration.Accelerator) -> Group:
    z = group.state["z"]
    state = {
        **group.state,
        "ended": torch.zeros(len(z), dtype=torch.bool, device=z.device),
        "outcome": torch.full((len(z),), RUNNING, dtype=torch.uint8, device=z.device),
        "residual": torch.full((len(z),), torch.inf, dtype=torch.float64, device=z.device),
        **cycles.fresh(z, group.state["steps"]),
        **accelerator.fresh(z),
    }
    return Group(group.starts, state)


@torch.no_grad()
def _near_step(f: Map, state: State, settings: Iteration, accelerator: acceleration.Accelerator) -> None:
    """One evaluation of f for every row; rows that have ended stay as they are.

    What few rows need is done only where there are ``some``: on a small model these small operations would take as long
    as f.
    """
    z, running = state["z"], ~state["ended"]
    with full_float32():
        y = _checked(f(z), z)
    r = (y - z).flatten(1)
    residual = r.square().sum(1)
    if some(begins := state["evaluations"] == 0):
        state["first"] = torch.where(per_row(begins, z), y, state["first"])
        state["residual0"] = torch.where(begins, residual, state["residual0"])
    failed, confirmed, calm = accelerator.judge(state, r, residual, settings.tolerance)
    moves = running & ~failed
    cycling = cycles.update(state, residual, settings.tolerance, moves)
    below = residual < settings.tolerance
    # NaN compares false, and so counts as diverged.
    diverged = ~(torch.linalg.vector_norm(y.flatten(1), dim=1) <= settings.max_norm)
    if some(over := state["steps"] >= settings.max_steps):
        over &= ~below | (state["steps"] >= settings.max_steps + acceleration.CALM)
    ends = moves & (cycling | (below & calm) | diverged | over)
    state["evaluations"] = state["evaluations"] + running
    if some(confirmed):
        state["extrapolations"] = state["extrapolations"] + (running & confirmed)
    following = accelerator.propose(state, y, residual, failed, settings.tolerance)
    if some(ends):
        outcome = torch.full_like(state["outcome"], int(Outcome.MAX_STEPS))
        outcome.masked_fill_(cycling, int(Outcome.CYCLE)).masked_fill_(below & calm, int(Outcome.CONVERGED))
        outcome.masked_fill_(diverged, int(Outcome.DIVERGED))
        state["outcome"] = torch.where(ends, outcome, state["outcome"])
        state["residual"] = torch.where(ends, residual.double().masked_fill_(diverged, torch.inf), state["residual"])
        state["ended"] = state["ended"] | ends
        running, moves = running & ~ends, moves & ~ends
    # torch.where, since a mask times NaN is NaN.
    state["z"] = torch.where(per_row(running, z), following, z)
    state["steps"] = state["steps"] + moves


def _far(f: Map, source: Iterator[Group], settings: Iteration) -> Iterator[Group]:
    """Take starts through the first part of their way in reduced precision; the first step is in full precision."""
    far, coarse = FAR[settings.far_precision], COARSE[settings.far_precision]

    def enter(group: Group) -> Group:
        z0 = group.state["z"]
        with full_float32():
            parts = [apply(f, part) for part in z0.split(settings.batch_size)]
        y, residual = (torch.cat(column) for column in zip(*parts, strict=True))
        # What would end at once is left to the judge.
        moves = (residual >= settings.tolerance) & (torch.linalg.vector_norm(y.flatten(1), dim=1) <= settings.max_norm)
        state = {
            "z": torch.where(per_row(moves, z0), y, z0),
            "first": y,
            "steps": moves.long(),
            "extrapolations": group.state["extrapolations"],
            "evaluations": torch.ones_like(group.state["evaluations"]),
            "residual0": residual,
            "ended": ~moves | (settings.max_steps < 2),
        }
        return Group(group.starts, state)

    @torch.no_grad()
    def step(state: State) -> None:
        z, running = state["z"], ~state["ended"]
        with reduced(settings.far_precision, z.device.type):
            y = f(z).to(z.dtype)
        residual = (y - z).flatten(1).square().sum(1)
        norm = torch.linalg.vector_norm(y.flatten(1), dim=1)
        # Handed over as z: whatever it is, the next evaluation finds out in full precision.
        near = ~(residual > torch.maximum(far**2 * state["residual0"], (coarse * norm).square()))
        near |= ~(norm <= settings.max_norm)
        state["evaluations"] = state["evaluations"] + running
        state["ended"] = state["ended"] | near | (state["steps"] + 1 >= settings.max_steps // 2)
        moves = ~state["ended"]
        state["z"] = torch.where(per_row(moves, z), y, z)
        state["steps"] = state["steps"] + moves

    groups = flow(map(enter, source), settings.batch_size, step, lag=settings.lag, steady=settings.steady)
    for group in groups:
        group.state.pop("ended")
        yield group


class _Meter:
    """How far the starts are that are in the batch, by the number of steps since they entered it."""

    def __init__(self, max_steps: int, report: Callable[[int, int, float], None]):
        self.max_steps, self.report, self.ended = max_steps, report, 0
        self.entered: dict[int, int] = {}
        self.starts: list[int] = []
        self.now = 0

    def __call__(self, starts: list[int]) -> None:
        if starts is not self.starts:
            self.entered = {start: self.entered.get(start, self.now) for start in starts}
            self.starts, self.sum = starts, sum(self.entered.values())
        self.now += 1
        part = (self.now * len(starts) - self.sum) / (self.max_steps + 1)
        self.report(self.ended, len(starts), part)
