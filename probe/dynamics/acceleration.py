"""Accelerators of the loop: none, or extrapolation of a tail in its linear regime, verified by plain steps.

Where f is almost linear, the residuals r_i = f(z_i) - z_i of plain steps span a Krylov space, and the combination
sum_i g_i f(z_i), sum_i g_i = 1, with the smallest ||sum_i g_i r_i|| is the best estimate of the fixed point (reduced
rank extrapolation; Anderson mixing with restarts is the same). A row is extrapolated only where

- the residual has fallen to ``START`` of the first, and falls at a steady rate below 1;
- it has fallen to ``BELOW`` of the lowest from which it rose again, by ``RISE``: chaotic transients come near a fixed
  point and leave it, often several times, and an extrapolation there goes to an attractor of its own;
- the same residuals, taken as a linear recurrence, have no mode that grows: near a saddle the plain iteration turns
  away in the end, and an extrapolation would fall into it;
- the combination promises at most ``GAIN`` of the residual;
- the extrapolated point is not further than ``REACH`` times what plain steps at that rate would still go.

The point is kept only where f itself, evaluated there, confirms it; otherwise the row goes back to where it was, and
the next extrapolation waits twice as long.

A row that was extrapolated converges only after ``CALM`` plain steps with falling residuals, whose recurrence has no
mode that grows; until then plain steps go on. Near a weak saddle the steps that an extrapolation saves are those in
which the mode that grows would have become visible. It is too small to be seen before, but once the other modes are
taken out it is a fifth of the residual or more. A smaller one still slips through.

| state | meaning | shape |
|---|---|---|
| points, residuals | f(z_i) and r_i of the last plain steps, in turn; the newest at ``newest`` | (n, DEPTH + 1, d) |
| depth | how many of these there are | (n,) |
| rate | residual over the one before | (n,) |
| before | the residual before, squared | (n,) |
| trial | z is an extrapolation that f has not confirmed yet | (n,) |
| back, bar | where to go if it fails; the squared residual that it must stay below | (n, ...), (n,) |
| pause, rest | steps that the next extrapolation waits after a failure; and still has to wait | (n,) |
| lowest, turn | the smallest squared residual; the smallest from which it rose again | (n,) |
| calm | plain steps with falling residuals since the last extrapolation; large where there was none | (n,) |
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from probe.dynamics.flow import State, per_row, some

DEPTH = 4
START = 0.005
GAIN = 0.3
REACH = 2.0
RISE, BELOW = 2.0, 0.5
STEADY = 0.05
"""Largest change of the rate from step to step."""
CALM = DEPTH
"""As many as show the modes."""
UNTOUCHED = 1 << 20
LONGEST_PAUSE = 64


class Judged(NamedTuple):
    """What became of the rows of a step; bool (n,) each.

    failed: the row was extrapolated and f does not confirm it. confirmed: it was, and f does. calm: the row may end.
    """

    failed: Tensor
    confirmed: Tensor
    calm: Tensor


class Accelerator(Protocol):
    """What the loop asks of an accelerator, in this order; the state of the rows is updated in place."""

    def fresh(self, z: Tensor) -> State:
        """The accelerator's own state for rows that begin at z (n, ...)."""

    def judge(self, state: State, r: Tensor, residual: Tensor, tolerance: float) -> Judged:
        """Compare proposals with r = f(z) - z (n, d) and the squared residuals (n,) of the rows."""

    def propose(self, state: State, y: Tensor, residual: Tensor, failed: Tensor, tolerance: float) -> Tensor:
        """The next point of each row (n, ...), given y = f(z) and what ``judge`` was given and found."""


class Plain:
    """No acceleration: the next point is f(z)."""

    def fresh(self, z: Tensor) -> State:
        return {}

    def judge(self, state: State, r: Tensor, residual: Tensor, tolerance: float) -> Judged:
        none = torch.zeros_like(residual, dtype=torch.bool)
        return Judged(none, none, ~none)

    def propose(self, state: State, y: Tensor, residual: Tensor, failed: Tensor, tolerance: float) -> Tensor:
        return y


