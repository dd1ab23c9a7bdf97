"""The iteration on the device: outcomes, steps and end points are those of the CPU, and TF32 decides nothing.

In float64 the steps are the same and end points are equal to rounding. In float32, and after a far part in reduced
precision, outcomes are the same and end points are as near as the tolerance says.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from probe.dynamics import EndPoints, Iteration, LatentMap, Outcome, gaussian_starts, iterate
from probe.precision import reduced
from probe.selfcheck.check import Check, Row, Setting, at_least, at_most, equals
from probe.selfcheck.models import LATENT, Convolutional
from probe.verify.bank import KINDS, bank, mistakes, starts

if TYPE_CHECKING:
    from probe.autoencoders import Autoencoder

CPU = torch.device("cpu")
SETTINGS = (
    (torch.float64, False, "float32"),
    (torch.float64, True, "float32"),
    (torch.float32, False, "float32"),
    (torch.float32, False, "tf32"),
    (torch.float32, True, "bfloat16"),
)
"""Types of the starts, acceleration, and precisions of the far part."""
TOLERANCE = 1e-8
MARGIN = 1.5
"""Rounding of float32 may add half of the tolerance to a squared residual near it."""
APART = 1e-2
"""End points of one fixed point: sqrt(TOLERANCE) / (1 - rho) with rho up to 0.99."""


def latent_map(gain: float, device: torch.device, dtype: torch.dtype, channels: int = 16) -> LatentMap:
    """f of the small autoencoder."""
    return LatentMap(cast("Autoencoder", Convolutional(gain, channels).to(device, dtype)))


def on_cpu(ends: EndPoints) -> EndPoints:
    """The same on the CPU."""
    return EndPoints(**{one.name: getattr(ends, one.name).cpu() for one in fields(EndPoints)})


def name_of(dtype: torch.dtype) -> str:
    """``float32``."""
    return str(dtype).removeprefix("torch.")


@contextmanager
def tf32_allowed() -> Iterator[None]:
    """As a user or a library may have set it before: TF32 wherever torch lets it be allowed."""
    matmul, conv = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, conv


def _bank(setting: Setting) -> Iterator[Row]:
    """Each setting of the loop; in float64 the steps are the CPU's, too."""
    for dtype, accelerate, far in SETTINGS:
        z0 = starts(dtype, 3 if setting.small else 30)
        how = Iteration(250, 1e-10, 1e4, len(z0), accelerate, far)
        with tf32_allowed():
            here = on_cpu(iterate(bank, z0.to(setting.device), how))
        wrong = mistakes(here)
        yield equals(f"end points not as known: {_named(dtype, accelerate, far)}", len(wrong), 0, "starts", _few(wrong))
        if dtype == torch.float64:
            there = iterate(bank, z0, how)
            settled = (there.end[:, 0] != KINDS.index("chaos")) & (there.outcome != Outcome.DIVERGED)
            apart = (here.end - there.end).abs().amax(1)
            steps = here.steps != there.steps
            # An extrapolation is made or not by comparisons, which rounding may tip; the end is the same.
            other = (settled & (apart > (1e-4 if accelerate else 1e-9))) | (steps & (not accelerate))
            note = f"{int(steps.sum())} take other steps; end points at most {float(apart[settled].max()):.2g} apart"
            yield equals(f"not as on the CPU: {_named(dtype, accelerate, far)}", int(other.sum()), 0, "starts", note)


def _named(dtype: torch.dtype, accelerate: bool, far: str) -> str:
    return f"{name_of(dtype)}, {'accelerated' if accelerate else 'plain'}" + (
        f", far in {far}" if far != "float32" else ""
    )


def _few(wrong: list[str]) -> str:
    return "; ".join(wrong[:2])


def _latent_map(setting: Setting) -> Iterator[Row]:
    """The small autoencoder: fixed points (gain 2) and cycles (gain -2), the loop in every setting."""
    n = 8 if setting.small else 192
    z0 = gaussian_starts(0, range(n), LATENT)
    for gain in (2.0, -2.0):
        reference = iterate(latent_map(gain, CPU, torch.float64), z0.double(), loop(n))
        for dtype, accelerate, far in SETTINGS:
            if gain < 0 and (far == "tf32" or (accelerate and far == "float32")):
                continue  # these say little that the others do not
            f = latent_map(gain, setting.device, dtype)
            with tf32_allowed():
                ends = on_cpu(iterate(f, z0.to(setting.device, dtype), loop(n, accelerate, far)))
            exact = dtype == torch.float64 and not accelerate
            count, note = _compared(ends, reference, exact)
            name = f"gain {gain:g}: not as on the CPU: {_named(dtype, accelerate, far)}"
            # Rounding leads a start on the boundary of two basins to either; bfloat16 moves the start by more.
            limit = 0 if exact else 15 if far == "bfloat16" else 3
            yield at_most(name, 100 * count / n, limit, "% of the starts", note)
            if (found := ends.outcome == Outcome.CONVERGED).any():
                largest = float(_residual(ends.end[found], gain).max())
                yield at_most(f"largest true residual: {_named(dtype, accelerate, far)}", largest, MARGIN * TOLERANCE)


