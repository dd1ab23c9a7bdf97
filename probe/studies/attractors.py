"""Data-free weight probing, first half: from Gaussian noise to a dictionary of end points (paper, Section 4.1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.config import DictionaryConfig, SeedConfig, SolverConfig
from probe.dictionary import count_by_euclid, merge_by_cosine, unit_rows
from probe.dynamics import Certificate, EndPoints, LatentMap, Outcome, certify, gaussian_starts, iterate
from probe.dynamics.iterate import Map
from probe.errors import UserError

OnStep = Callable[[int, int], None]
YES, NO, UNDECIDED = 1, 0, -1


@dataclass(frozen=True)
class Dictionary:
    """Distinct end points, largest basin first. Tensors have m rows, on the CPU.

    Attributes:
        atoms: unit-norm end points (m, d), float32.
        ends: the end points themselves (m, *latent shape).
        leader: the index of the start that ended there.
        basin: starts merged into the atom, that one included.
        outcome, steps, residual: of that start; the residual recomputed where there is a certificate.
        spectral_radius: of J_f at the end point; NaN where it was not computed or did not settle.
        certificate: 1 attractor (residual below tolerance, spectral radius below 1), 0 no attractor, -1 undecided.
        summary: counts and rules, for the report.
    """

    atoms: Tensor
    ends: Tensor
    leader: Tensor
    basin: Tensor
    outcome: Tensor
    steps: Tensor
    residual: Tensor
    spectral_radius: Tensor
    certificate: Tensor
    summary: dict[str, object]


def solve(
    f: Map,
    latent_shape: Sequence[int],
    indices: range,
    *,
    seed: int,
    solver: SolverConfig,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    on_step: OnStep | None = None,
) -> EndPoints:
    """Iterate f from the starts with these indices, as one batch; the result is on the CPU."""
    z0 = gaussian_starts(seed, indices, latent_shape).to(device, dtype)
    ends = iterate(
        f, z0, max_steps=solver.max_steps, tolerance=solver.tolerance, max_norm=solver.max_norm, on_step=on_step
    )
    return EndPoints(**{name: value.cpu() for name, value in vars(ends).items()})


@dataclass(frozen=True)
class Merged:
    """Distinct end points before they are certified, largest basin first; tensors have m rows.

    Attributes:
        leader: indices of the starts that lead.
        basin: starts merged into each.
        certify: rows (of these m) that are to be certified.
        summary: counts and rules.
    """

    leader: Tensor
    basin: Tensor
    certify: Tensor
    summary: dict[str, object]


def merge_end_points(ends: EndPoints, *, solver: SolverConfig, dictionary: DictionaryConfig) -> Merged:
    """Merge the end points of the chosen outcomes; the converged of the largest basins are to be certified.

    Args:
        ends: one row per start, in the order of the starts.

    Raises:
        UserError: no start has one of the chosen outcomes.
    """
    chosen = sum((ends.outcome == Outcome[name.upper()] for name in dictionary.outcomes), torch.zeros(1)) > 0
    rows = chosen.nonzero().squeeze(1)
    points = ends.end[rows].flatten(1)
    if not len(rows) or not bool(points.any()):
        counts = ", ".join(f"{count} {name}" for name, count in ends.counts().items())
        raise UserError(
            f"no start can enter the dictionary: dictionary.outcomes is {list(dictionary.outcomes)}, and the starts "
            f"ended as {counts}; allow another outcome or raise solver.max_steps."
        )
    # A basin in which any start converged is led by such a start: the certificate is about that point.
    merge = merge_by_cosine(points, dictionary.cosine, priority=(ends.outcome[rows] != Outcome.CONVERGED).long())
    leader = rows[merge.leader]
    summary: dict[str, object] = {
        "atoms": len(leader),
        "rule": f"cosine > {dictionary.cosine:g}",
        "atoms_euclidean": count_by_euclid(points, dictionary.euclidean),
        "rule_euclidean": f"distance < {dictionary.euclidean:g} of the root mean square norm",
        "components": merge.components,
        "outcomes_used": list(dictionary.outcomes),
        "starts_used": len(rows),
    }
    converged = (ends.outcome[leader] == Outcome.CONVERGED).nonzero().squeeze(1)
    return Merged(leader, merge.basin, converged[: solver.certificates], summary)


def assemble_dictionary(ends: EndPoints, merged: Merged, certificates: Sequence[Certificate]) -> Dictionary:
    """The dictionary from the merged end points and the certificates of ``merged.certify``, in that order."""
    leader = merged.leader
    residual, radius = ends.residual[leader].clone(), torch.full((len(leader),), torch.nan, dtype=torch.float64)
    certificate = torch.full((len(leader),), UNDECIDED, dtype=torch.int8)
    certificate[ends.outcome[leader] != Outcome.CONVERGED] = NO
    for row, found in zip(merged.certify.tolist(), certificates, strict=True):
        residual[row], radius[row] = found.residual, found.spectral_radius
        certificate[row] = UNDECIDED if found.attractor is None else int(found.attractor)
    summary = {
        **merged.summary,
        "certified": int((certificate == YES).sum()),
        "not_attractors": int((certificate == NO).sum()),
        "undecided": int((certificate == UNDECIDED).sum()),
    }
    return Dictionary(
        atoms=unit_rows(ends.end[leader]).float(),
        ends=ends.end[leader],
        leader=leader,
        basin=merged.basin,
        outcome=ends.outcome[leader],
        steps=ends.steps[leader],
        residual=residual,
        spectral_radius=radius,
        certificate=certificate,
        summary=summary,
    )


def build_dictionary(
    f: Map,
    ends: EndPoints,
    *,
    solver: SolverConfig,
    dictionary: DictionaryConfig,
    device: torch.device | str = "cpu",
) -> Dictionary:
    """Merge the end points of the chosen outcomes and certify the atoms, largest basins first.

    Args:
        f: the latent map, for the certificates.
        ends: one row per start, in the order of the starts.

    Raises:
        UserError: no start has one of the chosen outcomes.
    """
    merged = merge_end_points(ends, solver=solver, dictionary=dictionary)
    points = ends.end[merged.leader[merged.certify]]
    certificates = [certify(f, z.unsqueeze(0).to(device), tolerance=solver.tolerance) for z in points]
    return assemble_dictionary(ends, merged, certificates)


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
) -> tuple[EndPoints, Dictionary]:
    """Iterate f from Gaussian starts, merge the end points and certify them.

    Args:
        f: maps latents (n, *latent_shape) to the same shape: a ``LatentMap`` or any function.
        latent_shape: without the batch.
        seeds, solver, dictionary: as in a configuration; defaults where absent.
        device, dtype: where f computes; by default those of a ``LatentMap``'s autoencoder, else the CPU and float32.
        on_step: called with (step of the running batch, rows still running).

    Returns:
        The end point of every start, and the dictionary of the distinct ones; its ``certificate`` says which of them
        are attractors.
    """
    seeds, solver = seeds or SeedConfig(), solver or SolverConfig()
    if isinstance(f, LatentMap):
        device, dtype = device or f.autoencoder.device, dtype or f.autoencoder.dtype
    device, dtype = device or "cpu", dtype or torch.float32
    parts = [
        solve(f, latent_shape, batch, seed=seeds.seed, solver=solver, device=device, dtype=dtype, on_step=on_step)
        for batch in batches(seeds.count, solver.batch_size)
    ]
    ends = EndPoints.concatenate(parts)
    return ends, build_dictionary(f, ends, solver=solver, dictionary=dictionary or DictionaryConfig(), device=device)


def batches(count: int, size: int) -> list[range]:
    """The indices 0..count-1 in ranges of at most ``size``."""
    return [range(first, min(first + size, count)) for first in range(0, count, size)]
