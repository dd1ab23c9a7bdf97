"""What trained models memorize: their attractors from training data, and how close these are to training images
(paper, Section 3); kinds ``bottleneck`` (Figures 2, 13) and ``training_size`` (Figure 14).

| symbol | meaning | shape |
|---|---|---|
| x | training images, in [0, 1] | (n, c, s, s) |
| z0 | E(x), the starts | (n, k) |
| z* | distinct end points of z <- E(D(z)), largest basin first | (m, k) |
| mem(z*) | largest cosine between D(z*) and a training image | (m,) |

Images are padded with black to a multiple of 16 for the network; errors and cosines use the image's own pixels only.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.dictionary import merge_by_cosine, merge_by_euclid
from probe.dynamics import EndPoints, LatentMap, Outcome
from probe.dynamics.certificate import NO, UNDECIDED, YES
from probe.metrics.memorization import memorization, noise_images
from probe.metrics.sets import rank_at_variance
from probe.studies.fixed_points import certify_first, end_points, finite_or_none
from probe.studies.inputs import as_pictures, decode, encode, squared_error
from probe.studies.probing.end_points import OnStep, iteration
from probe.studies.sweeps.grid import Measured, Tell, TrainedModel
from probe.studies.sweeps.kinds import MemorizationConfig

TOGETHER = 512
"""Images encoded at once."""
NOT_EXAMINED = -2
"""Code of an end point without certificate, beside those of ``Certificates.attractor``."""


@dataclass(frozen=True)
class Attractors:
    """Distinct end points of the starts that did not diverge, largest basin first.

    Attributes:
        ends: of every start.
        leader: the start that represents each distinct end point (m,).
        basin: starts merged into each (m,).
        cosine: the number of distinct end points by cosine instead of distance.
        decoded: D(z*), own pixels, float32 (m, c, s, s) on the CPU.
    """

    ends: EndPoints
    leader: Tensor
    basin: Tensor
    cosine: int
    decoded: Tensor


def measure(trained: TrainedModel, config: MemorizationConfig, tell: Tell) -> Measured:
    """Find the attractors of a trained model and measure them.

    Returns:
        Tensors: ``mem``, ``null_*`` and ``test_error`` per attractor or image, ``gallery`` (uint8 pictures).
    """
    model, train, test = trained.load(), trained.train, trained.test
    starts = train[: config.solver.starts]

    def on_step(ended: int, running: int, part: float) -> None:
        tell((ended + part) / len(starts), f"{running} running")

    found = attractors(model, starts, config, on_step)
    certificates = _certify(model, found, config)
    rebuilt, nulls = _reconstruct(model, test), config.measure.nulls
    shown = {
        "mem": found.decoded,
        "null_test": test[:nulls],
        "null_reconstructed": rebuilt[:nulls],
        "null_mean": train.float().mean(0, keepdim=True),
        "null_noise": noise_images(nulls, train.shape[1:], seed=trained.cell.seed),
        "null_untrained": attractors(trained.untrained(), starts, config).decoded,
    }
    tensors = {name: memorization(images, train) for name, images in shown.items()}
    tensors |= {"test_error": squared_error(rebuilt, test), "basin": found.basin, "certificate": certificates}
    tensors["gallery"] = as_pictures(found.decoded[: config.measure.gallery])
    return Measured(
        values={
            **_counts(found, certificates),
            **{name: _mean(tensors[name]) for name in (*shown, "test_error")},
            "mem_certified": _mean(tensors["mem"][certificates == YES]),
            "train_error": _mean(squared_error(_reconstruct(model, starts), starts)),
            "rank": rank_at_variance(found.decoded, config.measure.variance) if len(found.leader) else 0,
        },
        tensors=tensors,
    )


def attractors(
    model: Autoencoder, images: Tensor, config: MemorizationConfig, on_step: OnStep | None = None
) -> Attractors:
    """Iterate f from the latents of images, uint8 (n, c, s, s), and merge the end points."""
    z0 = _encode(model, images)
    settings = iteration(config.solver.solver(), z0.shape[1:], model.device)
    ends = end_points(LatentMap(model), z0, settings, on_step)
    rows = (ends.outcome != Outcome.DIVERGED).nonzero().squeeze(1)
    merge = merge_by_euclid(ends.end[rows], config.measure.euclidean, starts=rows)
    leader = rows[merge.leader]
    decoded = decode(model, ends.end[leader], images.shape[-1])
    by_cosine = len(merge_by_cosine(ends.end[rows], config.measure.cosine, starts=rows).leader)
    return Attractors(ends, leader, merge.basin, by_cosine, decoded)


def _certify(model: Autoencoder, found: Attractors, config: MemorizationConfig) -> Tensor:
    """For each distinct end point 1 (attractor), 0 (not one), -1 (undecided), or -2 (not examined); int8 (m,)."""
    converged = found.ends.outcome[found.leader] == Outcome.CONVERGED
    verdict = torch.where(converged, NOT_EXAMINED, NO).to(torch.int8)
    points = found.ends.end[found.leader[converged]]
    certificates = certify_first(LatentMap(model), points, config.solver.solver(), model.device)
    verdict[converged.nonzero().squeeze(1)[: len(certificates.attractor)]] = certificates.attractor
    return verdict


def _encode(model: Autoencoder, images: Tensor) -> Tensor:
    return encode(model, images, together=TOGETHER)


def _reconstruct(model: Autoencoder, images: Tensor) -> Tensor:
    """D(E(x)) of images, uint8 (n, c, s, s), as float32 of the same shape on the CPU."""
    return decode(model, _encode(model, images), images.shape[-1], TOGETHER)


def _mean(values: Tensor) -> Any:
    return finite_or_none(values.double().mean())  # the mean of no values is NaN


def _counts(found: Attractors, certificates: Tensor) -> dict[str, Any]:
    ends, converged = found.ends, found.ends.outcome == Outcome.CONVERGED
    examined = certificates[certificates != NOT_EXAMINED]
    return {
        "starts": len(ends.outcome),
        "outcomes": ends.counts(),
        "steps": float(ends.steps.double().quantile(0.5)),
        "steps_converged": float(ends.steps[converged].double().quantile(0.5)) if converged.any() else None,
        "distinct_cosine": found.cosine,
        "distinct_euclidean": len(found.leader),
        "examined": len(examined),
        "certified": int((examined == YES).sum()),
        "not_attractors": int((examined == NO).sum()),
        "undecided": int((examined == UNDECIDED).sum()),
    }