def loop(n: int, accelerate: bool = False, far: str = "float32", batch: int | None = None) -> Iteration:
    """The settings of the loop for n starts at once, or fewer in a batch."""
    return Iteration(1000, TOLERANCE, 1e6, batch or n, accelerate, far)


def _compared(ends: EndPoints, reference: EndPoints, exact: bool) -> tuple[int, str]:
    """How many starts end otherwise; with which outcome, period, steps (where they must be the same) or end point."""
    both = (ends.outcome == Outcome.CONVERGED) & (reference.outcome == Outcome.CONVERGED)
    apart = (ends.end.double() - reference.end).flatten(1).norm(dim=1)
    other = {
        "outcome": ends.outcome != reference.outcome,
        "period": ends.period != reference.period,
        "steps": (ends.steps != reference.steps) & exact,
        "fixed point": both & (apart > (1e-6 if exact else APART)),
    }
    counts = ", ".join(f"{int(rows.sum())} {name}" for name, rows in other.items() if rows.any())
    note = f"{counts or 'none'}; end points {float(apart[both].median()):.1g} apart" if both.any() else counts
    return int(torch.stack(list(other.values())).any(0).sum()), note


def _residual(z: Tensor, gain: float) -> Tensor:
    """||f(z) - z||^2 on the CPU in float64 (n,): what the loop believes must be so."""
    z = z.double().cpu()
    return (latent_map(gain, CPU, torch.float64)(z) - z).flatten(1).square().sum(1)


def _batches(setting: Setting) -> Iterator[Row]:
    """A start is a function of (seed, index), and so is where it ends, whatever is in the batch with it."""
    n = 24 if setting.small else 96
    f, z0 = latent_map(2.0, setting.device, torch.float64), gaussian_starts(0, range(n), LATENT)
    again = torch.cat([gaussian_starts(0, range(first, first + 8), LATENT) for first in range(0, n, 8)])
    yield equals("starts that depend on the batch", int((again != z0).flatten(1).any(1).sum()), 0, "starts")
    whole = on_cpu(iterate(f, z0.to(setting.device, torch.float64), loop(n)))
    for batch in (1, 7, 64):
        few = slice(0, 4 if batch == 1 else n)
        part = on_cpu(iterate(f, z0[few].to(setting.device, torch.float64), loop(n, batch=batch)))
        rows = whole.rows(few)
        count, note = _compared(part, rows, True)
        yield equals(f"end otherwise in batches of {batch}", count, 0, "starts", note)


def _tf32(setting: Setting) -> Iterator[Row]:
    """What converges with TF32 allowed beforehand does so in float32; a loop that computed in TF32 would be seen."""
    n = 24 if setting.small else 96
    f, z0 = latent_map(2.0, setting.device, torch.float32), gaussian_starts(1, range(n), LATENT).to(setting.device)

    def coarse(z: Tensor) -> Tensor:
        with reduced("tf32", z.device.type):
            return f(z)

    largest = {}
    for name, function in {"f": f, "f in TF32": coarse}.items():
        with tf32_allowed():
            ends = on_cpu(iterate(cast(Callable[[Tensor], Tensor], function), z0, loop(n)))
        found = ends.outcome == Outcome.CONVERGED
        yield at_least(f"starts that converge: {name}", int(found.sum()), 1, "starts")
        largest[name] = float(_residual(ends.end[found], 2.0).max()) if found.any() else float("nan")
    yield at_most("largest true residual of what converged", largest["f"], MARGIN * TOLERANCE)
    coarse_row = "the same with f in TF32, which is to be worse"
    if setting.cuda and torch.cuda.get_device_capability(setting.device) >= (8, 0):
        yield at_least(coarse_row, largest["f in TF32"], 3 * TOLERANCE)
    else:
        yield Row(coarse_row, largest["f in TF32"], note="this device has no TF32")


CHECKS = (
    Check("bank", "correctness", "the bank of maps ends as known, and as on the CPU", 25, _bank),
    Check("latent-map", "correctness", "an autoencoder's starts end as on the CPU", 30, _latent_map),
    Check("batches", "correctness", "where a start ends does not depend on its batch", 15, _batches),
    Check("tf32", "correctness", "TF32 decides no outcome", 10, _tf32),
)
