"""Training attractors, and the scores of images: one row per image; higher means more out-of-distribution.

| symbol | meaning | shape |
|---|---|---|
| z0 | E(x), of an image x | (n, ...) |
| A | end points of the training images' latents | (m, ...) |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.dictionary import merge_by_cosine
from probe.dynamics import EndPoints, Iteration, LatentMap, Outcome
from probe.dynamics.certificate import YES
from probe.dynamics.iterate import Map
from probe.dynamics.memory import Fitting
from probe.errors import UserError
from probe.studies.fixed_points import certify_first, distinct, end_points
from probe.studies.inputs import TOGETHER, encode, inputs
from probe.studies.ood.baselines import Mahalanobis, Neighbours
from probe.studies.ood.config import OodConfig
from probe.studies.probing.end_points import OnStep, iteration
from probe.studies.trajectories import trajectory_scores
from probe.training import crop

Solve = Callable[[Map, Tensor, Iteration, OnStep | None], EndPoints]
COSINE, EUCLIDEAN = 0.99, 0.05
"""Cosine, and distance relative to the root mean square norm, at which end points count as one attractor."""


@dataclass(frozen=True)
class References:
    """Latents and attractors of the training images.

    Attributes:
        latents: z0 of the first ``solver.starts`` images (n, ...).
        attractors: end points A of the starts that did not diverge (m, ...), not merged.
        facts: starts, outcomes, median steps, distinct end points by cosine and by distance, certificates.
    """

    latents: Tensor
    attractors: Tensor
    facts: dict[str, Any]


def side_of(model: Autoencoder, resolution: int) -> int:
    """The side of the model's input: the resolution, or the only side that it takes."""
    return model.side or resolution


def references(
    model: Autoencoder, images: Tensor, config: OodConfig, on_step: OnStep | None = None, solve: Solve = end_points
) -> References:
    """Find the training attractors.

    Args:
        images: training images as the model takes them, uint8 (n, c, R, R).
        on_step: as for ``probe.studies.probing.end_points.solve``.
        solve: iterates the starts, and may know some of their ends.

    Raises:
        UserError: every start diverged.
    """
    solver, f = config.solver.solver(), _map(model, config)
    z0 = encode(model, images[: config.solver.starts], side_of(model, images.shape[-1]))
    ends = solve(f, z0, iteration(solver, z0.shape[1:], model.device), on_step)
    points = ends.end[ends.outcome != Outcome.DIVERGED]
    if not len(points):
        raise UserError(
            f"all {len(z0)} starts diverge under {model.source}, so there are no attractors to score by; try another "
            "model."
        )
    settled = ends.end[ends.outcome == Outcome.CONVERGED]
    merge = distinct(settled, EUCLIDEAN, solver.tolerance)
    certificates = certify_first(f, settled[merge.leader], solver, model.device).attractor
    facts = {
        "starts": len(z0),
        "outcomes": ends.counts(),
        "steps": float(ends.steps.double().median()),
        "attractors": len(points),
        "distinct_converged": len(merge.leader),
        "distinct_cosine": len(merge_by_cosine(points, COSINE).leader),
        "examined": len(certificates),
        "certified": int((certificates == YES).sum()),
    }
    return References(z0.cpu(), points, facts)


class Scorer:
    """Scores images in batches; the scores of an image do not depend on the other images.

    Args:
        model: the autoencoder.
        known: its training attractors and latents.
        config: the scores, and the iteration.
    """

    def __init__(self, model: Autoencoder, known: References, config: OodConfig):
        self.model, self.known, self.config = model, known, config
        self.f = _map(model, config)
        self.neighbours = Neighbours(known.latents) if "knn" in config.scores else None
        self.mahalanobis = Mahalanobis(known.latents.to(model.device)) if "mahalanobis" in config.scores else None

    def __call__(self, images: Tensor, on_step: Callable[[int], None] | None = None) -> dict[str, Tensor]:
        """Columns of the table, float64 (n,) each: the configured scores (``knn_K`` for each K), and ``outcome``.

        Args:
            images: as the model takes them, uint8 (n, c, R, R).
            on_step: called with the number of images whose trajectory has ended.
        """
        parts = images.split(TOGETHER)
        still = [self._without_steps(part) for part in parts]
        found = {name: torch.cat([one[name] for one in still]) for name in still[0]}
        moving = vars(self._trajectories(parts, on_step))
        return {**{name: moving[name] for name in (*self.config.scores, "outcome") if name in moving}, **found}

    @torch.no_grad()
    def _without_steps(self, images: Tensor) -> dict[str, Tensor]:
        model, side = self.model, images.shape[-1]
        x = inputs(model, images, side_of(model, side))
        z = model.encode(x)
        found = {}
        if self.neighbours:
            found = {f"knn_{k}": values for k, values in self.neighbours(z, self.config.neighbours).items()}
        if self.mahalanobis:
            found["mahalanobis"] = self.mahalanobis(z)
        if "reconstruction" in self.config.scores:
            low, high = model.image_range
            error = (crop(model.decode(z), side) - crop(x, side)) / (high - low)
            found["reconstruction"] = error.double().square().flatten(1).mean(1).nan_to_num(nan=torch.inf).cpu()
        return found

    def _trajectories(self, parts: tuple[Tensor, ...], on_step: Callable[[int], None] | None) -> Any:
        model, solver = self.model, self.config.solver
        settings = iteration(solver.solver(), self.known.latents.shape[1:], model.device)
        return trajectory_scores(
            Fitting(self.f),
            (encode(model, part, side_of(model, part.shape[-1])) for part in parts),
            self.known.attractors,
            max_steps=solver.max_steps,
            tolerance=solver.tolerance,
            max_norm=solver.max_norm,
            together=settings.batch_size,
            on_step=on_step,
        )


def _map(model: Autoencoder, config: OodConfig) -> LatentMap:
    return LatentMap(model, clamp=config.model.clamp if config.model else False)