class Extrapolation:
    """Reduced rank extrapolation of the tail; its state is the table above, and what all rows of one loop share.

    Attributes:
        newest: where the last step was written in ``points`` and ``residuals``. Rows share it: a row uses what it finds
            there only once it has written all of it.
        tried: whether a row may be a trial; if not, ``trial`` is false everywhere.
        decays: on a GPU, ``_modes_decay`` of all rows at this step, once it is known.
    """

    def __init__(self) -> None:
        self.newest, self.tried = 0, False
        self.decays: Tensor | None = None

    def fresh(self, z: Tensor) -> State:
        n, d = len(z), z[0].numel()
        zero = torch.zeros(n, dtype=torch.long, device=z.device)
        history = torch.zeros((n, DEPTH + 1, d), dtype=z.dtype, device=z.device)
        return {
            "points": history,
            "residuals": history.clone(),
            "depth": zero,
            "rate": torch.full((n,), torch.inf, dtype=z.dtype, device=z.device),
            "before": torch.full((n,), torch.inf, dtype=z.dtype, device=z.device),
            "trial": torch.zeros(n, dtype=torch.bool, device=z.device),
            "back": z.clone(),
            "bar": torch.zeros(n, dtype=z.dtype, device=z.device),
            "pause": torch.full_like(zero, DEPTH),
            "rest": zero.clone(),
            "calm": torch.full_like(zero, UNTOUCHED),
            "lowest": torch.full((n,), torch.inf, dtype=z.dtype, device=z.device),
            "turn": torch.full((n,), torch.inf, dtype=z.dtype, device=z.device),
        }

    def judge(self, state: State, r: Tensor, residual: Tensor, tolerance: float) -> Judged:
        """A row that was extrapolated fails where its residual is not below its bar."""
        self.newest, self.decays = (self.newest + 1) % (DEPTH + 1), None
        # A row that fails has no depth left, so what it writes is never read.
        state["residuals"][:, self.newest] = r
        failed = kept = trial = state["trial"]
        state["rest"] = (state["rest"] - 1).clamp_(min=0)
        if self.tried:
            failed = trial & ~(residual < state["bar"])  # NaN fails
            kept = trial & ~failed
            state["depth"] = state["depth"].masked_fill(trial, 0)
            state["rest"] = torch.where(failed, state["pause"], state["rest"])
            state["pause"] = torch.where(failed, (2 * state["pause"]).clamp(max=LONGEST_PAUSE), state["pause"])
        state["calm"] = state["calm"] + 1
        fresh = kept | ((residual > state["before"]) & (state["calm"] <= UNTOUCHED))
        if some(fresh):
            # Where the residual is rounding, it need not fall.
            rounding = _is_rounding(residual, state["z"])
            state["calm"] = state["calm"].masked_fill(kept | (fresh & ~trial & ~rounding), 0)
        lowest = torch.minimum(state["lowest"], residual)
        lowest = torch.where(failed, state["lowest"], lowest) if self.tried else lowest
        rises = ~failed & (residual > RISE**2 * lowest)
        state["lowest"], state["turn"] = lowest, torch.where(rises, lowest, state["turn"])
        calm = state["calm"] >= CALM
        asked = calm & (state["calm"] < UNTOUCHED) & (residual < tolerance)
        if some(asked):
            seen = self._all_decay(state, asked) & (state["depth"] >= DEPTH)
            calm &= ~asked | seen | _is_rounding(residual, state["z"])
        return Judged(failed, kept, calm)

    def propose(self, state: State, y: Tensor, residual: Tensor, failed: Tensor, tolerance: float) -> Tensor:
        """f(z), an extrapolation, or the way back from one that failed."""
        z, following = state["z"], y
        state["points"][:, self.newest] = y.flatten(1)
        rate, before = (residual / state["before"]).sqrt(), residual
        if self.tried:
            rate = rate.masked_fill(state["trial"], torch.inf)
            before = residual.masked_fill(failed, torch.inf)
            following = torch.where(per_row(failed, z), state["back"], y)
            state["depth"] = state["depth"] + ~failed
        else:
            state["depth"] = state["depth"] + 1
        ready = (rate < 1) & ((rate - state["rate"]).abs_() < STEADY)
        state["rate"], state["before"] = rate, before
        ready &= (residual >= tolerance) & (residual < START**2 * state["residual0"])
        ready &= (state["depth"] > DEPTH) & (state["rest"] == 0) & (residual < BELOW**2 * state["turn"])
        self.tried, was = some(ready), self.tried
        if not self.tried:
            state["trial"] = torch.zeros_like(ready) if was else state["trial"]
            return following
        point, promise = _extrapolations(state, ready, self.newest)
        left = residual.sqrt() * rate / (1 - rate)
        ready &= (
            self._all_decay(state, ready)
            & (promise < GAIN**2 * residual)
            & ((point - y.flatten(1)).norm(dim=1) < REACH * left)
        )
        state["trial"] = ready
        state["bar"] = rate.clamp(max=2 * GAIN) ** 2 * residual
        state["back"] = torch.where(per_row(failed, z), state["back"], y)
        return torch.where(per_row(ready, z), point.view_as(z), following)

    def _all_decay(self, state: State, asked: Tensor) -> Tensor:
        """``_modes_decay`` of the last residuals where asked (n,); elsewhere it means nothing."""
        if asked.device.type == "cpu":
            decays, rows = torch.zeros_like(asked), asked.nonzero().squeeze(1)
            decays[rows] = _modes_decay(_ordered(state["residuals"][rows], self.newest))
            return decays
        if self.decays is None:
            self.decays = _modes_decay(_ordered(state["residuals"], self.newest))
        return self.decays


