"""Where pictures settle: the outcomes of the dynamics, fixed points with certificates, and the attractors of a run.

Without rounding, z_{t+1} = f(z_t) with the latent map f = E o D (or E o clamp o D): pictures settle as latents do, and
the tools of ``probe.dynamics`` apply. Rounded pictures are finitely many, so they settle when one comes again.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from probe.config import SolverConfig
from probe.dynamics import EndPoints, Iteration, Outcome
from probe.dynamics.certificate import YES
from probe.dynamics.iterate import Map
from probe.measures import MARKS
from probe.studies.fixed_points import NOWHERE, certify_first, distinct, end_points, fixed_points
from probe.studies.roundtrip.config import RoundtripSolver
from probe.studies.roundtrip.cycles import NEVER, Trajectories

APART = 0.05
"""Fixed points that are closer than this share of their root mean square norm are one."""
NOT_EXAMINED = -2
ROWS = 64
"""Latents iterated together where the configuration leaves it open."""


@dataclass
class Ends:
    """Where n images end; the tensors of ``layout.TRIP_TENSORS`` by name, and the last latents.

    Attributes:
        tensors: outcome, settled, period, place, residual, certificate, spectral_radius, radius_error.
        places: number of distinct fixed points and cycles.
        latent: the last latent of every image (n, ...); None for the identity.
    """

    tensors: dict[str, Tensor]
    places: int
    latent: Tensor | None


def of_repetitions(found: Trajectories) -> Ends:
    """The outcomes of rounded pictures, and of the identity."""
    settled = found.began != NEVER
    outcome = torch.full_like(found.period, int(Outcome.MAX_STEPS))
    outcome[settled] = int(Outcome.CYCLE)
    outcome[found.period == 1] = int(Outcome.CONVERGED)
    names = sorted({name for name in found.place if name})
    member = torch.tensor([names.index(name) if name else NOWHERE for name in found.place])
    place, places = _ranked(member)
    return Ends(_tensors(found, outcome, found.began, found.period, place), places, found.latent)


def of_latents(f: Map, found: Trajectories, solver: RoundtripSolver, device: torch.device) -> Ends:
    """The outcomes of pictures that are not rounded: f is iterated on from the last latents, for
    ``solver.max_steps`` steps, and distinct fixed points are certified.

    Args:
        f: the latent map, with what happens between cycles.
    """
    assert found.latent is not None
    n, alive = len(found.died), (found.died == NEVER).nonzero().flatten()
    nowhere = torch.full((n,), -1)
    tensors = _tensors(found, torch.full((n,), int(Outcome.MAX_STEPS)), nowhere, torch.zeros(n).long(), nowhere.clone())
    if not len(alive):
        return Ends(tensors, 0, found.latent)
    settings = Iteration(
        max_steps=solver.max_steps,
        tolerance=solver.tolerance,
        max_norm=solver.max_norm,
        batch_size=ROWS if solver.batch_size == "auto" else solver.batch_size,
        accelerate=True,
    )
    ends = end_points(f, found.latent[alive].to(device), settings)
    tensors["outcome"][alive], tensors["residual"][alive] = ends.outcome, ends.residual
    tensors["period"][alive] = torch.where(ends.outcome == Outcome.CONVERGED, 1, ends.period)
    tensors["settled"][alive] = _settled(found, alive, ends, solver.tolerance)
    points, member, cycles = _places(f, ends, solver.tolerance, device)
    tensors["place"][alive], places = _ranked(member, cycles)
    asked = SolverConfig(tolerance=solver.tolerance, certificates=solver.certificates)
    certificates = certify_first(f, points, asked, device)
    examined = (member >= 0) & (member < len(certificates.attractor))
    for name, value in (
        ("certificate", certificates.attractor),
        ("spectral_radius", certificates.spectral_radius),
        ("radius_error", certificates.radius_error),
    ):
        tensors[name][alive[examined]] = value[member[examined]]
    latent = found.latent.clone()
    latent[alive] = ends.end
    return Ends(tensors, places, latent)


def _tensors(found: Trajectories, outcome: Tensor, settled: Tensor, period: Tensor, place: Tensor) -> dict[str, Tensor]:
    """The tensors of n images, with those that diverged, and without certificates."""
    died, unknown = found.died != NEVER, torch.full((len(found.died),), torch.nan, dtype=torch.float64)
    return {
        "outcome": torch.where(died, int(Outcome.DIVERGED), outcome).to(torch.uint8),
        "settled": torch.where(died, found.died, settled),
        "period": torch.where(died, 0, period),
        "place": torch.where(died, -1, place),
        "residual": torch.where(died, torch.inf, unknown),
        "certificate": torch.full((len(died),), NOT_EXAMINED, dtype=torch.int8),
        "spectral_radius": unknown.clone(),
        "radius_error": unknown.clone(),
    }


def _settled(found: Trajectories, alive: Tensor, ends: EndPoints, tolerance: float) -> Tensor:
    """First cycle from which on each image stays, (k,); see ``layout.TRIP_TENSORS``."""
    columns = {name: found.columns[name][alive] for name in ("moved", "norm", "from_start")}
    last = columns["moved"].shape[1] - 1
    settled = torch.full_like(ends.steps, NEVER)
    converged, cycling, diverged = (ends.outcome == one for one in (Outcome.CONVERGED, Outcome.CYCLE, Outcome.DIVERGED))
    first = _first_of_last(columns["moved"][:, 1:].square() < tolerance)  # of z_0 to z_{T-1}
    settled[converged] = torch.where(first < last, first, last + ends.steps)[converged]
    settled[diverged] = (last + ends.steps + 1)[diverged]
    for row in cycling.nonzero().flatten().tolist():
        period, same = int(ends.period[row]), torch.ones(max(last + 1 - int(ends.period[row]), 0), dtype=torch.bool)
        # Two latents are no nearer to each other than their distances to anything else differ.
        for values in columns.values():
            apart = (values[row, : len(same)] - values[row, period:]).abs()
            same &= (apart < tolerance**0.5) | apart.isnan()  # nothing has moved at t = 0
        begins = int(_first_of_last(same[None])[0])
        settled[row] = begins if begins < len(same) else last + int(ends.steps[row])
    return settled


def _first_of_last(true: Tensor) -> Tensor:
    """Where the last unbroken run of true begins in each row (n, k); k where a row ends with false."""
    return true.shape[1] - true.flip(1).cummin(1).values.sum(1)


def _places(f: Map, ends: EndPoints, tolerance: float, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct fixed points (m, ...), most images first; for each of k images which of them (k,), and which of the
    distinct cycles (k,); ``NOWHERE`` for neither."""
    points, member = fixed_points(ends, APART, tolerance)
    cycles = torch.full_like(member, NOWHERE)
    rows = (ends.outcome == Outcome.CYCLE).nonzero().flatten().tolist()
    phases = [_orbit(f, ends.end[row : row + 1].to(device), int(ends.period[row])) for row in rows]
    if phases:
        # Images on one cycle share its points, at whatever phase they are.
        merged = distinct(torch.cat(phases), APART, tolerance).member.split([len(one) for one in phases])
        cycles[rows] = torch.stack([one.min() for one in merged])
    return points, member, cycles


