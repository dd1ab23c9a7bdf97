"""Across training (paper, Figure 3): the attractors of successive checkpoints of one model.

| symbol | meaning | shape |
|---|---|---|
| kind | source of the starts: latents of training or test images, N(0, I), latents of noise images | |
| A | distinct end points of the starts of a kind | (m, d) |
| score(z) | mean distance to the nearest point of A(train) along the trajectory of z | (n,) |
| share(z) | 1 / number of starts of the kind with the same end point as z; 0 if z diverged | (n,) |

The sum of share(z) is the number of distinct end points. Its mean over starts is therefore their share of the starts,
with a confidence interval over starts (for the end points found; it says nothing about end points not yet found).

There are two kinds of noise because a latent space need not be close to N(0, I), and the results depend on the choice.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.config import DictionaryConfig, SolverConfig
from probe.dictionary import merge_by_cosine
from probe.dynamics import EndPoints, Iteration, LatentMap, Outcome, gaussian_starts
from probe.dynamics.field import jacobian_norm
from probe.metrics.interval import mean_interval
from probe.metrics.memorization import chamfer_cosine, memorization, nearest_cosine, noise_images, null_levels
from probe.metrics.separation import auroc, fpr95, separation_interval
from probe.studies.field import PRODUCTS
from probe.studies.fixed_points import distinct, end_points
from probe.studies.inputs import as_pictures, decode, encode
from probe.studies.probing.end_points import iteration
from probe.studies.sweeps.config import GridConfig, MergeConfig, PlainSolverConfig
from probe.studies.sweeps.grid import Measured, Tell, TrainedModel
from probe.studies.trajectories import trajectory_scores

STARTS = ("train", "test", "noise", "noise_images")
NOISES = ("noise", "noise_images")
POINTS = 64
OnPart = Callable[[str], None]


class AcrossTrainingMeasure(MergeConfig):
    """What is measured of each checkpoint."""

    points: int = Field(
        POINTS, ge=1, le=10**8, description="starts of each kind at which the spectral norm of J_f is computed"
    )
    film: int = Field(10, ge=1, le=10_000, description="training images whose decoded end points are kept as pictures")


class AcrossTrainingConfig(GridConfig):
    """The checkpoints of each model, including the untrained network (Figure 3); k has one value."""

    study: Literal["across_training"] = Field(description="the kind of study")
    solver: PlainSolverConfig = Field(PlainSolverConfig(), description="the iteration, from starts of four kinds")
    measure: AcrossTrainingMeasure = Field(AcrossTrainingMeasure(), description="what is measured of each checkpoint")

    @model_validator(mode="after")
    def _checkpoints(self) -> "AcrossTrainingConfig":
        if len(self.k) > 1:
            raise ValueError("an across_training study varies the epoch; give k one value")
        if self.training.checkpoint_every is None or self.training.checkpoint_every >= self.training.epochs:
            raise ValueError("an across_training study needs training.checkpoint_every, below training.epochs")
        return self


@dataclass(frozen=True)
class Checkpoint:
    """What was measured of one checkpoint.

    Attributes:
        values: see ``measure_checkpoint``.
        film: D of the end points of the first training starts, uint8 (n, c, s, s).
        samples: the samples behind the means, float64 (n,) on the CPU, empty if there are none: ``share_KIND`` (by
            cosine), ``mem``, ``null_unseen``, ``null_noise``, ``train_error``, ``test_error``, ``score_KIND``,
            ``norm_KIND``; ``to_KIND`` (each of A(train) to A(KIND)) and ``from_KIND`` (back), whose two means average
            to the Chamfer similarity.
    """

    values: dict[str, Any]
    film: Tensor
    samples: dict[str, Tensor]


def measure(trained: TrainedModel, config: AcrossTrainingConfig, tell: Tell) -> Measured:
    """Measure every checkpoint of one training.

    Returns:
        ``checkpoints``: by epoch, the values of ``measure_checkpoint``. Tensors: the samples as ``EPOCH.NAME``, the
        decoded end points as ``EPOCH.film``, and the ``images`` where these started.
    """
    checkpoints = trained.checkpoints()
    course = across_training(
        ((str(epoch), trained.load(folder)) for epoch, folder in checkpoints.items()),
        trained.train,
        trained.test,
        solver=config.solver.solver(),
        dictionary=config.measure.dictionary(),
        starts=config.solver.starts,
        points=config.measure.points,
        film=config.measure.film,
        seed=trained.cell.seed,
    )
    records: dict[str, Any] = {}
    tensors = {"images": trained.train[: config.measure.film]}
    for epoch, found in course:
        records[epoch] = found.values
        tensors |= {f"{epoch}.{name}": one for name, one in {**found.samples, "film": found.film}.items()}
        tell(len(records) / len(checkpoints), f"{len(records)} of {len(checkpoints)} checkpoints")
    return Measured({"checkpoints": records}, tensors)


def across_training(
    checkpoints: Iterable[tuple[str, Autoencoder]],
    train: Tensor,
    test: Tensor,
    *,
    on_part: OnPart = lambda part: None,
    **settings: Any,
) -> Iterator[tuple[str, Checkpoint]]:
    """``measure_checkpoint`` for each model, in order; starts are equal as far as the encoders agree."""
    for name, model in checkpoints:

        def tell(part: str, name: str = name) -> None:
            on_part(f"{name}, {part}")

        yield name, measure_checkpoint(model, train, test, on_part=tell, **settings)


def most_evaluations(train: int, test: int, *, solver: SolverConfig, starts: int, points: int = POINTS) -> int:
    """Approximate upper bound on the evaluations of f (one row each) in ``measure_checkpoint``.

    Every start is followed twice: to its end point, and past the end points of the training starts.

    Args:
        train, test: numbers of images. starts, points: as for ``measure_checkpoint``.
    """
    of_kinds = [min(train, starts), min(test, starts), starts, starts]
    return sum(2 * (solver.max_steps + 1) * n + PRODUCTS * min(n, points) for n in of_kinds)


def measure_checkpoint(
    model: Autoencoder,
    train: Tensor,
    test: Tensor,
    *,
    solver: SolverConfig,
    dictionary: DictionaryConfig,
    starts: int = 500,
    points: int = POINTS,
    film: int = 10,
    seed: int = 0,
    on_part: OnPart = lambda part: None,
) -> Checkpoint:
    """Measure one checkpoint from up to ``starts`` starts of each kind.

    Args:
        train: the images that the model was trained on, uint8 (n, c, s, s). test: unseen images.
        points: starts of each kind at which the spectral norm is computed.
        film: training starts whose decoded end points are kept.
        seed: of the noise.
        on_part: called with the name of each part when it starts.

    Returns:
        ``distinct``: for each kind the share of starts with distinct end points, by ``cosine`` (paper; mean and
        interval over starts, see above) and ``euclidean``, and ``outcomes``. ``mem``: mean and interval over distinct
        end points of training starts; ``nulls``: the same for unseen images and for noise. ``train_error``,
        ``test_error``: squared error with an interval over images. ``chamfer``: similarity of each other kind's
        distinct end points to those of training starts. ``separation``: for each noise ``fpr95`` and ``auroc`` of its
        scores against those of training starts, and of test starts, whose own attractors are not among the references.
        ``spectral_norm``: of J_f at the starts of each kind, median and mean with interval. Null if unavailable.
    """
    f = LatentMap(model)
    z0 = _starts(model, train[:starts], test[:starts], starts, seed)
    settings = iteration(solver, z0["train"].shape[1:], model.device)

    def told(what: str) -> Iterator[tuple[str, Tensor]]:
        for kind, z in z0.items():
            on_part(f"{what} of {kind}")
            yield kind, z

    ends = {kind: end_points(f, z, settings) for kind, z in told("end points")}
    apart = {kind: _distinct(found, dictionary, solver) for kind, found in ends.items()}
    found = {
        **{f"share_{kind}": _shares(ended, dictionary.cosine) for kind, ended in ends.items()},
        **_memorization(model, apart["train"], train, test, starts, seed),
        "train_error": _error(model, train[:starts], z0["train"]),
        "test_error": _error(model, test[:starts], z0["test"]),
        **{name: one for kind in STARTS[1:] for name, one in _nearest(apart["train"], apart[kind], kind).items()},
        **{f"score_{kind}": _scores(f, z, apart["train"], settings) for kind, z in told("trajectories")},
        **{
            f"norm_{kind}": jacobian_norm(f, z[:points], settings.batch_size)
            for kind, z in told("norms of the Jacobian")
        },
    }
    samples = {name: one.double().cpu() for name, one in found.items()}
    strip = as_pictures(decode(model, ends["train"].end[:film], train.shape[-1]))
    return Checkpoint(_values(samples, ends, apart), strip, samples)


def _values(samples: Mapping[str, Tensor], ends: Mapping[str, EndPoints], apart: Mapping[str, Tensor]) -> Any:
    """The summaries that ``measure_checkpoint`` returns."""
    return {
        "distinct": {
            kind: {
                "cosine": _interval(samples[f"share_{kind}"]),
                "euclidean": len(apart[kind]) / len(ends[kind].outcome),
                "outcomes": ends[kind].counts(),
            }
            for kind in STARTS
        },
        "mem": _interval(samples["mem"]),
        "nulls": {name: _interval(samples[f"null_{name}"]) for name in ("unseen", "noise")},
        "train_error": _interval(samples["train_error"]),
        "test_error": _interval(samples["test_error"]),
        "chamfer": {
            kind: chamfer_cosine(apart["train"], apart[kind]) if len(samples[f"to_{kind}"]) else None
            for kind in STARTS[1:]
        },
        "separation": {noise: _separation(samples, noise) for noise in NOISES},
        "spectral_norm": {kind: _norms(samples[f"norm_{kind}"]) for kind in STARTS},
    }


def _starts(model: Autoencoder, train: Tensor, test: Tensor, n: int, seed: int) -> dict[str, Tensor]:
    noise = as_pictures(noise_images(n, train.shape[1:], seed=seed))
    images = {"train": train, "test": test, "noise_images": noise}
    latents = {kind: encode(model, one, model.side or train.shape[-1]) for kind, one in images.items()}
    shape = latents["train"].shape[1:]
    latents["noise"] = gaussian_starts(seed, range(n), shape).to(latents["train"])
    return {kind: latents[kind] for kind in STARTS}


def _distinct(ends: EndPoints, dictionary: DictionaryConfig, solver: SolverConfig) -> Tensor:
    """End points that did not diverge, merged by distance (m, ...)."""
    points = ends.end[ends.outcome != Outcome.DIVERGED]
    return points[distinct(points, dictionary.euclidean, solver.tolerance).leader]


def _shares(ends: EndPoints, cosine: float) -> Tensor:
    """share(z) of each start, by cosine; end points at the origin have no direction and count as one (n,)."""
    rows = (ends.outcome != Outcome.DIVERGED).nonzero().squeeze(1)
    merge = merge_by_cosine(ends.end[rows], cosine)
    _, basin, sizes = merge.member.unique(return_inverse=True, return_counts=True)
    share = torch.zeros(len(ends.outcome), dtype=torch.float64)
    share[rows] = 1 / sizes[basin].double()
    return share


def _memorization(
    model: Autoencoder, points: Tensor, train: Tensor, test: Tensor, n: int, seed: int
) -> dict[str, Tensor]:
    shown = decode(model, points, train.shape[-1]) if len(points) else train[:0].float()
    nulls = null_levels(train, unseen=test, noise=noise_images(n, train.shape[1:], seed=seed))
    return {"mem": memorization(shown, train), **{f"null_{name}": level for name, level in nulls.items()}}


def _nearest(train: Tensor, other: Tensor, kind: str) -> dict[str, Tensor]:
    there = len(train) and len(other)
    return {
        f"to_{kind}": nearest_cosine(train, other) if there else torch.empty(0),
        f"from_{kind}": nearest_cosine(other, train) if there else torch.empty(0),
    }


def _scores(f: LatentMap, z: Tensor, reference: Tensor, settings: Iteration) -> Tensor:
    if not len(reference):
        return torch.empty(0)
    return trajectory_scores(
        f,
        z,
        reference,
        max_steps=settings.max_steps,
        tolerance=settings.tolerance,
        max_norm=settings.max_norm,
        together=settings.batch_size,
    ).trajectory


def _separation(samples: Mapping[str, Tensor], noise: str) -> dict[str, Any] | None:
    scores = {kind: samples[f"score_{kind}"].numpy() for kind in STARTS}
    if not len(scores["train"]):
        return None
    return {
        f"{name}_{inside}": separation_interval(metric, scores[inside], scores[noise], higher="out").as_json()
        for name, metric in (("fpr95", fpr95), ("auroc", auroc))
        for inside in ("train", "test")
    }


def _error(model: Autoencoder, images: Tensor, z: Tensor) -> Tensor:
    """Squared error of D(E(x)) per image, mean over its own pixels and channels, in [0, 1]; (n,)."""
    return (decode(model, z, images.shape[-1]) - images.float() / 255).square().flatten(1).mean(1)


def _norms(norms: Tensor) -> dict[str, Any] | None:
    known = norms[norms.isfinite()]
    return {"median": float(known.median()), **_interval(known)} if len(known) else None


def _interval(values: Tensor) -> Any:
    return mean_interval(values.numpy()).as_json() if len(values) else None
