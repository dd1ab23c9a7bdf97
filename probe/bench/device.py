"""What a device can do, and how long it takes: a clock, matrix products, memory, and the operations of a map.

| symbol | meaning |
|---|---|
| peak | operations a second of a large square matrix product; a multiply-add counts as two |
| bandwidth | bytes a second, read and written, of a copy within the device's memory |
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from probe.precision import full_float32, reduced

SIDE = 8192
"""Side of the matrices whose product is the peak of a GPU."""
REPEATS = 10


def now(device: torch.device) -> float:
    """Seconds, after the work of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def flops(f: Callable[[Tensor], Tensor], z: Tensor) -> float:
    """Floating-point operations of f for these rows; a multiply-add counts as two. On the meta device it costs none."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        f(z)
    return float(counter.get_total_flops())


def seconds(
    work: Callable[[], object], device: torch.device, *, repeats: int = REPEATS, limit: float = float("inf")
) -> float:
    """The median of up to ``repeats`` runs, after one that is not counted; at least one, none begun after ``limit``
    seconds. On a GPU by its own clock."""
    work()
    end, taken = now(device) + limit, list[float]()
    while not taken or (len(taken) < repeats and time.perf_counter() < end):
        taken.append(_once(work, device))
    return statistics.median(taken)


def _once(work: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        began = time.perf_counter()
        work()
        return time.perf_counter() - began
    with torch.cuda.device(device):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        work()
        after.record()
        after.synchronize()
    return before.elapsed_time(after) / 1e3


@contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """As the loop computes in ``float32``, ``tf32`` or ``bfloat16``."""
    with torch.no_grad(), full_float32() if precision == "float32" else reduced(precision, device.type):
        yield


def peak(device: torch.device, precision: str, side: int = SIDE, repeats: int = REPEATS) -> float:
    """Operations a second of a product of square matrices in ``bfloat16``, ``tf32``, ``float32`` or ``float64``."""
    dtype = {"bfloat16": torch.bfloat16, "float64": torch.float64}.get(precision, torch.float32)
    a, b = torch.randn(2, side, side, device=device).to(dtype)
    with arithmetic("tf32" if precision == "tf32" else "float32", device):
        out = torch.empty_like(a)
        return 2 * side**3 / seconds(lambda: torch.matmul(a, b, out=out), device, repeats=repeats)


def bandwidth(device: torch.device, size: int = 1 << 30, repeats: int = REPEATS) -> float:
    """Bytes a second, read and written, while ``size`` bytes are copied."""
    a = torch.zeros(size, dtype=torch.uint8, device=device)
    b = torch.empty_like(a)
    return 2 * size / seconds(lambda: b.copy_(a), device, repeats=repeats)
