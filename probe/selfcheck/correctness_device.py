"""How the host treats the device: where it waits for it, and what becomes of work that does not fit into its memory."""

import collections
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from probe.dynamics import Certificates, Iteration, certify, gaussian_starts, iterate
from probe.dynamics.memory import Fitting
from probe.selfcheck.check import Check, Row, Setting, at_least, at_most, equals
from probe.selfcheck.correctness_dynamics import latent_map, name_of, on_cpu
from probe.selfcheck.models import LATENT
from probe.sparse import omp

SHORT, LONG = 20, 30
"""Steps: what the longer loop waits more is what its steps wait."""
FEW, MANY = 40, 59
"""Atoms, likewise. No multiple of ``sparse.path.EVERY`` lies between, where a wait is planned; nor at ``FURTHER`` more,
where a path is beyond ``omp.LONG``."""
FURTHER = 350
PLACES = 4
"""Places that a note names."""


def waits(work: Callable[[], object]) -> collections.Counter[str]:
    """Where the host waits for the device, by file and line, as torch's own debug mode sees it."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = collections.Counter[str]()
    for one in seen:
        if "synchroniz" in str(one.message) and "prototype" not in str(one.message):
            file = Path(one.filename)
            places[f"{'/'.join(file.parts[-2:])}:{one.lineno}"] += 1
    return places


def _waits(setting: Setting) -> Iterator[Row]:
    f = cast(Callable[[Tensor], Tensor], latent_map(2.0, setting.device, torch.float32))
    z0 = gaussian_starts(3, range(64), LATENT).to(setting.device)

    def loop(steps: int, accelerate: bool, far: str) -> Callable[[], object]:
        return lambda: iterate(f, z0, Iteration(steps, 1e-30, 1e6, 64, accelerate, far))

    for accelerate, far in ((False, "float32"), (True, "float32"), (False, "tf32"), (False, "bfloat16")):
        kind = f"{'accelerated' if accelerate else 'plain'}, far {far}"
        loop(SHORT, accelerate, far)()
        more, fewer = (waits(loop(steps, accelerate, far)) for steps in (LONG, SHORT))
        yield _more(f"waits in {LONG - SHORT} more steps: {kind}", more, fewer)

    flowing = waits(lambda: iterate(f, z0, Iteration(1000, 1e-8, 1e6, 16, True)))
    yield Row("waits while 64 starts flow through a batch of 16", flowing.total(), note=_named(flowing))

    generator = torch.Generator().manual_seed(0)
    atoms = torch.randn(600, 500, dtype=torch.float64, generator=generator).to(setting.device)
    signals = torch.randn(32, 500, dtype=torch.float64, generator=generator).to(setting.device)
    for dtype, offset in ((torch.float64, 0), (torch.float32, 0), (torch.float64, FURTHER)):

        def pursue(level: tuple[int, ...], dtype: torch.dtype = dtype) -> Callable[[], object]:
            return lambda: omp(atoms, signals, level, dtype=dtype)

        pursue((FEW + offset,))()
        fewer, more = (waits(pursue((count + offset,))) for count in (FEW, MANY))
        yield _more(f"waits in {MANY - FEW} more atoms, from {FEW + offset}, {name_of(dtype)}", more, fewer)

    points = iterate(f, z0, Iteration(1000, 1e-8, 1e6, 64, True)).end[:32]
    found: list[Certificates] = []
    certify(f, points[:4], tolerance=1e-8)
    places, products = waits(lambda: found.append(certify(f, points, tolerance=1e-8))), 0
    products = int(found[0].products.max())
    # The singular vectors of each point, small eigenproblems each few products, and which points go on.
    limit, note = 2 * len(points) + 4 * products, f"{products} products; {_named(places)}"
    yield at_most("waits in a certificate of 32 points", places.total(), limit, note=note)


def _more(name: str, more: collections.Counter[str], fewer: collections.Counter[str]) -> Row:
    extra = more - fewer
    return equals(name, extra.total(), 0, note=_named(extra))


def _named(places: collections.Counter[str]) -> str:
    return ", ".join(f"{place} {count} times" for place, count in places.most_common(PLACES))


class _Parts:
    """f, and the largest number of rows it was asked for and could do."""

    def __init__(self, f: Callable[[Tensor], Tensor], limit: int | None = None):
        self.f, self.limit, self.largest = f, limit, 0

    def __call__(self, z: Tensor) -> Tensor:
        if self.limit is not None and len(z) > self.limit:
            raise torch.OutOfMemoryError(f"pretended: {len(z)} rows")
        y = self.f(z)
        self.largest = max(self.largest, len(z))
        return y


@contextmanager
def _capped(setting: Setting, room: int) -> Iterator[None]:
    """A device with ``room`` bytes beyond what is taken now; nothing elsewhere than on a GPU."""
    log = logging.getLogger("probe")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of every halving, which is wanted here
    try:
        if setting.cuda:
            torch.cuda.empty_cache()
            total = torch.cuda.get_device_properties(setting.device).total_memory
            taken = torch.cuda.memory_reserved(setting.device)
            torch.cuda.set_per_process_memory_fraction(min((taken + room) / total, 1.0), setting.device)
        yield
    finally:
        log.setLevel(level)
        if setting.cuda:
            torch.cuda.set_per_process_memory_fraction(1.0, setting.device)
            torch.cuda.empty_cache()


def _taken(setting: Setting, work: Callable[[], object]) -> int:
    """Bytes that some work takes at most, beyond what is taken before."""
    if not setting.cuda:
        work()
        return 0
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved(setting.device)
    torch.cuda.reset_peak_memory_stats(setting.device)
    work()
    return torch.cuda.max_memory_reserved(setting.device) - before


def _memory(setting: Setting) -> Iterator[Row]:
    """f on images that take much memory: with half of it, batches are halved and nothing else changes."""
    channels, side, n = (16, 8, 12) if setting.small else (256, 32, 64)
    f = cast(Callable[[Tensor], Tensor], latent_map(0.3, setting.device, torch.float32, channels))
    z0 = gaussian_starts(4, range(n), (4, side, side)).to(setting.device)
    how = Iteration(60, 1e-8, 1e6, n)
    took = _taken(setting, lambda: on_cpu(iterate(f, z0, how)))
    whole = on_cpu(iterate(f, z0, how))
    yield equals("starts that converge", whole.counts()["converged"], n, "starts")
    limited = _Parts(f, None if setting.cuda else n // 3)
    fitting = Fitting(limited)
    with _capped(setting, took // 2):
        parts = on_cpu(iterate(fitting, z0, how))
    yield at_most("rows at once after halving", limited.largest, n - 1, "rows", f"of {n}; {took >> 20} MiB halved")
    yield at_least("rows at once, at least", limited.largest, 1, "rows")
    other = (parts.outcome != whole.outcome) | ((parts.steps - whole.steps).abs() > 1)
    yield equals("starts that end otherwise with half of the memory", int(other.sum()), 0, "starts")
    apart = float((parts.end - whole.end).flatten(1).norm(dim=1).max())
    yield at_most("end points apart with half of the memory", apart, 1e-3)

    points = whole.end[: 8 if setting.small else 32].to(setting.device)
    free: list[Certificates] = []
    took = _taken(setting, lambda: free.append(certify(f, points, tolerance=1e-6)))
    with _capped(setting, took // 2):
        capped = certify(f, points, tolerance=1e-6)
    other = capped.attractor != free[0].attractor
    note = f"{took >> 20} MiB halved"
    yield equals("other decisions with half of the memory", int(other.sum()), 0, "points", note)
    gap = (capped.spectral_radius - free[0].spectral_radius).abs()
    outside = ~(gap <= capped.radius_error + free[0].radius_error + 1e-5)
    yield equals("radii outside their error bars with half of the memory", int(outside.sum()), 0, "points")


CHECKS = (
    Check("waits", "correctness", "the host does not wait for the device within the loops", 25, _waits, cuda=True),
    Check("memory", "correctness", "when memory runs out, batches are halved", 25, _memory),
)
