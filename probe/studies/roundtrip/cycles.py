"""The iteration x_{t+1} = B(F(x_t)) with F = D o E, from images, and what is measured on the way.

| symbol | meaning | shape |
|---|---|---|
| x_t | pictures after t cycles, for values in [0, 1] | (n, 3, H, W) |
| z_t | E(x_t) | (n, ...) |
| T | cycles | |

No row influences another. A row whose picture or latent is not finite, or whose latent is beyond the bound, has
diverged: from then on it stands for its image, so that nothing infinite enters the batch, and has no measures.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.dynamics.flow import per_row
from probe.dynamics.memory import Fitting
from probe.measures import MEASURES, Seen
from probe.metrics.spectrum import band_power, bands, decibels, rounding_power
from probe.precision import full_float32
from probe.studies.roundtrip.between import Step
from probe.studies.roundtrip.distance import Features
from probe.studies.roundtrip.film import Film

Lpips = Callable[[Tensor, Tensor], Tensor]
NEVER = -1
CPU_VALUES = 1 << 18
"""Values of pictures that go together through a model on a CPU: 85 of 32 x 32 pixels, one of 256 x 256."""
GPU_VALUES = 1 << 26
"""The same on a GPU, where measures take several copies in float64: 256 of 256 x 256 pixels, 21 of 1024 x 1024."""
MOST_ROWS = 256


class Coder:
    """E and D on pictures, values in [0, 1], in parts where the whole does not fit; the identity without a model."""

    def __init__(self, model: Autoencoder | None):
        self.model = model
        self.device = torch.device("cpu") if model is None else model.device
        if model is not None:
            self._low, high = model.image_range
            self._span = high - self._low
            self._encoded = Fitting(lambda x: model.encode(x * self._span + self._low))
            self._decoded = Fitting(lambda z: (model.decode(z) - self._low) / self._span)

    def pictures(self, images: Tensor) -> Tensor:
        """uint8 images (n, 3, H, W) as x_0."""
        dtype = torch.float32 if self.model is None else self.model.dtype
        return images.to(self.device, dtype) / 255

    def encode(self, x: Tensor) -> Tensor | None:
        """z of pictures; None for the identity."""
        return None if self.model is None else self._encoded(x)

    def decode(self, z: Tensor | None, x: Tensor) -> Tensor:
        """F(x), from z = E(x)."""
        return x if z is None else self._decoded(z)

    def rows(self, side: int, wanted: int | str) -> int:
        """How many pictures go together."""
        if wanted != "auto":
            return int(wanted)
        values = CPU_VALUES if self.device.type == "cpu" else GPU_VALUES
        return min(max(values // (3 * side * side), 1), MOST_ROWS)


@dataclass
class Trajectories:
    """What was measured of n images after 0..T cycles; tensors on the CPU.

    Attributes:
        columns: by measure (n, T + 1), float64.
        spectrum: (n, T + 1, b), float32; see ``layout.TRIP_TENSORS``.
        edges: of the bands (b + 1,).
        died: first cycle at which an image has diverged (n,), or ``NEVER``.
        began, period: where a picture is exactly one of those before: the first cycle of what repeats, and its period;
            ``NEVER`` and 0 where none repeats, or it was not looked for.
        place: of these, a name that is the same for images with the same fixed point or cycle (n,).
        latent: the last latents (n, ...); None for the identity.
    """

    columns: dict[str, Tensor]
    spectrum: Tensor
    edges: Tensor
    died: Tensor
    began: Tensor
    period: Tensor
    place: list[str]
    latent: Tensor | None


@torch.no_grad()
def trajectories(
    coder: Coder,
    step: Step,
    images: Tensor,
    cycles: int,
    *,
    rows: int,
    max_norm: float,
    film: Film,
    lpips: Lpips | None = None,
    features: Features | None = None,
    on_cycle: Callable[[float], None] = lambda done: None,
) -> Trajectories:
    """Iterate from images, uint8 (n, 3, H, W), a batch after the other.

    Args:
        rows: images in a batch; the results do not depend on it.
        max_norm: of a latent.
        film: keeps pictures.
        lpips: of two batches of pictures, if its weights are at hand.
        features: for rFID, if its weights are at hand; the pictures are added.
        on_cycle: called with the number of images that are done, parts included.
    """
    found, done, fitting = [], 0, lpips and Fitting(lpips)
    with full_float32():
        for part in images.split(rows):
            batch = _Batch(coder, step, part, cycles, max_norm, fitting, features)
            pictures = batch.run(film, partial(_tell, on_cycle, done, len(part) / (cycles + 1)))
            film.add(range(done, done + len(part)), batch.found.columns["psnr"][:, -1], pictures)
            found.append(batch.found)
            done += len(part)
    return _joined(found)


def _tell(on_cycle: Callable[[float], None], done: int, a_cycle: float, cycles: int) -> None:
    on_cycle(done + a_cycle * cycles)


def _joined(parts: list[Trajectories]) -> Trajectories:
    latents = [part.latent for part in parts if part.latent is not None]
    return Trajectories(
        columns={name: torch.cat([part.columns[name] for part in parts]) for name in parts[0].columns},
        spectrum=torch.cat([part.spectrum for part in parts]),
        edges=parts[0].edges,
        died=torch.cat([part.died for part in parts]),
        began=torch.cat([part.began for part in parts]),
        period=torch.cat([part.period for part in parts]),
        place=[name for part in parts for name in part.place],
        latent=torch.cat(latents) if latents else None,
    )


class _Batch:
    """Images that go together, and what is found of them."""

    def __init__(
        self,
        coder: Coder,
        step: Step,
        images: Tensor,
        cycles: int,
        max_norm: float,
        lpips: Fitting | None,
        features: Features | None,
    ):
        self.coder, self.step, self.cycles, self.max_norm = coder, step, cycles, max_norm
        self.lpips, self.features = lpips, features
        if features:
            features.start(images)
        self.x0 = coder.pictures(images)
        n, edges, (height, width) = len(images), bands(images.shape[-1]), images.shape[-2:]
        self.power = band_power(self.x0, edges)
        self.floor = rounding_power(height, width, edges).to(coder.device)
        self.lives = torch.ones(n, dtype=torch.bool, device=coder.device)
        self.repetition = _Repetition(n) if step.kind.rounds or coder.model is None else None
        self.found = Trajectories(
            columns={},
            spectrum=torch.full((n, cycles + 1, len(edges) - 1), torch.nan),
            edges=edges,
            died=torch.full((n,), NEVER),
            began=torch.full((n,), NEVER),
            period=torch.zeros(n, dtype=torch.long),
            place=[""] * n,
            latent=None,
        )

    def run(self, film: Film, on_cycle: Callable[[int], None]) -> Tensor:
        """Do the cycles; the pictures at those of the film, uint8 (n, f, 3, H, W)."""
        pictures = [torch.empty(0)] * len(film.cycles)
        x, z0 = self.x0, None
        z: Tensor | None = None
        for t in range(self.cycles + 1):
            before, z = z, self._latent(x)
            z0 = z if t == 0 else z0
            self._note(t, Seen(self.x0, x.clamp(0, 1), z, before, z0, self.lpips))
            stays = self._stays(t, x)
            if self.features:
                self.features.look(t, x, self.lives, stays=stays)
            shown = [at for at, cycle in enumerate(film.cycles) if cycle == t or (stays and cycle > t)]
            if shown:
                kept = torch.where(per_row(self.lives, x), film.pictures(x), 0).cpu()
                pictures = [kept if at in shown else one for at, one in enumerate(pictures)]
            on_cycle(t)
            if stays:
                self._fill(t)
                break
            if t < self.cycles:
                x = self._next(z, x)
        self.found.latent = None if z is None else z.cpu()
        return torch.stack(pictures, 1)

    def _latent(self, x: Tensor) -> Tensor | None:
        """z of the pictures; rows whose latent is not within the bound die, and are 0."""
        z = self.coder.encode(x)
        if z is None:
            return None
        self.lives = self.lives & (torch.linalg.vector_norm(z.flatten(1).double(), dim=1) <= self.max_norm)  # no NaN
        return torch.where(per_row(self.lives, z), z, 0)

    def _next(self, z: Tensor | None, x: Tensor) -> Tensor:
        y = self.coder.decode(z, x)
        self.lives = self.lives & y.flatten(1).isfinite().all(1)
        alive = per_row(self.lives, y)
        return torch.where(alive, self.step(torch.where(alive, y, self.x0)), self.x0)

    def _note(self, t: int, seen: Seen) -> None:
        """Measure the pictures after t cycles."""
        found, lives = self.found, self.lives.cpu()
        found.died[~lives & (found.died == NEVER)] = t
        for measure in MEASURES:
            value = measure.function(seen)
            if value is not None:
                empty = torch.full((len(lives), self.cycles + 1), torch.nan, dtype=torch.float64)
                column = found.columns.setdefault(measure.name, empty)
                column[:, t] = torch.where(lives, value.double().cpu(), torch.nan)
        ratio = decibels(band_power(seen.picture, found.edges), self.power, self.floor).float().cpu()
        found.spectrum[:, t] = torch.where(lives[:, None], ratio, torch.nan)

    def _stays(self, t: int, x: Tensor) -> bool:
        """Look for repetitions; whether every picture stays as it is from now on."""
        found = self.found
        if self.repetition is not None:
            self.repetition.look(t, x, self.lives.tolist(), found)
        return bool(((found.died != NEVER) | (found.period == 1)).all())

    def _fill(self, t: int) -> None:
        """Later cycles are as cycle t."""
        for column in self.found.columns.values():
            column[:, t + 1 :] = column[:, t : t + 1]
        self.found.spectrum[:, t + 1 :] = self.found.spectrum[:, t : t + 1]


@dataclass
class _Repetition:
    """Finds pictures that are, bit by bit, one of those before."""

    n: int
    _known: list[dict[str, int]] = field(init=False)

    def __post_init__(self) -> None:
        self._known = [{} for _ in range(self.n)]

    def look(self, t: int, x: Tensor, lives: list[bool], found: Trajectories) -> None:
        """Note which of the pictures after t cycles repeat an earlier one."""
        pictures = x.cpu().numpy()
        for row, known in enumerate(self._known):
            if not lives[row] or found.period[row]:
                continue
            name = hashlib.blake2b(pictures[row].tobytes(), digest_size=16).hexdigest()
            began = known.setdefault(name, t)
            if began < t:
                found.began[row], found.period[row] = began, t - began
                found.place[row] = min(one for one, cycle in known.items() if cycle >= began)
