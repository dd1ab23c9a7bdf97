"""What the loop adds to f, starts a second of a whole iteration, and products with the Jacobian in evaluations of f."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from probe.bench.device import arithmetic, now, seconds
from probe.dynamics import Iteration, Jacobian, iterate
from probe.dynamics.jacobian import directions
from probe.dynamics.pace import Paced
from probe.selfcheck.autoencoder_kl import sd_shaped
from probe.selfcheck.check import Check, Row, Setting
from probe.selfcheck.speed_device import target
from probe.selfcheck.speed_map import starts

OVERHEAD = 0.05
"""Largest share of the time of bare f that the loop may add."""
STEPS = 50
"""Of the whole iteration."""


def restless(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """f plus a shift of the latents by a column: no start comes to rest or returns, so all take the same steps."""
    return lambda z: f(z) + z.roll(1, -1)


def _loop(setting: Setting) -> Iterator[Row]:
    """Few steps, so that what a batch costs at its end counts more than in a run."""
    device, f = setting.device, Paced(restless(sd_shaped(setting.device, small=setting.small)))
    for rows, far, steps in ((4, "float32", 8), (16, "tf32", 16), (1, "tf32", 50)):
        rows, steps = (min(rows, 2), 4) if setting.small else (rows, steps)
        z = starts(setting, rows)
        bare = {precision: _bare(f, z, precision) for precision in dict.fromkeys(("float32", far))}
        how = Iteration(steps, tolerance=0.0, batch_size=rows, accelerate=True, far_precision=far)
        iterate(f, z, replace(how, max_steps=4))
        began = now(device)
        ends = iterate(f, z, how)
        taken, evaluations = now(device) - began, int(ends.evaluations[0])
        reduced = steps // 2 - 1 if far != "float32" else 0
        alone = reduced * bare[far] + (evaluations - reduced) * bare["float32"]
        note = f"{evaluations} evaluations of {1e3 * alone / evaluations:.3g} ms, {1e3 * (taken - alone):.3g} ms beyond"
        name = f"the loop beyond f, {rows} rows, {steps} steps, far {far}"
        yield target(name, 100 * (taken / alone - 1), "%", "<=", 100 * OVERHEAD, note)


def _bare(f: Callable[[Tensor], Tensor], z: Tensor, precision: str) -> float:
    with arithmetic(precision, z.device):
        return seconds(lambda: f(z), z.device, repeats=5, limit=1.0)


def _alone(setting: Setting) -> Iterator[Row]:
    """The loop with a map that costs nothing: what a step costs the host, for small models."""
    steps = 8 if setting.small else 50
    for rows, accelerate in ((64, False), (64, True), (256, True)):
        z = starts(setting, rows)
        how = Iteration(max_steps=steps, tolerance=0.0, batch_size=rows, accelerate=accelerate)
        taken = seconds(lambda z=z, how=how: iterate(lambda z: z.roll(1, -1), z, how), setting.device, repeats=3)  # type: ignore[misc]
        kind = "accelerated" if accelerate else "plain"
        yield Row(f"a step of the loop alone, {rows} rows, {kind}", 1e3 * taken / (steps + 1), "ms")


def _starts(setting: Setting) -> Iterator[Row]:
    """The whole iteration, from a few of its steps: the first half in TF32 or bfloat16, the other in full float32."""
    f = Paced(restless(sd_shaped(setting.device, small=setting.small)))
    rows, steps, part = (2, 4, 4) if setting.small else (64, STEPS, 6)
    for far in ("tf32", "bfloat16"):
        z, how = starts(setting, rows), Iteration(max_steps=part, tolerance=0.0, batch_size=rows, far_precision=far)
        for precision in ("float32", far):
            with arithmetic(precision, setting.device):
                f(z)
        began = now(setting.device)
        ends = iterate(f, z, how)
        taken = now(setting.device) - began
        evaluations = int(ends.evaluations.sum())
        parts = ", ".join(map(str, f.rows.values())) or "all"
        note = f"{rows} starts, {part} steps in {taken:.1f} s, {evaluations / taken:.1f} evaluations a second, in "
        note += f"parts of {parts} rows by arithmetic"
        yield Row(f"starts of {steps} steps, far {far}", rows / taken * part / steps, "starts/s", note=note)


def _products(setting: Setting) -> Iterator[Row]:
    device, f = setting.device, sd_shaped(setting.device, small=setting.small)
    for rows in (1, 2 if setting.small else 4):
        z = starts(setting, rows)
        once = _bare(f, z, "float32")
        if setting.cuda:
            torch.cuda.reset_peak_memory_stats(device)
        jacobian, v = Jacobian(f, z), directions(z)
        began = now(device)
        jacobian.transposed_times(v)
        yield Row(f"the first J^T u, {rows} rows", (now(device) - began) / once, "evaluations", note="builds the graph")
        began = now(device)
        jacobian.times(v)
        yield Row(f"the first J v, {rows} rows", (now(device) - began) / once, "evaluations")
        for name, product in (("J^T u", jacobian.transposed_times), ("J v", jacobian.times)):
            taken = seconds(lambda product=product, v=v: product(v), device, repeats=5)  # type: ignore[misc]
            yield Row(f"{name}, {rows} rows", taken / once, "evaluations", note=f"{1e3 * taken:.3g} ms")
        if setting.cuda:
            yield Row(f"memory of the graph, {rows} rows", torch.cuda.max_memory_allocated(device) / 2**30, "GiB")


CHECKS = (
    Check("loop", "speed", "what the loop adds to f", 25, _loop),
    Check("starts", "speed", "starts a second of the whole iteration", 45, _starts),
    Check("products", "speed", "products with the Jacobian", 15, _products),
    Check("loop-alone", "speed", "the loop with a map that costs nothing", 10, _alone),
)