@torch.no_grad()
def _orbit(f: Map, z: Tensor, period: int) -> Tensor:
    points = [z]
    for _ in range(period - 1):
        points.append(f(points[-1]))
    return torch.cat(points).cpu()


def _ranked(*members: Tensor) -> tuple[Tensor, int]:
    """Things of several kinds, by number for each image (n,; -1: none), numbered together, most images first."""
    names = [next(((kind, int(n)) for kind, n in enumerate(row) if n >= 0), None) for row in zip(*members, strict=True)]
    there = [name for name in names if name is not None]
    order = {name: at for at, name in enumerate(sorted(set(there), key=lambda name: (-there.count(name), name)))}
    return torch.tensor([NOWHERE if name is None else order[name] for name in names]), len(order)


def until(psnr: Tensor) -> dict[str, Tensor]:
    """``until/MARK`` from the PSNR after 0..T cycles (n, T + 1): the first cycle below each mark, ``NEVER`` if none.

    An image that has diverged (NaN) is below.
    """
    found = {}
    for mark in MARKS:
        floor = psnr[:, 1:2] - mark.fall if mark.fall is not None else torch.full_like(psnr[:, :1], mark.level or 0.0)
        below = ~(psnr >= floor)
        below[:, 0] = False
        found[f"until/{mark.name}"] = torch.where(below.any(1), below.int().argmax(1), NEVER)
    return found


@dataclass(frozen=True)
class Reference:
    """The certified attractors of a run.

    Attributes:
        ends: the attractors (m, ...).
        atom: which atom of the run's dictionary each is (m,).
        model: weights_sha256, latent_shape and latents, as in the run's manifest.
        sha256: checksum of the dictionary.
    """

    ends: Tensor
    atom: Tensor
    model: dict[str, object]
    sha256: str

    @staticmethod
    def of(dictionary: dict[str, Tensor], model: dict[str, object], sha256: str) -> "Reference":
        """From the tensors of a run's dictionary.safetensors."""
        atom = (dictionary["certificate"] == YES).nonzero().flatten()
        return Reference(dictionary["ends"][atom], atom, model, sha256)

    def unusable(self, model: dict[str, object]) -> str:
        """Why it says nothing about a model; empty if it does."""
        for key, what in (("weights_sha256", "weights"), ("latent_shape", "latents"), ("latents", "coordinates")):
            if self.model.get(key) != model.get(key):
                return f"the run is of a model with other {what}"
        return "" if len(self.ends) else "the run has no certified attractor"

    def compare(self, ends: Ends) -> dict[str, Tensor]:
        """``attractor``, ``nearest`` and ``distance`` of ``layout.TRIP_TENSORS``."""
        assert ends.latent is not None
        points = self.ends.flatten(1).double()
        radius = APART * points.square().sum(1).mean().sqrt()
        distance, nearest = torch.cdist(ends.latent.flatten(1).double(), points).min(1)
        lost = ends.tensors["outcome"] == Outcome.DIVERGED
        nearest = torch.where(lost, -1, self.atom[nearest])
        return {
            "attractor": torch.where(distance <= radius, nearest, -1),
            "nearest": nearest,
            "distance": torch.where(lost, torch.nan, distance),
        }
