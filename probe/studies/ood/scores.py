"""Training attractors, and the scores of images: one row per image; higher means more out-of-distribution.

| symbol | meaning | shape |
|---|---|---|
| z0 | E(x), of an image x | (n, ...) |
| A, B | end points of the training images' latents, and of as many latents N(0, I) | (m, ...), (k, ...) |
| F | D o E, from image to image | |
| X, mu, S | training latents, flattened; their mean and covariance (divided by n) | (n, d), (d,), (d, d) |
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.config import SolverConfig
from probe.dictionary import merge_by_cosine
from probe.dynamics import EndPoints, Iteration, LatentMap, Outcome
from probe.dynamics.certificate import YES
from probe.dynamics.iterate import Map
from probe.dynamics.latent_map import gaussian_starts
from probe.dynamics.memory import Fitting
from probe.errors import UserError
from probe.studies.fixed_points import certify_first, distinct, end_points
from probe.studies.inputs import TOGETHER, encode, inputs
from probe.studies.ood.config import OodConfig
from probe.studies.probing.end_points import OnStep, iteration
from probe.studies.trajectories import trajectory_scores
from probe.training.images import crop

Solve = Callable[[Map, Tensor, Iteration, OnStep | None], EndPoints]
NOISE_SCORE = "trajectory_noise"
COSINE, EUCLIDEAN = 0.99, 0.05
"""Cosine, and distance relative to the root mean square norm, at which end points count as one attractor."""


@dataclass(frozen=True)
class References:
    """Latents and attractors of the training images.

    Attributes:
        latents: z0 of the first ``solver.starts`` images (n, ...).
        attractors: end points A of the starts that did not diverge (m, ...), not merged.
        noise: end points B likewise; None where no score uses them, or all starts from noise diverged.
        facts: starts, outcomes, median steps, distinct end points by cosine and by distance, certificates; the same of
            B under ``noise``, with 0 ``attractors`` where all diverged.
    """

    latents: Tensor
    attractors: Tensor
    noise: Tensor | None
    facts: dict[str, Any]

    def tensors(self) -> dict[str, Tensor]:
        """As in ``layout.REFERENCES``."""
        known = {"latents": self.latents, "attractors": self.attractors, "noise_attractors": self.noise}
        return {name: value for name, value in known.items() if value is not None}

    @staticmethod
    def of(tensors: Mapping[str, Tensor], facts: dict[str, Any]) -> "References":
        """The inverse of ``tensors``."""
        return References(tensors["latents"], tensors["attractors"], tensors.get("noise_attractors"), facts)


def starts_of(config: OodConfig, images: int) -> int:
    """The number of starts of the attractors, given so many training images."""
    return min(config.solver.starts, images) * (2 if NOISE_SCORE in config.scores else 1)


def references(
    model: Autoencoder, images: Tensor, config: OodConfig, on_step: OnStep | None = None, solve: Solve = end_points
) -> References:
    """Find the training attractors from images as the model takes them, uint8 (n, c, R, R), and those from noise if a
    score needs them.

    Args:
        on_step: as for ``iterate_batches``.
        solve: iterates the starts, and may know some of their ends.

    Where all starts from noise diverge, the score that needs them is left out.

    Raises:
        UserError: every start from an image diverged; or every start from noise, and no other score is wanted.
    """
    solver, f = config.solver.solver(), _map(model, config)
    z0 = encode(model, images[: config.solver.starts])
    n, starts = len(z0), z0
    if NOISE_SCORE in config.scores:
        starts = torch.cat([z0, gaussian_starts(config.seed, range(n), z0.shape[1:]).to(z0)])
    ends = solve(f, starts, iteration(solver, z0.shape[1:], model.device), on_step)
    attractors, facts = _found(f, model, ends.rows(slice(0, n)), solver)
    diverge = f"all {n} starts{{}} diverge under {model.source}, so there are no attractors to score by"
    if not len(attractors):
        raise UserError(f"{diverge.format('')}; try another model.")
    if len(starts) == n:
        return References(z0.cpu(), attractors, None, facts)
    noise, facts["noise"] = _found(f, model, ends.rows(slice(n, None)), solver)
    if len(noise):
        return References(z0.cpu(), attractors, noise, facts)
    if len(config.scores) == 1:
        raise UserError(f"{diverge.format(' from noise')}; name other scores than {NOISE_SCORE}.")
    return References(z0.cpu(), attractors, None, facts)


def _found(f: LatentMap, model: Autoencoder, ends: EndPoints, solver: SolverConfig) -> tuple[Tensor, dict[str, Any]]:
    """The end points that did not diverge, and the facts of them."""
    points = ends.end[ends.outcome != Outcome.DIVERGED]
    settled = ends.end[ends.outcome == Outcome.CONVERGED]
    merge = distinct(settled, EUCLIDEAN, solver.tolerance)
    certificates = certify_first(f, settled[merge.leader], solver, model.device).attractor
    facts = {
        "starts": len(ends.end),
        "outcomes": ends.counts(),
        "steps": float(ends.steps.double().median()),
        "attractors": len(points),
        "distinct_converged": len(merge.leader),
        "distinct_cosine": len(merge_by_cosine(points, COSINE).leader),
        "examined": len(certificates),
        "certified": int((certificates == YES).sum()),
    }
    return points, facts


class Neighbours:
    """Distance to the K-th nearest training latent (n, ...), n >= 1, by an exact FAISS index (Sun et al. 2022, arXiv
    2204.06507; without their normalisation, so that latents are those of the trajectories)."""

    def __init__(self, training: Tensor):
        import faiss

        flat = training.flatten(1).float().cpu()
        self.centre = flat.mean(0)  # FAISS uses squared norms, which lose the least precision near the origin
        self.index = faiss.IndexFlatL2(flat.shape[1])
        self.index.add(self._rows(flat))

    def __call__(self, z: Tensor, ks: Sequence[int]) -> dict[int, Tensor]:
        """Distances of rows (m, ...) to their K-th nearest, K = min(k, n) for each k; float64 (m,) on the CPU."""
        n = self.index.ntotal
        squares, _ = self.index.search(self._rows(z.flatten(1).float().cpu()), min(max(ks), n))
        distances = torch.from_numpy(squares.astype(np.float64)).clamp(min=0).sqrt()
        return {k: distances[:, min(k, n) - 1].clone() for k in ks}

    def _rows(self, flat: Tensor) -> np.ndarray:
        return np.ascontiguousarray((flat - self.centre).numpy())


class Mahalanobis:
    """Mahalanobis distance to the Gaussian of the training latents (Lee et al. 2018, arXiv 1807.03888, one class).

    The covariance is Ledoit and Wolf's, (1 - s) S + s tr(S)/d I, which is invertible even if d > n. It is never formed:
    with the right singular vectors V of X - mu, its inverse is a multiple of I plus a term in their span. The training
    latents (n, ...), n >= 2, must not all be equal; ``shrinkage`` is s, in [0, 1].
    """

    def __init__(self, training: Tensor):
        x = training.flatten(1).double()
        n, d = x.shape
        self.mean = x.mean(0)
        centred = x - self.mean
        _, singular, self.vectors = torch.linalg.svd(centred, full_matrices=False)
        spectrum = singular.square() / n
        scale = float(spectrum.sum()) / d
        if not scale > 0:
            raise ValueError("training latents that are all equal have no Mahalanobis distance")
        self.shrinkage = _ledoit_wolf(centred, spectrum, scale)
        self.floor = max(self.shrinkage * scale, scale * torch.finfo(torch.float64).eps)
        self.gain = 1 / self.floor - 1 / ((1 - self.shrinkage) * spectrum + self.floor)

    def __call__(self, z: Tensor) -> Tensor:
        """Distances of rows (m, ...), float64 (m,) on the CPU."""
        centred = z.flatten(1).to(self.mean) - self.mean
        along = (centred @ self.vectors.T).square() @ self.gain
        return (centred.square().sum(1) / self.floor - along).clamp(min=0).sqrt().cpu()


def _ledoit_wolf(centred: Tensor, spectrum: Tensor, scale: float) -> float:
    """s (Ledoit and Wolf 2004, Lemma 3.3), from the eigenvalues of S instead of its d x d entries."""
    n, d = centred.shape
    squares = float(spectrum.square().sum())
    distance = (squares - d * scale**2) / d
    noise = (float(centred.square().sum(1).square().sum()) / n - squares) / (n * d)
    return min(noise, distance) / distance if distance > 0 else 0.0


def error_ratio(first: Tensor, second: Tensor) -> Tensor:
    """The errors (n,) of an image's first reconstruction, divided by those of the second against the first.

    An image outside what the model draws loses most in the first pass, and its reconstruction little in the second: a
    projector has infinite ratios, and f(z) = a z with D and E linear has 1 / a^2. 0 where neither pass changes
    anything.
    """
    ratio = first / second
    return torch.where(ratio.isnan(), torch.where(first > 0, torch.inf, 0.0).to(ratio), ratio)


class Scorer:
    """Scores images in batches by the model's training attractors and latents; images do not affect each other."""

    def __init__(self, model: Autoencoder, known: References, config: OodConfig):
        self.model, self.known, self.config = model, known, config
        self.f = _map(model, config)
        self.neighbours = Neighbours(known.latents) if "knn" in config.scores else None
        self.mahalanobis = Mahalanobis(known.latents.to(model.device)) if "mahalanobis" in config.scores else None

    def __call__(self, images: Tensor, on_step: Callable[[int], None] | None = None) -> dict[str, Tensor]:
        """Columns of the table for images as the model takes them, uint8 (n, c, R, R): the configured scores (``knn_K``
        for each K), and ``outcome``, float64 (n,). ``on_step`` gets the number of images whose trajectory has ended."""
        parts = images.split(TOGETHER)
        still = [self._without_steps(part) for part in parts]
        found = {name: torch.cat([one[name] for one in still]) for name in still[0]}
        moving = vars(self._trajectories(parts, on_step))
        names = [name for name in (*self.config.scores, "outcome") if moving.get(name) is not None]
        return {**{name: moving[name] for name in names}, **found}

    @torch.no_grad()
    def _without_steps(self, images: Tensor) -> dict[str, Tensor]:
        model, side = self.model, images.shape[-1]
        x = inputs(model, images)
        z = model.encode(x)
        found = {}
        if self.neighbours:
            found = {f"knn_{k}": values for k, values in self.neighbours(z, self.config.neighbours).items()}
        if self.mahalanobis:
            found["mahalanobis"] = self.mahalanobis(z)
        if {"reconstruction", "reconstruction_ratio"} & {*self.config.scores}:
            found |= self._errors(x, z, side)
        return {name: values.cpu() for name, values in found.items()}

    def _errors(self, x: Tensor, z: Tensor, side: int) -> dict[str, Tensor]:
        """``reconstruction``, and ``reconstruction_ratio`` if it is wanted, of inputs x with latents z = E(x)."""
        low, high = self.model.image_range

        def error(a: Tensor, b: Tensor) -> Tensor:
            difference = (crop(a, side) - crop(b, side)) / (high - low)
            return difference.double().square().flatten(1).mean(1).nan_to_num(nan=torch.inf)

        once = self.model.decode(z)
        first = error(once, x)
        found = {"reconstruction": first, "reconstruction_ratio": first}
        if "reconstruction_ratio" in self.config.scores:
            twice = self.model.decode(self.f(z))  # F(F(x)) = D(E(D(z)))
            found["reconstruction_ratio"] = error_ratio(first, error(twice, once))
        return {name: values for name, values in found.items() if name in self.config.scores}

    def _trajectories(self, parts: tuple[Tensor, ...], on_step: Callable[[int], None] | None) -> Any:
        model, solver = self.model, self.config.solver
        settings = iteration(solver.solver(), self.known.latents.shape[1:], model.device)
        return trajectory_scores(
            Fitting(self.f),
            (encode(model, part) for part in parts),
            self.known.attractors,
            max_steps=solver.max_steps,
            tolerance=solver.tolerance,
            max_norm=solver.max_norm,
            noise=self.known.noise,
            together=settings.batch_size,
            on_step=on_step,
        )


def _map(model: Autoencoder, config: OodConfig) -> LatentMap:
    return LatentMap(model, clamp=config.model.clamp if config.model else False)
