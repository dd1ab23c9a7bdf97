"""Scores of a start from its trajectory and the training attractors (paper, Sections 3, 4.2), streamed.

| symbol | meaning | shape |
|---|---|---|
| z_t | the trajectory z_{t+1} = f(z_t), t = 0..T; z_T is the first fixed point (to tolerance) | (n, ...) |
| A | training attractors | (m, ...) |
| B | attractors of another origin, such as noise | (k, ...) |
| d(z) | Euclidean distance from z to the nearest point of A | (n,) |
| u(z) | the same with z and the rows of A scaled to unit norm | (n,) |
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.dynamics import Outcome
from probe.dynamics.flow import Group, State, flow, per_row
from probe.dynamics.iterate import RUNNING, Map, apply
from probe.precision import full_float32


@dataclass(frozen=True)
class TrajectoryScores:
    """Scores of n starts, float64 (n,) on the CPU; higher means less like the training attractors.

    Attributes:
        trajectory: mean over t = 0..T of d(z_t), the paper's score.
        trajectory_fixed: mean over t = 0..max_steps of d(z_min(t, T)). ``trajectory`` divides the sum of the distances
            by the row's own number of points, so that a slow approach makes it smaller; this one does not.
        trajectory_unit: mean over t = 0..T of u(z_t): directions only.
        trajectory_noise: mean over t = 0..T of the distance to the nearest point of B; None without B.
        start: d(z_0), without any step; the trajectory should improve on it.
        end_point: d(z_T).
        steps: T; the step limit if the trajectory diverged.
        field: ||f(z_0) - z_0||; infinite if it is NaN.
        outcome: uint8 codes of ``Outcome``: converged, max_steps or diverged.
    """

    trajectory: Tensor
    trajectory_fixed: Tensor
    trajectory_unit: Tensor
    trajectory_noise: Tensor | None
    start: Tensor
    end_point: Tensor
    steps: Tensor
    field: Tensor
    outcome: Tensor


def trajectory_scores(
    f: Map,
    starts: Tensor | Iterable[Tensor],
    attractors: Tensor,
    *,
    max_steps: int,
    tolerance: float,
    max_norm: float = 1e6,
    noise: Tensor | None = None,
    together: int = 256,
    on_step: Callable[[int], None] | None = None,
) -> TrajectoryScores:
    """Follow every start, keeping only sums of distances: memory does not grow with steps or starts.

    T is the first step at which ||f(z_T) - z_T||^2 < tolerance, at most ``max_steps``; a trajectory that leaves the
    ball of ``max_norm`` ends before it. Starts do not influence each other.

    Args:
        starts: z_0 (n, ...), or an iterable of parts, taken as there is room.
        attractors: A (m, ...), m >= 1, on any device; ``noise``: B likewise.
        together: starts iterated together; each that ends is replaced by the next.
        on_step: called after each step with the number of starts that have ended.
    """
    parts = starts.split(together) if isinstance(starts, Tensor) else starts
    nearest: list[_Nearest] = []
    ended: list[Group] = []
    gone = 0

    def groups() -> Iterator[Group]:
        begun = 0
        for z in parts:
            yield _begin(range(begun, begun + len(z)), z)
            begun += len(z)

    @torch.no_grad()
    def advance(state: State) -> None:
        if not nearest:
            nearest.extend(_Nearest(points, state["z"]) for points in (attractors, noise) if points is not None)
        _step(f, state, nearest, max_steps, tolerance, max_norm)

    told = None if on_step is None else lambda _rows: on_step(gone)
    for group in flow(groups(), together, advance, on_step=told):
        del group.state["z"]
        ended.append(group)
        gone += len(group.starts)
    return _scores(Group.join(ended), max_steps, noise is not None)


def _begin(rows: range, z: Tensor) -> Group:
    zero = torch.zeros(len(z), dtype=torch.float64, device=z.device)
    sums = {
        name: zero.clone() for name in ("total", "total_unit", "total_noise", "points", "start", "end_point", "field")
    }
    ended = torch.zeros(len(z), dtype=torch.bool, device=z.device)
    outcome = torch.full((len(z),), RUNNING, dtype=torch.uint8, device=z.device)
    return Group(list(rows), {"z": z, "ended": ended, "outcome": outcome, **sums})


def _step(
    f: Map, state: State, nearest: Sequence["_Nearest"], max_steps: int, tolerance: float, max_norm: float
) -> None:
    """Count z_t and go to z_{t+1}; rows that have ended do not change. ``nearest``: to A, and to B if there is one."""
    z, running = state["z"], ~state["ended"]
    (distance, unit), *others = (one(z) for one in nearest)
    for to_noise, _ in others:
        state["total_noise"] = state["total_noise"] + torch.where(running, to_noise, 0)
    with full_float32():
        y, residual = apply(f, z)
    first = running & (state["points"] == 0)
    state["start"] = torch.where(first, distance, state["start"])
    state["field"] = torch.where(first, residual.double().nan_to_num(nan=torch.inf).sqrt(), state["field"])
    state["total"] = state["total"] + torch.where(running, distance, 0)
    state["total_unit"] = state["total_unit"] + torch.where(running, unit, 0)
    state["end_point"] = torch.where(running, distance, state["end_point"])
    state["points"] = state["points"] + running
    inside = torch.linalg.vector_norm(y.flatten(1), dim=1) <= max_norm  # not where NaN
    outcome = torch.full_like(state["outcome"], RUNNING)
    outcome.masked_fill_(state["points"] > max_steps, int(Outcome.MAX_STEPS))
    outcome.masked_fill_(~inside, int(Outcome.DIVERGED))
    outcome.masked_fill_(residual < tolerance, int(Outcome.CONVERGED))
    state["outcome"] = torch.where(running, outcome, state["outcome"])
    state["ended"] = state["outcome"] != RUNNING
    state["z"] = torch.where(per_row(~state["ended"], z), y, z)


class _Nearest:
    """Distances to the nearest point of a set, plain and at unit norm, from one matrix product.

    In float64: the error of the product grows with the norms, and end points lie on their attractors.
    """

    def __init__(self, attractors: Tensor, like: Tensor):
        self.rows = attractors.flatten(1).to(like.device, torch.float64)
        self.squares = self.rows.square().sum(1)
        self.norms = _positive(self.squares.sqrt())

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Both distances of rows (n, ...), float64 (n,)."""
        flat = z.flatten(1).double()
        squares = flat.square().sum(1)
        products = flat @ self.rows.T
        distance = (squares + (self.squares - 2 * products).amin(1)).clamp(min=0).sqrt()
        cosine = (products / self.norms).amax(1) / _positive(squares.sqrt())
        return distance, (2 - 2 * cosine).clamp(min=0).sqrt()


def _positive(norms: Tensor) -> Tensor:
    """Norms, with 0 replaced by 1: a zero row has no direction, and its cosine with anything is 0."""
    return torch.where(norms > 0, norms, 1)


def _scores(ended: Group, max_steps: int, noise: bool) -> TrajectoryScores:
    order = torch.tensor(ended.starts).argsort()
    state = {name: values.cpu()[order] for name, values in ended.state.items()}
    left = max_steps + 1 - state["points"]
    diverged = state["outcome"] == int(Outcome.DIVERGED)
    return TrajectoryScores(
        trajectory=state["total"] / state["points"],
        trajectory_fixed=(state["total"] + left * state["end_point"]) / (max_steps + 1),
        trajectory_unit=state["total_unit"] / state["points"],
        trajectory_noise=state["total_noise"] / state["points"] if noise else None,
        start=state["start"],
        end_point=state["end_point"],
        steps=torch.where(diverged, float(max_steps), state["points"] - 1),
        field=state["field"],
        outcome=state["outcome"],
    )
