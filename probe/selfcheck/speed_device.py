"""What the device can do: matrix products in each arithmetic, and its memory. Other speeds are shares of these."""

from collections.abc import Iterator
from functools import cache

import torch

from probe.bench import device as bench
from probe.selfcheck.check import Check, Row, Setting

SIDE = {False: bench.SIDE, True: 128}
PRECISIONS = ("bfloat16", "tf32", "float32", "float64")


@cache
def peak(device: torch.device, precision: str, small: bool) -> float:
    """Operations a second of a matrix product, measured once in a process."""
    return bench.peak(device, precision, SIDE[small] // (2 if precision == "float64" else 1))


@cache
def bandwidth(device: torch.device, small: bool) -> float:
    """Bytes a second of a copy, measured once in a process."""
    return bench.bandwidth(device, 1 << (20 if small else 30))


def target(name: str, value: float, unit: str, sign: str, limit: float, note: str = "") -> Row:
    """A speed and what it should be: whether it is reached is said, and fails nothing, as others may use the device."""
    reached = value >= limit if sign == ">=" else value <= limit
    said = "target reached" if reached else "target not reached"
    return Row(name, value, unit, f"target {sign} {limit:g}", note=f"{said}; {note}" if note else said)


def _peaks(setting: Setting) -> Iterator[Row]:
    yield Row("copy within memory", bandwidth(setting.device, setting.small) / 1e9, "GB/s", note="read and written")
    for precision in PRECISIONS:
        found = peak(setting.device, precision, setting.small)
        side = SIDE[setting.small] // (2 if precision == "float64" else 1)
        yield Row(f"matrix product, {precision}", found / 1e12, "TFLOP/s", note=f"{side} x {side}, median")


CHECKS = (Check("peak", "speed", "matrix products and memory", 10, _peaks),)