def _is_rounding(residual: Tensor, z: Tensor) -> Tensor:
    """Whether the squared residual (n,) is what rounding leaves at z (n, ...)."""
    return residual < (16 * torch.finfo(residual.dtype).eps) ** 2 * z.flatten(1).square().sum(1)


def _ordered(history: Tensor, newest: int) -> Tensor:
    """The last steps (n, DEPTH + 1, d), the newest first."""
    return torch.stack([history[:, (newest - i) % (DEPTH + 1)] for i in range(DEPTH + 1)], 1)


def _extrapolations(state: State, ready: Tensor, newest: int) -> tuple[Tensor, Tensor]:
    """The extrapolated point (n, d) and the squared residual that it promises (n,), where ready (n,).

    On a CPU for these rows alone, which are few; on a GPU, the host would have to wait to know them.
    """
    points, residuals = state["points"], state["residuals"]
    if ready.device.type != "cpu":
        return extrapolate(_ordered(points, newest), _ordered(residuals, newest))
    point, promise = points[:, newest].clone(), torch.full_like(points[:, 0, 0], torch.inf)
    rows = ready.nonzero().squeeze(1)
    point[rows], promise[rows] = extrapolate(_ordered(points[rows], newest), _ordered(residuals[rows], newest))
    return point, promise


def extrapolate(points: Tensor, residuals: Tensor) -> tuple[Tensor, Tensor]:
    """The extrapolated point (n, d), and the squared residual that it promises (n,)."""
    difference = residuals[:, 1:] - residuals[:, :1]
    weights = -_coefficients(difference, residuals[:, 0], 1e-10).to(points)
    point = points[:, 0] + (weights * (points[:, 1:] - points[:, :1])).sum(1)
    promise = (residuals[:, 0] + (weights * difference).sum(1)).square().sum(1)
    return point, promise


def _modes_decay(residuals: Tensor) -> Tensor:
    """Whether r_t = c_1 r_{t-1} + ... + c_m r_{t-m}, fitted to the residuals, has all roots in the unit circle (n,).

    Least squares of small norm keep the roots that belong to no mode inside (Kumaresan 1983). The Schur-Cohn recursion
    tells whether all are inside without computing them: all its reflection coefficients must be below 1.
    """
    c = _coefficients(residuals[:, 1:], residuals[:, 0], 1e-14)[:, :, 0]
    a = torch.cat([torch.ones_like(c[:, :1]), -c], 1)
    inside = torch.ones(len(a), dtype=torch.bool, device=a.device)
    for degree in range(DEPTH, 0, -1):
        k = a[:, degree : degree + 1]
        inside &= k[:, 0].abs() < 1  # NaN is not inside
        a = (a - k * a.flip(1))[:, :degree] / (1 - k * k)
    return inside


def _coefficients(rows: Tensor, target: Tensor, ridge: float) -> Tensor:
    """c (n, m, 1) of the smallest ||target - sum_i c_i rows_i||, with a ridge relative to the rows (n, m, d)."""
    basis = rows.double()
    gram = basis @ basis.mT
    diagonal = gram.diagonal(dim1=1, dim2=2)
    diagonal.add_((ridge * diagonal.mean(1) + torch.finfo(torch.float64).tiny)[:, None])
    # solve_ex, since solve makes the host wait for the device to look for singular matrices.
    return torch.linalg.solve_ex(gram, basis @ target.double()[:, :, None])[0]
