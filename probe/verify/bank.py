"""A bank of maps with known answers, all in one batch.

| map | what its starts must do |
|---|---|
| linear, basins, stable | reach the fixed point that is known |
| saddle | pass a saddle, and end in the fixed point behind it |
| rotation, cycle | return every 7 and every 2 steps |
| quasi, chaos, drift | never settle |
| escape, nan | leave every bound, and every number |
"""

import math

import torch
from torch import Tensor

from probe.dynamics import EndPoints, Outcome

FIXED = 0.9575040240772687
"""The positive root of z = tanh(2 z)."""
BEHIND = 0.8586
"""The positive root of z = tanh(1.5 z), on either side of the saddle."""
EXPECTED = {
    "linear": Outcome.CONVERGED,
    "basins": Outcome.CONVERGED,
    "rotation": Outcome.CYCLE,
    "quasi": Outcome.MAX_STEPS,
    "escape": Outcome.DIVERGED,
    "saddle": Outcome.CONVERGED,
    "stable": Outcome.CONVERGED,
    "cycle": Outcome.CYCLE,
    "chaos": Outcome.MAX_STEPS,
    "drift": Outcome.MAX_STEPS,
    "nan": Outcome.DIVERGED,
}
"""The outcome of each map within 250 steps, at a tolerance of 1e-10 and a largest norm of 1e4."""
KINDS = tuple(EXPECTED)
PERIODS = {"rotation": 7, "cycle": 2}
SPECTRUM = (0.9, 0.7, -0.5, 0.1)
OFFSET = (1.0, -2.0, 3.0, 4.0)
SIGNS = (1.0, -1.0, 1.0, -1.0)
"""Of the coordinates of the starts of ``basins``."""


def bank(z: Tensor) -> Tensor:
    """One step of each row (n, 5): the first coordinate names the map, the other four are moved by it."""
    kind, v = z[:, :1], z[:, 1:]
    spectrum, offset = (torch.tensor(values, dtype=v.dtype).to(v.device) for values in (SPECTRUM, OFFSET))
    maps = {
        "linear": offset + (v - offset) * spectrum,
        "basins": torch.tanh(2 * v),
        "rotation": _turned(v, 2 * math.pi / 7),
        "quasi": _turned(v, 1.0),
        "escape": offset + 1.5 * (v - offset),
        "saddle": torch.cat([torch.tanh(1.5 * v[:, :1]), 0.5 * v[:, 1:]], 1),
        "stable": _logistic(v, 2.8),
        "cycle": _logistic(v, 3.2),
        "chaos": _logistic(v, 3.9),
        "drift": v + 1,
        "nan": torch.where(v.sum(1, keepdim=True) > 20, torch.nan, v + 1),
    }
    moved = v
    for number, name in enumerate(KINDS):
        moved = torch.where(kind == number, maps[name], moved)
    return torch.cat([kind, moved], 1)


def starts(dtype: torch.dtype, each: int = 3) -> Tensor:
    """``each`` starts of every map, (11 each, 5)."""
    kind = torch.arange(len(KINDS)).repeat(each)
    value = torch.rand((len(kind), 4), generator=torch.Generator().manual_seed(0)).to(dtype) * 0.8 + 0.1
    value[kind == KINDS.index("saddle"), 0] = 1e-4  # the plain iteration passes near the saddle at 0, and leaves it
    value[kind == KINDS.index("basins")] *= value.new_tensor(SIGNS)
    return torch.cat([kind[:, None].to(dtype), value], 1)


def mistakes(ends: EndPoints) -> list[str]:
    """What is not as known, a line for each start of ``starts``; ``ends`` is where they ended within 250 steps, at a
    tolerance of 1e-10 and a largest norm of 1e4."""
    rows = zip(ends.end, ends.outcome.tolist(), ends.residual.tolist(), ends.period.tolist(), strict=True)
    found = []
    for end, code, residual, period in rows:
        name, point = KINDS[int(end[0])], end[1:]
        right = (
            code == EXPECTED[name]
            and period == PERIODS.get(name, 0)
            and (residual < 1e-10) == (code == Outcome.CONVERGED)
            and bool(torch.isfinite(point).all())
            and _near(name, point)
        )
        if not right:
            found.append(f"{name}: {Outcome(code).name}, period {period}, residual {residual:.3g} at {point.tolist()}")
    return found


def _near(name: str, point: Tensor) -> bool:
    """Whether a start of a map whose fixed point is known ended there; the tolerance leaves 1e-5 / (1 - rate)."""
    if name == "linear":
        return torch.allclose(point, point.new_tensor(OFFSET), atol=1e-3)
    if name == "basins":
        return torch.allclose(point, FIXED * point.new_tensor(SIGNS), atol=1e-4)
    if name == "saddle":
        return abs(abs(float(point[0])) - BEHIND) < 1e-3
    if name == "stable":
        return abs(float(point[0]) - (1 - 1 / 2.8)) < 1e-4
    return True


def _turned(value: Tensor, angle: float) -> Tensor:
    c, s = math.cos(angle), math.sin(angle)
    x, y = value[:, :1], value[:, 1:2]
    return torch.cat([c * x - s * y, s * x + c * y, 0.5 * value[:, 2:]], 1)


def _logistic(value: Tensor, r: float) -> Tensor:
    return torch.cat([r * value[:, :1] * (1 - value[:, :1]), 0.5 * value[:, 1:]], 1)
