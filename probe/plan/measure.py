"""What this machine does in a second, measured with the functions that the run itself will call.

Seconds are those of an idle machine as far as that can be known: with one thread the process's own time, which other
processes do not lengthen; else the shortest of a few.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from probe import machine
from probe.config import Config
from probe.dictionary import gaussian
from probe.dynamics import LatentMap, gaussian_starts, iterate
from probe.plan.cost import ModelCost
from probe.plan.machines import Here
from probe.sparse import Dictionary, omp
from probe.sparse.cost import greedy_depth, projected_path
from probe.studies.inputs import encode
from probe.studies.probing.end_points import iteration, suited
from probe.studies.probing.reconstruction import decoded_levels, reconstruct

LONG = 2.0
"""Seconds for which one thing is measured, about."""
SIDE = 1024
"""Side of the matrices whose product is the speed of linear algebra in float64."""
FEWEST = 16
"""Images, at least, that are judged together where they take no longer than a measurement: fewer hardly show what one
of a whole batch of a small model takes."""
ROWS = 8
"""Rows of f that are evaluated together, at least, for the same reason."""
NETWORK = ("float32", "tf32", "float64", "bfloat16")
"""Arithmetics, which a processor is taken to be equally fast in."""
ATOMS = 2048
"""Atoms, at most, of the dictionary in which the pursuit is measured."""


def taken(work: Callable[[], object]) -> float:
    """Seconds of one run."""
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_available()
    clock = time.process_time if alone else time.perf_counter
    began = clock()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - began


def shortest(work: Callable[[], object], seconds: float = LONG) -> float:
    """The shortest of up to five runs, begun within so many seconds; the first one, which prepares, counts only where
    there is no time for another."""
    first = taken(work)
    if first > max(seconds, LONG):  # a first run that is only cold must not count
        return first
    found: list[float] = []
    while len(found) < 5 and (not found or first + sum(found) < seconds):
        found.append(taken(work))
    return min(found)


@dataclass(frozen=True)
class Bench:
    """A loaded model, what one row of f takes here, and for about how many seconds a thing is measured (``long``)."""

    f: LatentMap
    cost: ModelCost
    row: float
    long: float = LONG

    @classmethod
    def of(cls, f: LatentMap, cost: ModelCost, long: float = LONG) -> "Bench":
        z = gaussian_starts(0, [0], cost.latent_shape).to(f.autoencoder.device, f.autoencoder.dtype)
        with torch.no_grad():
            return cls(f, cost, shortest(lambda: f(z), long), long)


def host(long: float = LONG) -> Here:
    """The processor alone: what it does whatever the card is."""
    a = torch.randn(SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    linear = 2 * SIDE**3 / shortest(lambda: a @ a, long / 4)
    return Here("this machine", machine.free_bytes(), {}, {"linear": linear})


def this_machine(config: Config, bench: Bench, seconds_of_f: float, atoms: int) -> Here:
    """Rates of the work of a run, whose dictionary has about so many atoms."""
    model, rates = bench.f.autoencoder, {"f": seconds_of_f}
    network = dict.fromkeys(NETWORK, bench.cost.f.flops / seconds_of_f)
    if bench.row < bench.long / 4:
        rates |= _pictures(config, bench)
    plain = host(bench.long)
    d = bench.cost.d
    pursuit = _pursuit(min(max(atoms, 2), ATOMS), d, config, model.device, bench.long)
    return Here(
        f"this machine ({model.device})",
        plain.memory if model.device.type == "cpu" else torch.cuda.mem_get_info(model.device)[0],
        rates,
        {**network, "linear": plain.flops["linear"], "pursuit": pursuit},
    )


def paced(here: Here, seconds_of_f: float) -> Here:
    """This machine with another time of an evaluation of f in the loop."""
    faster = here.rates["f"] / seconds_of_f
    flops = {kind: rate * (faster if kind in NETWORK else 1) for kind, rate in here.flops.items()}
    return replace(here, rates={**here.rates, "f": seconds_of_f}, flops=flops)


def seconds_of_f(config: Config, bench: Bench) -> float:
    """Seconds of one evaluation of a row in the loop, in the run's batch."""
    model, shape = bench.f.autoencoder, bench.cost.latent_shape
    settings = iteration(config.solver, shape, model.device)
    rows = min(settings.batch_size, config.seeds.count, max(int(bench.long / bench.row), ROWS))
    if bench.row > bench.long:
        return bench.row
    z = gaussian_starts(config.seeds.seed, range(rows), shape).to(model.device, model.dtype)
    f = suited(bench.f, config.solver)
    steps = 4 if bench.long == LONG else 1

    def work() -> None:
        iterate(f, z, max_steps=steps, tolerance=1e-30, batch_size=rows, accelerate=config.solver.accelerate)

    return shortest(work, 2 * bench.long) / (rows * (steps + 1))  # most of the plan rests on it


@torch.no_grad()
def _pictures(config: Config, bench: Bench) -> dict[str, float]:
    """Seconds of encoding an image, and of decoding and judging a latent."""
    model, sparse = bench.f.autoencoder, config.sparse
    if not config.datasets:
        return {}
    side, d = config.resolution, bench.cost.d
    in_time = int(bench.long / bench.row)
    many = min(sparse.batch_size, max(in_time // 4, min(FEWEST, in_time), 1))
    images = torch.randint(0, 256, (many, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = {"encode": shortest(lambda: encode(model, images, together=sparse.batch_size), bench.long) / many}
    latents = encode(model, images, together=sparse.batch_size)
    few = sparse.model_copy(update={"levels": (max(d // 8, 1),), "controls": ()})
    basis = {"attractors": Dictionary(torch.eye(min(d, ATOMS), d, dtype=torch.float64).to(model.device), torch.float64)}
    levels = decoded_levels(few.atoms(d), ATOMS)

    def work(n: int = many) -> None:
        reconstruct(model, basis, images[:n], few, images[0], latents=latents[:n])

    work(1)  # imports the metrics, which may take longer than they do
    found["pictures"] = shortest(work, bench.long) / (many * (levels + 3))
    return found


def _pursuit(atoms: int, d: int, config: Config, device: torch.device, long: float) -> float:
    """Operations of a greedy path a second."""
    depth = greedy_depth(atoms, d, config.sparse.atoms(d)) or max(min(atoms, d) // 2, 1)
    dictionary = Dictionary(gaussian(atoms, d, 0).to(device), torch.float64)
    signals = gaussian(16, d, 1).to(device)
    dictionary.gram, dictionary.orthonormal  # noqa: B018  # made when first asked for
    omp(dictionary, signals[:1], [depth])
    cost = projected_path(atoms, depth).flops
    one = max(taken(lambda: omp(dictionary, signals[:1], [depth])), 1e-6)
    many = max(min(len(signals), int(long / one)), 1)
    return many * cost / shortest(lambda: omp(dictionary, signals[:many], [depth]), long)
