"""The one iteration loop z_{t+1} = f(z_t) (paper, Section 3), row by row.

| symbol | meaning | shape |
|---|---|---|
| z | latents, one row a start | (n, ...) |
| y | f(z) | (n, ...) |
| residual | ||f(z) - z||^2, of z itself | (n,) |
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from probe.dynamics import acceleration, cycles
from probe.dynamics.flow import Group, State, flow, per_row
from probe.dynamics.outcomes import Outcome
from probe.precision import full_float32, reduced

if TYPE_CHECKING:
    import pandas as pd

Map = Callable[[Tensor], Tensor]
RUNNING = 255
FAR = 0.05
"""Reduced precision serves until the residual ||f(z) - z|| has fallen to this share of the first."""
LAG = 2
"""On a GPU the host looks at the flags of two steps ago, which have arrived by then."""


@dataclass
class EndPoints:
    """Where n starts ended. All tensors have n rows, in the order of the starts.

    Attributes:
        end: the returned points (n, ...). Where a row diverged, its last point within the bound.
        first: f(z0), the starts after one step (n, ...); the one-step control.
        outcome: uint8 codes of ``Outcome``.
        steps: steps from the start to the returned point: applications of f, and extrapolations that f confirmed.
        guesses: extrapolations among the steps.
        evaluations: of f, for this start: steps, the last residual, and extrapolations that failed.
        residual: float64, ||f(z) - z||^2 of the returned point itself; infinite where diverged.
        period: the period of a cycle, otherwise 0.
    """

    end: Tensor
    first: Tensor
    outcome: Tensor
    steps: Tensor
    guesses: Tensor
    evaluations: Tensor
    residual: Tensor
    period: Tensor

    def counts(self) -> dict[str, int]:
        """Starts by outcome, all outcomes named."""
        return {outcome.label: int((self.outcome == outcome).sum()) for outcome in Outcome}

    @property
    def outcomes(self) -> list[str]:
        """The outcome of each start by name: ``converged``, ``cycle``, ``max_steps``, ``diverged``."""
        return [Outcome(code).label for code in self.outcome.tolist()]

    def to_pandas(self) -> "pd.DataFrame":
        """A row per start: outcome by name, steps, evaluations, residual, period; by index."""
        import pandas as pd

        columns: dict[str, Any] = {"outcome": pd.Categorical(self.outcomes, [outcome.label for outcome in Outcome])}
        columns |= {name: getattr(self, name).tolist() for name in ("steps", "evaluations", "residual", "period")}
        return pd.DataFrame(columns).rename_axis("start")

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts().items() if count)
        return f"<EndPoints: {len(self.end)} starts of {' x '.join(map(str, self.end.shape[1:]))}, {counts}>"

    def _repr_html_(self) -> str:
        return f"<p>{repr(self)[1:-1]}</p>{self.to_pandas().head(10).to_html()}"

    @staticmethod
    def concatenate(parts: "list[EndPoints]") -> "EndPoints":
        """Put the rows of several batches behind each other."""
        names = EndPoints.__dataclass_fields__
        return EndPoints(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


@dataclass(frozen=True)
class Iteration:
    """How to iterate.

    Attributes:
        max_steps: the most steps of a start (one more evaluation gives the last residual; where an extrapolation has
            come below the tolerance just then, the plain steps that confirm it are still taken).
        tolerance: on the squared norm of f(z) - z (paper, Section 4.1: 1e-5).
        max_norm: a row whose norm passes this has diverged.
        batch_size: rows that are iterated together.
        accelerate: extrapolate where a row is in its linear regime; see ``acceleration``.
        far_precision: ``float32`` (none), ``tf32`` or ``bfloat16`` for the first part of the way: until the residual
            has fallen to ``FAR`` of the first, for at most half of max_steps. What follows, and every outcome, is in
            the type of the starts with TF32 off.
        steady: see ``flow``.
        lag: see ``flow``; None: 0 on a CPU, ``LAG`` elsewhere. The result does not depend on it.
    """

    max_steps: int = 500
    tolerance: float = 1e-5
    max_norm: float = 1e6
    batch_size: int = 64
    accelerate: bool = False
    far_precision: str = "float32"
    steady: bool = False
    lag: int | None = None


def iterate(f: Map, z0: Tensor, how: Iteration | None = None, **settings: object) -> EndPoints:
    """Iterate f from every row of z0 until that row converges, cycles, diverges or has made max_steps steps.

    The residual that decides is that of the returned point: a row is returned as z, not f(z), when
    ||f(z) - z||^2 < tolerance. No row influences another.

    Args:
        f: the map; takes and returns (k, ...) for any k, each row by itself.
        z0: starts (n, ...), float32 or float64.
        how, settings: an ``Iteration``, or fields of one.

    Raises:
        ValueError: z0 is empty or of lower precision than float32, or f changes the shape or type.
    """
    how = how or Iteration(**{"batch_size": max(len(z0), 1), **settings})  # type: ignore[arg-type]
    ((_, ends),) = iterate_batches(f, [(None, z0)], how)
    return ends


def iterate_batches(
    f: Map,
    batches: "Iterable[tuple[object, Tensor]]",
    how: Iteration,
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
    source = ends.watch(batches, how)
    meter = _Meter(how.max_steps, on_step) if on_step else None
    groups = source if how.far_precision == "float32" else _far(f, source, how)
    for group in flow(
        (_near_state(group, how) for group in groups),
        how.batch_size,
        lambda state: _near_step(f, state, how),
        lag=_lag(how),
        steady=how.steady,
        on_step=meter,
    ):
        if meter:
            meter.ended += len(group.starts)
        yield from ends.put(group)


def _lag(how: Iteration) -> int:
    return (LAG if torch.cuda.is_available() else 0) if how.lag is None else how.lag


@torch.no_grad()
def apply(f: Map, z: Tensor) -> tuple[Tensor, Tensor]:
    """One step: f(z) and the squared residual ||f(z) - z||^2 of z, shape (n,)."""
    y = f(z)
    if y.shape != z.shape:
        raise ValueError(f"f maps latents of shape {tuple(z.shape)} to {tuple(y.shape)}; the shapes must be equal")
    if y.dtype != z.dtype:  # rounding to a coarser type would make fixed points of its own
        raise ValueError(f"f maps {z.dtype} latents to {y.dtype}; the types must be equal")
    return y, (y - z).flatten(1).square().sum(1)


def _begin(starts: list[int], z0: Tensor) -> Group:
    zero = torch.zeros(len(z0), dtype=torch.long, device=z0.device)
    state = {
        "z": z0.clone(),
        "first": z0.clone(),
        "steps": zero,
        "guesses": zero.clone(),
        "evaluations": zero.clone(),
        "residual0": torch.zeros(len(z0), dtype=z0.dtype, device=z0.device),
    }
    return Group(starts, state)


def _near_state(group: Group, how: Iteration) -> Group:
    z = group.state["z"]
    state = {
        **group.state,
        "ended": torch.zeros(len(z), dtype=torch.bool, device=z.device),
        "outcome": torch.full((len(z),), RUNNING, dtype=torch.uint8, device=z.device),
        "residual": torch.full((len(z),), torch.inf, dtype=torch.float64, device=z.device),
        **cycles.fresh(z, group.state["steps"]),
        **(acceleration.fresh(z) if how.accelerate else {}),
    }
    return Group(group.starts, state)


@torch.no_grad()
def _near_step(f: Map, state: State, how: Iteration) -> None:
    """One evaluation of f for every row; rows that have ended stay as they are."""
    z, steps, running = state["z"], state["steps"], ~state["ended"]
    with full_float32():
        y, residual = apply(f, z)
    begins = state["evaluations"] == 0
    state["first"] = torch.where(per_row(begins, z), y, state["first"])
    state["residual0"] = torch.where(begins, residual, state["residual0"])
    failed = acceleration.judge(state, residual) if how.accelerate else torch.zeros_like(running)
    cycling = cycles.update(state, residual, how.tolerance, running & ~failed)
    calm = state["calm"] >= acceleration.CALM if how.accelerate else torch.ones_like(running)
    outcome = _judge(y, residual, cycling, calm, how)
    limit = how.max_steps + acceleration.CALM * (residual < how.tolerance)
    outcome = torch.where((outcome == RUNNING) & (steps >= limit), int(Outcome.MAX_STEPS), outcome)
    ends = running & ~failed & (outcome != RUNNING)
    diverged = outcome == int(Outcome.DIVERGED)
    state["outcome"] = torch.where(ends, outcome, state["outcome"])
    state["residual"] = torch.where(ends, torch.where(diverged, torch.inf, residual.double()), state["residual"])
    state["evaluations"] = state["evaluations"] + running
    if how.accelerate:
        state["guesses"] = state["guesses"] + (running & state["trial"] & ~failed)
    following = acceleration.propose(state, y, residual, failed, how.tolerance) if how.accelerate else y
    moves = running & ~ends
    # torch.where, since a mask times NaN is NaN.
    state["z"] = torch.where(per_row(moves, z), following, z)
    state["steps"] = steps + (moves & ~failed)
    state["ended"] = state["ended"] | ends


def _judge(y: Tensor, residual: Tensor, cycling: Tensor, calm: Tensor, how: Iteration) -> Tensor:
    """The outcome of each row by its residual and its next point, RUNNING where undecided; uint8 (n,)."""
    norm = torch.linalg.vector_norm(y.flatten(1), dim=1)
    outcome = torch.full_like(residual, RUNNING, dtype=torch.uint8)
    outcome.masked_fill_(cycling, int(Outcome.CYCLE))
    outcome.masked_fill_((residual < how.tolerance) & calm, int(Outcome.CONVERGED))
    # NaN compares false, and so counts as diverged.
    return outcome.masked_fill_(~(norm <= how.max_norm), int(Outcome.DIVERGED))


def _far(f: Map, source: Iterator[Group], how: Iteration) -> Iterator[Group]:
    """Take starts through the first part of their way in reduced precision; the first step is in full precision."""

    def enter(group: Group) -> Group:
        z0 = group.state["z"]
        parts = []
        with full_float32():
            for part in z0.split(how.batch_size):
                parts.append(apply(f, part))
        y, residual = torch.cat([y for y, _ in parts]), torch.cat([r for _, r in parts])
        # What would end at once is left to the judge.
        moves = (residual >= how.tolerance) & (torch.linalg.vector_norm(y.flatten(1), dim=1) <= how.max_norm)
        state = {
            "z": torch.where(per_row(moves, z0), y, z0),
            "first": y,
            "steps": moves.long(),
            "guesses": group.state["guesses"],
            "evaluations": torch.ones_like(group.state["evaluations"]),
            "residual0": residual,
            "ended": ~moves | (how.max_steps < 2),
        }
        return Group(group.starts, state)

    @torch.no_grad()
    def step(state: State) -> None:
        z, running = state["z"], ~state["ended"]
        with reduced(how.far_precision, z.device.type):
            y = f(z).to(z.dtype)
        residual = (y - z).flatten(1).square().sum(1)
        norm = torch.linalg.vector_norm(y.flatten(1), dim=1)
        # Handed over as z: whatever it is, the next evaluation finds out in full precision.
        near = ~(residual > FAR**2 * state["residual0"]) | ~(norm <= how.max_norm)
        state["evaluations"] = state["evaluations"] + running
        state["ended"] = state["ended"] | near | (state["steps"] + 1 >= how.max_steps // 2)
        moves = ~state["ended"]
        state["z"] = torch.where(per_row(moves, z), y, z)
        state["steps"] = state["steps"] + moves

    groups = flow(map(enter, source), how.batch_size, step, lag=_lag(how), steady=how.steady)
    for group in groups:
        group.state.pop("ended")
        yield group


class Gathered:
    """End points of batches, put together as their starts end."""

    def __init__(self) -> None:
        self.open: dict[int, tuple[object, EndPoints, int]] = {}
        self.home: dict[int, tuple[int, int]] = {}
        self.empty: list[tuple[object, EndPoints]] = []

    def watch(self, batches: "Iterable[tuple[object, Tensor]]", how: Iteration) -> Iterator[Group]:
        """The batches as groups of rows, with numbers of their own."""
        begun = 0
        for batch, (name, z0) in enumerate(batches):
            if not len(z0):
                raise ValueError("there is no start in a batch")
            if z0.dtype not in (torch.float32, torch.float64):
                raise ValueError(f"latents must be float32 or float64 to be judged, not {z0.dtype}")
            ends = EndPoints(
                end=torch.empty_like(z0),
                first=torch.empty_like(z0),
                outcome=torch.full((len(z0),), RUNNING, dtype=torch.uint8, device=z0.device),
                steps=torch.empty(len(z0), dtype=torch.long, device=z0.device),
                guesses=torch.empty(len(z0), dtype=torch.long, device=z0.device),
                evaluations=torch.empty(len(z0), dtype=torch.long, device=z0.device),
                residual=torch.empty(len(z0), dtype=torch.float64, device=z0.device),
                period=torch.empty(len(z0), dtype=torch.long, device=z0.device),
            )
            self.open[batch] = (name, ends, len(z0))
            for first in range(0, len(z0), how.batch_size):
                part = z0[first : first + how.batch_size]
                starts = list(range(begun + first, begun + first + len(part)))
                self.home |= {start: (batch, start - begun) for start in starts}
                yield _begin(starts, part)
            begun += len(z0)

    def put(self, group: Group) -> "Iterator[tuple[object, EndPoints]]":
        """Take rows that have ended; yields the batches that are complete with them."""
        homes = [self.home.pop(start) for start in group.starts]
        for batch in dict.fromkeys(batch for batch, _ in homes):
            name, ends, missing = self.open[batch]
            rows = [row for row, home in enumerate(homes) if home[0] == batch]
            part = group.take(rows).state if len(rows) < len(homes) else group.state
            place = torch.tensor([homes[row][1] for row in rows], device=ends.end.device)
            period = torch.where(part["outcome"] == int(Outcome.CYCLE), part["period"], 0)
            known = {**part, "end": part["z"], "period": period}
            # The outcome last: a row that has one is complete, also when a signal comes between two fields.
            for key in sorted(EndPoints.__dataclass_fields__, key="outcome".__eq__):
                getattr(ends, key)[place] = known[key]
            self.open[batch] = (name, ends, missing - len(rows))
            if missing == len(rows):
                yield name, ends
                del self.open[batch]  # only now has the caller taken it

    def unfinished(self) -> "Iterator[tuple[Any, list[int], EndPoints]]":
        """Batches that were not taken whole: the name, the rows that have ended, and their end points on the CPU."""
        for name, ends, _ in self.open.values():
            rows = (ends.outcome != RUNNING).nonzero().flatten()
            if len(rows):
                yield name, rows.tolist(), EndPoints(**{key: value[rows].cpu() for key, value in vars(ends).items()})


class _Meter:
    """How far the starts are that are in the batch, by the number of steps since they entered it."""

    def __init__(self, max_steps: int, report: Callable[[int, int, float], None]):
        self.max_steps, self.report, self.ended = max_steps, report, 0
        self.entered: dict[int, int] = {}
        self.now = 0

    def __call__(self, starts: list[int]) -> None:
        self.entered = {start: self.entered.get(start, self.now) for start in starts}
        self.now += 1
        part = sum(self.now - step for step in self.entered.values()) / (self.max_steps + 1)
        self.report(self.ended, len(starts), part)
