"""Loads that several kinds of work have, and how their units are timed on this machine."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from probe import machine
from probe.autoencoders import Autoencoder
from probe.dynamics import LatentMap
from probe.plan.behaviour import CERTIFICATE
from probe.plan.cost import ModelCost, Pass
from probe.plan.machines import Here
from probe.plan.run import DRAWN_BYTES, FIGURE, PAGE_BYTES, READ, READ_PIXEL, REPORT, START, STATE, STATE_BYTES
from probe.plan.stage import Load, Range, StagePlan

PROCESS, WITH_CARD = 1e9, 2e9
"""Bytes of main memory of a process that has imported what it needs, and of one that has a GPU besides."""
LONG = 0.15
"""Seconds for which a unit is timed."""
SIDE = 768
"""Of the matrices of a product that is timed."""


def images_stage(sets: Sequence[tuple[int, int]]) -> StagePlan:
    """The stage that draws images, of sets of so many of such a side."""
    sizes = [3.0 * n * side**2 for n, side in sets]
    many = sum(n for n, _ in sets)
    seconds = sum(n * (READ + READ_PIXEL * side**2) for n, side in sets)
    read = Load("read images", Range.exactly(many), seconds=seconds / max(many, 1))
    return StagePlan(
        "images",
        "data sets",
        len(sets),
        (Load("start", Range.exactly(1), seconds=START, alone=True), read),
        host=2 * max(sizes, default=0.0),
        scratch=sum(sizes),
        files=len(STATE),
        disk=STATE_BYTES,
        shards=max(len(sets), 1),
        assumes="downloads are not counted",
    )


def report_stage(figures: int, pages: int) -> StagePlan:
    """The stage that writes the report, with so many figures and tables of data sets."""
    seconds = REPORT + FIGURE * figures
    return StagePlan(
        "report",
        "files",
        1,
        (Load("report", Range.exactly(1), seconds=seconds, alone=True),),
        disk=figures * DRAWN_BYTES + (1 + pages) * PAGE_BYTES,
        files=3 + 2 * figures,
        assumes=f"{figures} figures",
    )


def passes(what: str, units: Range, one: Pass, rows: int, times: float = 1.0) -> Load:
    """Evaluations, ``rows`` at a time; each costs ``times`` as much as one pass."""
    return Load(what, units, times * one.flops, times * one.moved, times * one.operations / max(rows, 1))


def certificates(cost: ModelCost, points: Range) -> Load:
    """Certificates of so many points."""
    return passes("certificates", points.times(CERTIFICATE), cost.f, 32)


def seconds_of(function: Callable[[], object], device: torch.device, units: int) -> float:
    """The seconds that a unit takes on this machine, where a call does so many; on a CPU of the process's own time
    over its threads, which other processes do not lengthen.
    """
    function()  # libraries choose their kernels
    cpu = device.type == "cpu"

    def clock() -> float:
        if cpu:
            return time.process_time() / torch.get_num_threads()
        torch.cuda.synchronize(device)
        return time.perf_counter()

    began, done, now = clock(), 0, 0.0
    while now < LONG:
        function()
        done += 1
        now = clock() - began
    return now / (done * units)


def here(rates: Mapping[str, float], device: torch.device) -> Here:
    """This machine by the rates of the work, and by a matrix product for all other operations."""
    a = noise((SIDE,), SIDE, device)
    product = 2 * SIDE**3 / seconds_of(lambda: a @ a, device, 1)
    gpu = device.type == "cuda"
    memory = torch.cuda.mem_get_info(device)[0] if gpu else machine.free_bytes()
    return Here(f"this machine ({device})", memory, rates, dict.fromkeys(("float32", "float64"), product))


def noise(shape: tuple[int, ...], rows: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rows to time a function on; torch's own generator is left alone."""
    return torch.randn(rows, *shape, generator=torch.Generator().manual_seed(0)).to(device, dtype)


@torch.no_grad()
def evaluation_seconds(model: Autoencoder, cost: ModelCost, rows: int) -> float:
    """Seconds of an evaluation of f for a row, so many together."""
    f, z = LatentMap(model), noise(cost.latent_shape, rows, model.device, model.dtype)
    return seconds_of(lambda: f(z), model.device, rows)


def joined(loads: Sequence[Load]) -> tuple[Load, ...]:
    """Loads of one kind as one, whose unit is the mean."""
    found = []
    for what in dict.fromkeys(load.what for load in loads):
        mine = [load for load in loads if load.what == what]
        units = Range.total(load.units for load in mine)
        each = {
            name: sum(load.units.expected * getattr(load, name) for load in mine) / max(units.expected, 1.0)
            for name in ("flops", "moved", "calls")
        }
        found.append(replace(mine[0], units=units, **each))
    return tuple(found)
