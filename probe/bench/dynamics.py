"""How fast certified attractors are found: ours against a plain loop and against torchdeq, from the same starts.

| contender | what it does |
|---|---|
| plain loop | z <- f(z) for all rows at once until the slowest has stopped, as the paper and its replications do |
| torchdeq fixed_point_iter | the same in a library for deep equilibrium models, which keeps each row's best point |
| torchdeq anderson | its Anderson acceleration, with its defaults |
| probe | ``solve``, with the configuration's settings |
"""

import statistics
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from probe.bench import in_turn, paired_ratio
from probe.bench.device import flops, now, peak
from probe.config import Config
from probe.dictionary import merge_by_cosine
from probe.dynamics import LatentMap, apply, certify, gaussian_starts
from probe.dynamics.certificate import YES
from probe.dynamics.memory import Fitting
from probe.precision import full_float32
from probe.studies.probing.end_points import iteration, solve_all

Solver = Callable[["Counted", Tensor], Tensor]


class Counted:
    """A map that counts the rows that it is given."""

    def __init__(self, f: Callable[[Tensor], Tensor]):
        self.f, self.rows = f, 0

    def __call__(self, z: Tensor) -> Tensor:
        self.rows += len(z)
        return self.f(z)


@dataclass
class Measured:
    """One contender.

    Attributes:
        seconds: to find the end points of all starts, the median over the repeats; certificates are not in it.
        evaluations: rows through f, per start.
        fixed: starts whose end point has a squared residual below the tolerance, computed again in full precision.
        certified: of these, starts that ended in a certified attractor.
        per_second: certified starts a second.
        ratio: per_second over that of the plain loop, the median over the repeats; where nothing is certified, plain
            seconds over seconds (the same starts in less time).
        flops_share: of the peak that a matrix product reaches on this GPU in the same arithmetic; None on a CPU.
    """

    tool: str
    seconds: float
    evaluations: float
    fixed: int
    certified: int
    per_second: float
    ratio: float
    flops_share: float | None = None


def compare(
    f: LatentMap, config: Config, latent_shape: tuple[int, ...], *, rows: int | None = None, repeats: int = 3
) -> Iterator[Measured]:
    """Measure all contenders in turn, ``repeats`` times, after a step that is not counted; one row each at the end.

    All compute in full float32, since in TF32, PyTorch's default for convolutions, a plain loop need not get below the
    tolerance at all; only ours may use less where its settings say so, and goes back for the last part.

    Args:
        config: starts, solver and dictionary settings.
        rows: how many rows the plain loop and torchdeq take at once; by default as many as ours.
    """
    device, dtype = f.autoencoder.device, f.autoencoder.dtype
    z0 = gaussian_starts(config.seeds.seed, range(config.seeds.count), latent_shape).to(device, dtype)
    settings = iteration(config.solver, latent_shape, device)
    rows, far = rows or settings.batch_size, settings.far_precision
    contenders = _contenders(config, latent_shape, rows)
    counted = Counted(f)

    def run(solver: Solver) -> tuple[Tensor, float]:
        counted.rows = 0
        return solver(counted, z0), counted.rows / len(z0)

    with torch.no_grad():
        f(z0[:rows])
    if config.solver.compile:
        contenders["probe"](counted, z0)
    with torch.no_grad(), full_float32():
        running = {tool: partial(run, solver) for tool, solver in contenders.items()}
        seconds, found = in_turn(running, repeats, partial(now, device))
    counts = _certified(f, {tool: ends for tool, (ends, _) in found.items()}, config)
    operations, most = (flops(f, z0[:1]), peak(device, far)) if device.type == "cuda" else (0.0, 0.0)
    plain = next(iter(contenders))
    by_plain = counts[plain][1]
    for tool, (_, evaluations) in found.items():
        (fixed, certified), taken = counts[tool], statistics.median(seconds[tool])
        yield Measured(
            tool=tool,
            seconds=taken,
            evaluations=evaluations,
            fixed=fixed,
            certified=certified,
            per_second=certified / taken,
            ratio=paired_ratio(seconds[plain], seconds[tool]) * (certified / by_plain if by_plain else 1.0),
            flops_share=operations * evaluations * len(z0) / taken / most if most else None,
        )


def _contenders(config: Config, latent_shape: tuple[int, ...], rows: int) -> dict[str, Solver]:
    found: dict[str, Solver] = {
        "plain loop": lambda f, z0: torch.cat([_plain(Fitting(f), z, config) for z in z0.split(rows)])
    }
    with suppress(ImportError):
        from torchdeq.solver.anderson import anderson_solver
        from torchdeq.solver.fp_iter import fixed_point_iter

        for name, solver in (("fixed_point_iter", fixed_point_iter), ("anderson", anderson_solver)):
            found[f"torchdeq {name}"] = _torchdeq(solver, config, rows)

    def ours(f: Counted, z0: Tensor) -> Tensor:
        counting = f.f if config.solver.compile else f  # a count inside would have to be compiled anew each time
        ends = solve_all(counting, latent_shape, config.seeds, config.solver, device=z0.device, dtype=z0.dtype)
        f.rows = f.rows or int(ends.evaluations.sum())
        return ends.end.to(z0)

    return {**found, "probe": ours}


def _plain(f: Callable[[Tensor], Tensor], z: Tensor, config: Config) -> Tensor:
    for _ in range(config.solver.max_steps):
        y = f(z)
        if bool(((y - z).flatten(1).square().sum(1) < config.solver.tolerance).all()):
            return z
        z = y
    return z


def _torchdeq(solver: Callable[..., tuple[Tensor, object, object]], config: Config, rows: int) -> Solver:
    limits = {"max_iter": config.solver.max_steps, "tol": config.solver.tolerance**0.5, "stop_mode": "abs"}
    return lambda f, z0: torch.cat([solver(Fitting(f), z, **limits)[0] for z in z0.split(rows)])


def _certified(f: LatentMap, ends: dict[str, Tensor], config: Config) -> dict[str, tuple[int, int]]:
    """By tool: starts that ended at a fixed point, and those that ended at one of a certified attractor's.

    The points of all tools are merged together, so that an attractor that several found is certified once.
    """
    tolerance, points = config.solver.tolerance, torch.cat(list(ends.values()))
    with torch.no_grad(), full_float32():
        residual = torch.cat([apply(f, z)[1] for z in points.split(64)])
    fixed = residual < tolerance
    certified = torch.zeros_like(fixed)
    if fixed.any():
        merge = merge_by_cosine(points[fixed].flatten(1).float().cpu(), config.dictionary.cosine)
        leaders = points[fixed][merge.leader.to(points.device)]
        judged = partial(certify, f, tolerance=tolerance, budget=config.solver.products, norm=False)
        yes = judged(leaders).attractor == YES
        certified[fixed] = yes.to(points.device)[merge.member.to(points.device)]
    lengths = [len(z) for z in ends.values()]
    counts = [[int(part.sum()) for part in flags.split(lengths)] for flags in (fixed, certified)]
    return dict(zip(ends, zip(*counts, strict=True), strict=True))
