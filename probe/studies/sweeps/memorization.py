"""What one trained model remembers: its attractors from training data, and how close they are to training images
(paper, Section 3).

| symbol | meaning | shape |
|---|---|---|
| x | training images, in [0, 1] | (n, c, s, s) |
| z0 | E(x), the starts | (n, k) |
| z* | distinct end points of z <- E(D(z)), largest basin first | (m, k) |
| mem(z*) | largest cosine of D(z*) and a training image | (m,) |

Networks take images in a black frame where the side is no multiple of 16; errors and cosines are over an image's own
pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.dictionary import merge_by_cosine, merge_by_euclid
from probe.dynamics import Certificates, EndPoints, LatentMap, Outcome
from probe.dynamics.certificate import NO, UNDECIDED, YES
from probe.dynamics.iterate import iterate_batches
from probe.dynamics.memory import Fitting
from probe.metrics.memorization import memorization, noise_images
from probe.metrics.rank import rank_at_variance
from probe.studies.probing.dictionary import certify_points
from probe.studies.probing.end_points import iteration
from probe.studies.sweeps.config import MemorizationConfig
from probe.studies.sweeps.grid import Measured
from probe.training import crop, fitted
from probe.training.images import as_input

TOGETHER = 512
"""Images that are encoded or decoded at once."""
OnStep = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Attractors:
    """Distinct end points of the starts that did not diverge, largest basin first.

    Attributes:
        ends: of every start.
        leader: the start that stands for each (m,).
        basin: starts merged into each (m,).
        cosine: how many there are by cosine instead.
        decoded: D(z*), own pixels, float32 (m, c, s, s) on the CPU.
    """

    ends: EndPoints
    leader: Tensor
    basin: Tensor
    cosine: int
    decoded: Tensor

    @property
    def points(self) -> Tensor:
        """z* (m, k)."""
        return self.ends.end[self.leader]


def measure(
    model: Autoencoder,
    untrained: Autoencoder,
    train: Tensor,
    test: Tensor,
    config: MemorizationConfig,
    *,
    seed: int,
    on_step: OnStep | None = None,
) -> Measured:
    """Find the attractors of a model and measure them.

    Args:
        untrained: the same network before training, for a null level.
        train: the images that it was trained on, uint8 (n, c, s, s).
        test: images that it has not seen, uint8 (m, c, s, s).
        seed: of the noise images.
        on_step: as for ``probe.studies.probing.end_points.solve``.

    Returns:
        Tensors: ``mem``, ``null_*`` and ``test_error`` per attractor or image, ``gallery`` (uint8 pictures).
    """
    found = attractors(model, train[: config.solver.starts], config, on_step)
    certificates = certify(model, found, config)
    before = attractors(untrained, train[: config.solver.starts], config, None)
    rebuilt = reconstruct(model, test)
    nulls = config.measure.nulls
    shown = {
        "mem": found.decoded,
        "null_test": test[:nulls],
        "null_reconstructed": rebuilt[:nulls],
        "null_mean": train.float().mean(0, keepdim=True),
        "null_noise": noise_images(nulls, train.shape[1:], seed=seed),
        "null_untrained": before.decoded,
    }
    tensors = {name: memorization(images, train) for name, images in shown.items()}
    tensors["test_error"] = _error(rebuilt, test)
    tensors["basin"] = found.basin
    tensors["certificate"] = certificates
    tensors["gallery"] = (found.decoded[: config.measure.gallery].clamp(0, 1) * 255).round().to(torch.uint8)
    return Measured(
        values={
            **_counts(found, certificates),
            **{name: _mean(tensors[name]) for name in (*shown, "test_error")},
            "mem_certified": _mean(tensors["mem"][certificates == YES]),
            "train_error": _mean(_error(reconstruct(model, train[: config.solver.starts]), train)),
            "rank": rank_at_variance(found.decoded, config.measure.variance) if len(found.leader) else 0,
        },
        tensors=tensors,
    )


def attractors(model: Autoencoder, images: Tensor, config: MemorizationConfig, on_step: OnStep | None) -> Attractors:
    """Iterate f from the latents of images, uint8 (n, c, s, s), and merge the end points."""
    z0 = _in_parts(lambda part: model.encode(_input(model, part)), images)
    how = iteration(config.solver.solver(), z0.shape[1:], model.device)
    ((_, ends),) = iterate_batches(Fitting(LatentMap(model)), [(None, z0)], how, on_step)
    ends = EndPoints(**{name: value.cpu() for name, value in vars(ends).items()})
    rows = (ends.outcome != Outcome.DIVERGED).nonzero().squeeze(1)
    merge = merge_by_euclid(ends.end[rows], config.measure.euclidean, starts=rows)
    leader = rows[merge.leader]
    decoded = decode(model, ends.end[leader], images.shape[-1])
    by_cosine = len(merge_by_cosine(ends.end[rows], config.measure.cosine, starts=rows).leader)
    return Attractors(ends, leader, merge.basin, by_cosine, decoded)


def certify(model: Autoencoder, found: Attractors, config: MemorizationConfig) -> Tensor:
    """For each distinct end point 1 (attractor), 0 (none), -1 (undecided), or -2 where it was not looked at; (m,)."""
    converged = found.ends.outcome[found.leader] == Outcome.CONVERGED
    verdict = torch.where(converged, NOT_LOOKED_AT, NO).to(torch.int8)
    rows = converged.nonzero().squeeze(1)[: config.solver.certificates]
    if len(rows):
        solver = config.solver.solver()
        certificates: Certificates = certify_points(
            LatentMap(model), found.points[rows].to(model.device), solver=solver
        )
        verdict[rows] = certificates.attractor
    return verdict


NOT_LOOKED_AT = -2


def decode(model: Autoencoder, z: Tensor, side: int) -> Tensor:
    """Latents (m, k) as images of their own side, float32 (m, c, side, side) on the CPU."""
    return _in_parts(lambda part: crop(model.decode(part.to(model.device)), side), z).cpu()


def reconstruct(model: Autoencoder, images: Tensor) -> Tensor:
    """D(E(x)) of images, uint8 (n, c, s, s), as float32 of the same shape on the CPU."""
    side = images.shape[-1]
    return _in_parts(lambda part: crop(model.decode(model.encode(_input(model, part))), side), images).cpu()


def _input(model: Autoencoder, images: Tensor) -> Tensor:
    return as_input(images, fitted(images.shape[-1], model.source), model.device)


@torch.no_grad()
def _in_parts(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    return torch.cat([function(part) for part in rows.split(TOGETHER)])


def _error(rebuilt: Tensor, images: Tensor) -> Tensor:
    """Squared error per image, mean over its own pixels and channels, in [0, 1]; (n,)."""
    return (rebuilt - images[: len(rebuilt)].float() / 255).square().flatten(1).mean(1)


def _mean(values: Tensor) -> float | None:
    """The mean; null where there is nothing to average, or it is not finite."""
    mean = float(values.double().mean()) if len(values) else torch.nan
    return mean if torch.isfinite(torch.tensor(mean)) else None


def _counts(found: Attractors, certificates: Tensor) -> dict[str, Any]:
    ends, converged = found.ends, found.ends.outcome == Outcome.CONVERGED
    looked_at = certificates[certificates != NOT_LOOKED_AT]
    return {
        "starts": len(ends.outcome),
        "outcomes": ends.counts(),
        "steps": float(ends.steps.double().quantile(0.5)),
        "steps_converged": float(ends.steps[converged].double().quantile(0.5)) if converged.any() else None,
        "distinct_cosine": found.cosine,
        "distinct_euclidean": len(found.leader),
        "examined": len(looked_at),
        "certified": int((looked_at == YES).sum()),
        "not_attractors": int((looked_at == NO).sum()),
        "undecided": int((looked_at == UNDECIDED).sum()),
    }
