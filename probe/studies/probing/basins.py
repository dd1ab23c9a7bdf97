"""Basins of attraction of a latent map: partners of starts, and kicked attractors, labelled by where they end.

Distances are relative to sqrt(d), the typical norm of a start. Labels are atoms of the run's dictionary.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.config import BasinConfig, DictionaryConfig, SolverConfig
from probe.dictionary import merge_by_cosine
from probe.dynamics import Outcome, gaussian_starts, iterate
from probe.dynamics.basins import UNKNOWN, kicks, unit
from probe.dynamics.certificate import NO
from probe.dynamics.iterate import Map
from probe.studies.probing.end_points import iteration, suited

PARTNERS, KICKED = 10**9, 2 * 10**9
"""Indices of random directions: of partners of start i, PARTNERS + i; of kicks of an atom led by start i, KICKED + i.
No start has one so large."""

PAIRS, KICKS = "pairs", "kicks"
TOGETHER = {PAIRS: 8, KICKS: 4}
"""Probes, and attractors, that are measured together."""

STOPS = (0.25, 0.5, 0.75, 1.0)
"""Shares of the way to the nearest attractor that are tried before bisection."""

BLOCK = 4096
"""Atoms that points are compared with at once."""


@dataclass(frozen=True)
class Chosen:
    """What is measured.

    Attributes:
        probes: indices of starts (k,).
        attractors: rows of the dictionary (a,) that are kicked.
        possible: rows of all ``possible`` attractors.
        missing: why nothing is; empty if something is.
    """

    probes: Tensor
    attractors: Tensor
    possible: Tensor
    missing: str = ""


def possible(atoms: dict[str, Tensor]) -> Tensor:
    """Rows of a dictionary, given its columns, that may be attractors: some start converged there, and no certificate
    says no."""
    return ((atoms["settled"] > 0) & (atoms["certificate"] != NO)).nonzero().squeeze(1)


def choose(converged: Tensor, atoms: dict[str, Tensor], basins: BasinConfig) -> Chosen:
    """The first of the starts that ``converged`` (indices), and the largest basins of ``possible`` attractors; nothing
    unless there are at least two of these."""
    nothing = torch.empty(0, dtype=torch.long)
    attractors = possible(atoms)
    if not basins.probes and not basins.attractors:
        return Chosen(nothing, nothing, attractors, "basins.probes and basins.attractors are 0")
    if len(attractors) < 2:
        found = "one attractor" if len(attractors) else "no attractor"
        return Chosen(nothing, nothing, attractors, f"the starts reached {found}, and it takes two to have a boundary")
    order = torch.argsort(atoms["basin"][attractors], descending=True, stable=True)
    return Chosen(converged[: basins.probes], attractors[order][: basins.attractors], attractors)


class Basins:
    """Where points end: which atom.

    Args:
        f: the map; computes in the type and on the device of ``like``.
        atoms: columns of the dictionary by name: ``atoms``, ``ends``, ``distance`` and ``from_one``.
    """

    def __init__(
        self, f: Map, atoms: dict[str, Tensor], solver: SolverConfig, dictionary: DictionaryConfig, like: Tensor
    ):
        self.f = suited(f, solver)
        self.atoms, self.units = atoms["ends"], atoms["atoms"]
        self.cosine, self.like = dictionary.cosine, like
        self.iteration = iteration(solver, self.atoms.shape[1:], like.device)
        self.scale = math.sqrt(self.atoms[0].numel())
        self.origin = (~self.units.any(1)).nonzero().squeeze(1)
        """Attractors at the origin, which have no direction."""
        # Converged points that are as near to an attractor as this may have stopped on their way to it.
        self.reach = atoms["distance"] + math.sqrt(solver.tolerance) / atoms["from_one"]

    def labels(self, ends: Tensor, outcome: Tensor) -> Tensor:
        """Of end points (n, *latent shape): the nearest atom, if the cosine says that it is the same, or the one at the
        origin; else a number from m on, the same for end points that are one by that rule; UNKNOWN where the point did
        not converge."""
        found = torch.full((len(ends),), UNKNOWN)
        rows = (outcome == Outcome.CONVERGED).nonzero().squeeze(1)
        if not len(rows):
            return found
        points = ends[rows].flatten(1).double()
        norm = points.norm(dim=1)
        directions, every = points / norm.clamp(min=1e-300)[:, None], torch.arange(len(self.units))
        minus_cosine, nearest = _least(lambda unit: -(directions @ unit.T), self.units, every)
        label = torch.where(-minus_cosine > self.cosine, nearest, UNKNOWN)
        for atom in self.origin.tolist():
            label[norm <= self.reach[atom]] = atom
        # A slow approach stops far from its fixed point, and in another direction.
        new = (label == UNKNOWN).nonzero().squeeze(1)
        if len(new):
            apart, close = _least(lambda atom: torch.cdist(points[new], atom), self.atoms, every)
            label[new] = torch.where(apart <= self.reach[close], close, UNKNOWN)
            new = new[label[new] == UNKNOWN]
        if len(new):
            member = merge_by_cosine(points[new], self.cosine).member  # -1 for 0, which has no direction
            label[new] = len(self.units) + 1 + member
        found[rows] = label
        return found

    def __call__(self, points: Tensor) -> Tensor:
        """Labels of points (n, *latent shape) after their iteration."""
        ends = iterate(self.f, points.to(self.like), self.iteration)
        return self.labels(ends.end.cpu(), ends.outcome.cpu())

    def around(self, probes: Sequence[int], basins: BasinConfig, seed: int) -> Tensor:
        """Labels of the partners of starts (k, separations, partners)."""
        shape, form = self.atoms.shape[1:], (len(basins.separations), basins.partners)
        starts = gaussian_starts(seed, probes, shape)
        steps = gaussian_starts(seed, [PARTNERS + index for index in probes], (*form, *shape))
        steps = unit(steps.flatten(0, 2)).view_as(steps)
        distance = self.scale * torch.tensor(basins.separations).view(1, -1, 1, *[1] * len(shape))
        points = starts[:, None, None] + distance * steps
        return self(points.flatten(0, 2)).view(len(probes), *form)

    def kicked(
        self, attractors: Tensor, leaders: Sequence[int], basins: BasinConfig, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Whether kicks of attractors (rows of the dictionary, led by these starts) come back (a, directions, sizes),
        and the smallest that does not, in units of sqrt(d) (a, directions)."""
        form = (len(attractors), basins.directions)
        steps = gaussian_starts(seed, [KICKED + index for index in leaders], (basins.directions, *self.atoms.shape[1:]))
        of = attractors.repeat_interleave(basins.directions)
        sizes = [self.scale * size for size in basins.kicks]
        found = kicks(self, self.atoms[of], of, unit(steps.flatten(0, 1)), sizes, rounds=basins.bisections)
        return found.returned.view(*form, len(sizes)), found.smallest.view(form) / self.scale

    def towards(self, attractors: Tensor, others: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
        """On the straight way from each attractor to the nearest of the others (rows of the dictionary, itself left
        out): the length of the way in units of sqrt(d) (a,), and the share of it after which a kicked attractor does
        not come back (a,)."""
        points = self.atoms[attractors].flatten(1).double()
        closest = []
        for one, point in zip(attractors.tolist(), points, strict=True):

            def apart(atoms: Tensor, point: Tensor = point) -> Tensor:
                return torch.linalg.vector_norm(atoms - point, dim=1)[None]

            closest.append(_least(apart, self.atoms, others[others != one])[1])
        shortest = self.atoms[torch.cat(closest)].flatten(1).double() - points
        steps = shortest.view(len(attractors), *self.atoms.shape[1:]).to(self.atoms)
        found = kicks(self, self.atoms[attractors], attractors, steps, STOPS, rounds=rounds)
        return shortest.norm(dim=1) / self.scale, found.smallest


def _least(measure: Callable[[Tensor], Tensor], rows: Tensor, of: Tensor) -> tuple[Tensor, Tensor]:
    """The least number (n,) that ``measure`` gives for rows, and which row that is (n,).

    Args:
        measure: of a block of rows (b, d) in float64, which would take twice the memory of all: (n, b).
        rows: (m, ...).
        of: which of them to look at, at least one.
    """
    blocks = [(part, measure(rows[part].flatten(1).double()).min(1)) for part in of.split(BLOCK)]
    values = torch.stack([found.values for _, found in blocks])
    value, block = values.min(0)
    place = torch.stack([part[found.indices] for part, found in blocks])
    return value, place.gather(0, block[None])[0]
