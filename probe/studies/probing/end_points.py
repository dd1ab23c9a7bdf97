"""Data-free weight probing, first half: from Gaussian noise to end points (paper, Section 4.1), and what it costs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from probe.autoencoders import Autoencoder
from probe.config import Config, DictionaryConfig, SeedConfig, SolverConfig
from probe.dynamics import EndPoints, Iteration, LatentMap, gaussian_starts
from probe.dynamics.iterate import Gathered, Map, iterate_batches
from probe.dynamics.memory import Fitting
from probe.dynamics.pace import Paced
from probe.studies.probing.dictionary import (
    AttractorDictionary,
    assemble_dictionary,
    certify_points,
    iterate_plainly,
    merge_end_points,
)

OnStep = Callable[[int, int, float], None]
Part = TypeVar("Part", bound=Sequence[int])
"""Indices of starts that are iterated, and saved, together."""
CPU_NUMBERS = 1 << 14
"""Latent coordinates iterated together on a CPU, where running out of memory cannot be caught: 64 rows of the embedded
autoencoder, 4 of a Stable Diffusion VAE at 256 px."""
MOST_ROWS = 256
"""Largest batch; more rows gain nothing on a GPU."""
ACTIVATIONS = 3
"""Rough number of largest tensors alive at once in a forward pass: an input, an output, a skip."""


def solve(
    f: Map,
    latent_shape: Sequence[int],
    parts: Iterable[Part],
    *,
    seed: int,
    solver: SolverConfig,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    most_rows: int | None = None,
    on_step: OnStep | None = None,
    gathered: Gathered | None = None,
) -> Iterator[tuple[Part, EndPoints]]:
    """Iterate f from the starts of several groups of indices, as one stream; yields each when it is done, with its end
    points on the CPU.

    Args:
        parts: indices of starts; a group is taken when there is room in the batch.
        most_rows: upper bound of the batch, so that groups are left to other ranks.
        on_step, gathered: as for ``iterate_batches``.
    """
    device = torch.device(device)
    fitting = suited(f, solver)
    starts = ((part, _to(device, gaussian_starts(seed, part, latent_shape).to(dtype))) for part in parts)
    settings = iteration(solver, latent_shape, device)
    settings = replace(settings, batch_size=min(settings.batch_size, most_rows or settings.batch_size))
    for part, ends in iterate_batches(fitting, starts, settings, on_step, gathered):
        yield part, EndPoints(**{name: value.cpu() for name, value in vars(ends).items()})  # type: ignore[misc]


def solve_all(
    f: Map,
    latent_shape: Sequence[int],
    seeds: SeedConfig,
    solver: SolverConfig,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    on_step: OnStep | None = None,
) -> EndPoints:
    """``solve`` for all starts of ``seeds``; their end points, in the order of the starts."""
    parts = batches(seeds.count, seeds.shard_size)
    solved = dict(
        solve(f, latent_shape, parts, seed=seeds.seed, solver=solver, device=device, dtype=dtype, on_step=on_step)
    )
    return EndPoints.concatenate([solved[part] for part in parts])


def suited(f: Map, solver: SolverConfig) -> Map:
    """f, compiled if the settings say so, in batches that fit into the memory and are fast."""
    return Fitting(torch.compile(f, dynamic=False)) if solver.compile else Paced(Fitting(f))


def iteration(solver: SolverConfig, latent_shape: Sequence[int], device: torch.device) -> Iteration:
    """The settings of the loop, from a configuration and a device."""
    gpu = device.type == "cuda"
    rows = MOST_ROWS if gpu else min(max(CPU_NUMBERS // torch.Size(latent_shape).numel(), 1), MOST_ROWS)
    far = ("tf32" if gpu else "float32") if solver.far_precision == "auto" else solver.far_precision
    return Iteration(
        max_steps=solver.max_steps,
        tolerance=solver.tolerance,
        max_norm=solver.max_norm,
        batch_size=rows if solver.batch_size == "auto" else solver.batch_size,
        accelerate=solver.accelerate,
        far_precision=far,
        steady=solver.compile,
    )


def _to(device: torch.device, z: Tensor) -> Tensor:
    return z.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else z.to(device)


def find_attractors(
    f: Map,
    latent_shape: Sequence[int],
    *,
    seeds: SeedConfig | None = None,
    solver: SolverConfig | None = None,
    dictionary: DictionaryConfig | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    on_step: OnStep | None = None,
) -> tuple[EndPoints, AttractorDictionary]:
    """Iterate f from Gaussian starts, merge the end points and certify them.

    Args:
        f: maps latents (n, *latent_shape) to the same shape: a ``LatentMap`` or any function.
        latent_shape: without the batch.
        seeds, solver, dictionary: sections of a configuration; default: theirs.
        device, dtype: where and in what type f computes; default: those of a ``LatentMap``'s autoencoder, else the CPU
            and float32.
        on_step: as for ``solve``.

    Returns:
        The end point of every start, and the dictionary of distinct end points, whose ``certificate`` says which are
        attractors.

    Raises:
        UserError: no start has one of the outcomes that ``dictionary`` admits.
    """
    seeds, solver = seeds or SeedConfig(), solver or SolverConfig()
    if isinstance(f, LatentMap):
        device, dtype = device or f.autoencoder.device, dtype or f.autoencoder.dtype
    device, dtype = device or "cpu", dtype or torch.float32
    ends = solve_all(f, latent_shape, seeds, solver, device=device, dtype=dtype, on_step=on_step)
    dictionary = dictionary or DictionaryConfig()
    merged = merge_end_points(ends, solver=solver, dictionary=dictionary)
    certificates = certify_points(f, ends.end[merged.leader[merged.certify]].to(device), solver=solver)
    check, cosine = merged.check, dictionary.cosine
    plain = iterate_plainly(f, check, ends.end[check].to(device), seeds=seeds, solver=solver, cosine=cosine)
    return ends, assemble_dictionary(ends, merged, certificates, plain, seeds=seeds, solver=solver, cosine=cosine)


def batches(count: int, size: int) -> list[range]:
    """The indices 0..count-1 in ranges of at most ``size``."""
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


def cost(model: Autoencoder, shape: tuple[int, ...], config: Config) -> dict[str, Any]:
    """The cost of f for one start, measured by running it once without gradients.

    Returns:
        ``flops_per_step`` (of one row; a multiply-add counts as two; matrix products, convolutions and attention only),
        ``weights_bytes``, ``rows`` (the batch, by ``solver.batch_size``), and ``step_bytes`` (estimated: the weights,
        and per row three times the largest output of a module).
    """
    largest = 0

    def watch(_module: Any, _inputs: Any, output: Any) -> None:
        nonlocal largest
        if isinstance(output, torch.Tensor):
            largest = max(largest, output.numel() * output.element_size())

    handles = [m.register_forward_hook(watch) for module in model.modules for m in module.modules()]
    z = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)).to(model.device, model.dtype)
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            LatentMap(model, clamp=config.model.clamp)(z)
    finally:
        for handle in handles:
            handle.remove()
    weights = sum(p.numel() * p.element_size() for module in model.modules for p in module.parameters())
    rows = iteration(config.solver, shape, model.device).batch_size
    return {
        "flops_per_step": counter.get_total_flops(),
        "weights_bytes": weights,
        "rows": rows,
        "step_bytes": weights + rows * ACTIVATIONS * largest,
    }
