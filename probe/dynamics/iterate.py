"""The one iteration loop z_{t+1} = f(z_t) (paper, Section 3), row by row.

| symbol | meaning | shape |
|---|---|---|
| z | latents, one row a start | (n, ...) |
| y | f(z) | (n, ...) |
| residual | ||f(z) - z||^2, of z itself | (n,) |
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.dynamics.cycles import CycleDetector
from probe.dynamics.outcomes import Outcome
from probe.dynamics.precision import full_float32

Map = Callable[[Tensor], Tensor]
RUNNING = 255


@dataclass
class EndPoints:
    """Where n starts ended. All tensors have n rows, in the order of the starts.

    Attributes:
        end: the returned points (n, ...). Where a row diverged, its last point within the bound.
        first: f(z0), the starts after one step (n, ...); the one-step control.
        outcome: uint8 codes of ``Outcome``.
        steps: applications of f that lead from the start to the returned point.
        residual: float64, ||f(z) - z||^2 of the returned point itself; infinite where diverged.
        period: the period of a cycle, otherwise 0.
    """

    end: Tensor
    first: Tensor
    outcome: Tensor
    steps: Tensor
    residual: Tensor
    period: Tensor

    def counts(self) -> dict[str, int]:
        """Starts by outcome, all outcomes named."""
        return {outcome.label: int((self.outcome == outcome).sum()) for outcome in Outcome}

    @staticmethod
    def concatenate(parts: "list[EndPoints]") -> "EndPoints":
        """Put the rows of several batches behind each other."""
        names = EndPoints.__dataclass_fields__
        return EndPoints(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


@torch.no_grad()
def iterate(
    f: Map,
    z0: Tensor,
    *,
    max_steps: int = 500,
    tolerance: float = 1e-5,
    max_norm: float = 1e6,
    check_every: int | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> EndPoints:
    """Iterate f from every row of z0 until that row converges, cycles, diverges or has made max_steps steps.

    The residual that decides is that of the returned point: a row is returned as z, not f(z), when
    ||f(z) - z||^2 < tolerance. A finished row is frozen, and no row influences another.

    Args:
        f: the map; takes and returns (k, ...) for any k, each row by itself.
        z0: starts (n, ...), float32 or float64.
        max_steps: the most applications of f to a start (one more evaluation gives the last residual).
        tolerance: on the squared norm of f(z) - z (paper, Section 4.1: 1e-5).
        max_norm: a row whose norm passes this has diverged.
        check_every: steps between looks at which rows have finished; a look makes the host wait for the device, so the
            default is 1 on a CPU and 16 elsewhere. The result does not depend on it.
        on_step: called after each look with (step, rows still running).

    Raises:
        ValueError: z0 is of lower precision than float32, or f changes the shape.
    """
    if z0.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"latents must be float32 or float64 to be judged, not {z0.dtype}")
    result = EndPoints(
        end=z0.clone(),
        first=torch.empty_like(z0),
        outcome=torch.full((len(z0),), RUNNING, dtype=torch.uint8, device=z0.device),
        steps=torch.zeros(len(z0), dtype=torch.long, device=z0.device),
        residual=torch.full((len(z0),), torch.inf, dtype=torch.float64, device=z0.device),
        period=torch.zeros(len(z0), dtype=torch.long, device=z0.device),
    )
    z, rows, cycles = z0.clone(), torch.arange(len(z0), device=z0.device), CycleDetector(z0, tolerance)
    check_every = check_every or (1 if z0.device.type == "cpu" else 16)
    running = torch.ones(len(z0), dtype=torch.bool, device=z0.device)
    with full_float32():
        for step in range(max_steps + 1):
            y, residual = apply(f, z)
            if step == 0:
                result.first.copy_(y)
            outcome = _judge(y, residual, cycles.update(z, step, residual), tolerance, max_norm)
            if step == max_steps:
                outcome = torch.where(outcome == RUNNING, int(Outcome.MAX_STEPS), outcome)
            ended = running & (outcome != RUNNING)
            _record(result, rows, ended, outcome, step, residual, cycles.period)
            running = running & ~ended
            # torch.where, since a mask times NaN is NaN.
            z = torch.where(running.view(-1, *[1] * (z.ndim - 1)), y, z)
            if step % check_every == 0 or step == max_steps:
                result.end[rows] = z
                left = running.nonzero().squeeze(1)
                if len(left) < len(rows):
                    z, rows, running = z[left], rows[left], running[left]
                    cycles.keep(left)
                if on_step is not None:
                    on_step(step, len(rows))
                if len(rows) == 0:
                    break
    return result


def apply(f: Map, z: Tensor) -> tuple[Tensor, Tensor]:
    """One step: f(z) and the squared residual ||f(z) - z||^2 of z, shape (n,)."""
    y = f(z)
    if y.shape != z.shape:
        raise ValueError(f"f maps latents of shape {tuple(z.shape)} to {tuple(y.shape)}; the shapes must be equal")
    if y.dtype != z.dtype:  # rounding to a coarser type would make fixed points of its own
        raise ValueError(f"f maps {z.dtype} latents to {y.dtype}; the types must be equal")
    return y, (y - z).flatten(1).square().sum(1)


def _judge(y: Tensor, residual: Tensor, cycling: Tensor, tolerance: float, max_norm: float) -> Tensor:
    """The outcome of each row by its residual and its next point, RUNNING where undecided; uint8 (n,)."""
    norm = torch.linalg.vector_norm(y.flatten(1), dim=1)
    outcome = torch.full_like(residual, RUNNING, dtype=torch.uint8)
    outcome.masked_fill_(cycling, int(Outcome.CYCLE))
    outcome.masked_fill_(residual < tolerance, int(Outcome.CONVERGED))
    # NaN compares false, and so counts as diverged.
    return outcome.masked_fill_(~(norm <= max_norm), int(Outcome.DIVERGED))


def _record(
    result: EndPoints, rows: Tensor, ended: Tensor, outcome: Tensor, step: int, residual: Tensor, period: Tensor
) -> None:
    """Write what is known of the rows that ended; without indexing by a mask, which would wait for the device."""
    diverged = outcome == int(Outcome.DIVERGED)
    values = {
        "outcome": outcome,
        "steps": torch.full_like(result.steps[rows], step),
        "residual": torch.where(diverged, torch.inf, residual.double()),
        "period": torch.where(outcome == int(Outcome.CYCLE), period, 0),
    }
    for name, value in values.items():
        field = getattr(result, name)
        field[rows] = torch.where(ended, value, field[rows])
