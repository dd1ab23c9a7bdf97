"""Detection of periodic orbits with one stored point a row.

Brent's scheme, a row at a time: keep an anchor, renewed after 1, 2, 4, ... steps in full precision, and watch for
returns to it. A cycle of
period p is found when a row comes back to its anchor ``RETURNS`` times at exactly p, 2p, ... steps. The distance must
be below the solver's tolerance and below ``RELATIVE`` times the squared step: an alternating contraction z -> -0.99 z
returns near its past after two steps long before it has converged, but not that near. Four returns must fit between
two renewals: with a limit of T steps, periods up to about max(2^(k-1), T - 2^k) / 4 can be found, 2^k the last power of
two before T (61 for T = 500).

`z` and `steps` of the state are the iteration's.

| state | meaning | shape |
|---|---|---|
| anchor | the point of reference | (n, ...) |
| anchor_step | its step | (n,) |
| entered | the step at which the row began here | (n,) |
| period | period of the suspected cycle; 0: none | (n,) |
| returns | returns at the expected steps so far | (n,) |
"""

import torch
from torch import Tensor

from probe.dynamics.flow import State, per_row, some

RETURNS = 4
"""Returns to the anchor, one period apart, that make a cycle."""
RELATIVE = 1e-6
"""A return is a squared distance below this share of the squared step: a slow spiral also comes near its past."""


def fresh(z: Tensor, steps: Tensor) -> State:
    """The state of rows that begin at z after ``steps`` (n,)."""
    zero = torch.zeros_like(steps)
    return {
        "anchor": z.clone(),
        "anchor_step": steps.clone(),
        "entered": steps.clone(),
        "period": zero,
        "returns": zero.clone(),
    }


def update(state: State, residual: Tensor, tolerance: float, active: Tensor) -> Tensor:
    """Process the points z of the state with their squared residuals (n,); true (n,) where a cycle is established.

    Rows that are not active (n,) are left unchanged.
    """
    z, step = state["z"], state["steps"]
    distance = (z - state["anchor"]).flatten(1).square().sum(1)
    near, returns = distance < (RELATIVE * residual).clamp(max=tolerance), state["returns"]
    established = near
    if some(near | (returns > 0)):
        age = step - state["anchor_step"]
        near = active & (age > 0) & near
        first = near & (returns == 0)
        due = active & (returns > 0) & ((returns + 1) * state["period"] == age)
        state["period"] = torch.where(first, age, state["period"])
        # A return at the wrong time, or none when one is due, starts the count again.
        returns = torch.where(near & due, returns + 1, returns.masked_fill(near ^ due, 0)).masked_fill(first, 1)
        established, state["returns"] = returns >= RETURNS, returns
    since = step - state["entered"]
    renewed = active & ((since & (since - 1)) == 0)  # 0, 1, 2, 4, 8, ...
    if some(renewed):
        state["anchor"] = torch.where(per_row(renewed, z), z, state["anchor"])
        state["anchor_step"] = torch.where(renewed, step, state["anchor_step"])
        state["returns"] = returns.masked_fill(renewed & ~established, 0)
    return established
