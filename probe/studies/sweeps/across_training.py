"""Across training (paper, Figure 3): the attractors of successive checkpoints of one model.

The study of this kind trains the model; ``probe checkpoints`` takes checkpoints from a folder.

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

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder, load_autoencoder
from probe.config import Config, SolverConfig
from probe.data.load import ImageSet
from probe.dictionary import merge_by_cosine
from probe.dynamics import EndPoints, Iteration, LatentMap, Outcome, gaussian_starts
from probe.dynamics.field import jacobian_norm
from probe.errors import UserError
from probe.metrics.interval import mean_interval
from probe.metrics.memorization import chamfer_cosine, memorization, nearest_cosine, noise_images, null_levels
from probe.metrics.separation import auroc, fpr95, separation_interval
from probe.names import shown
from probe.studies.field import PRODUCTS
from probe.studies.fixed_points import distinct, end_points
from probe.studies.inputs import as_pictures, decode, drawn, encode, squared_error
from probe.studies.probing.end_points import iteration
from probe.studies.sweeps.grid import Measured, Tell, TrainedModel
from probe.studies.sweeps.kinds import POINTS, AcrossTrainingConfig, AcrossTrainingMeasure
from probe.studies.trajectories import trajectory_scores

STARTS = ("train", "test", "noise", "noise_images")
NOISES = ("noise", "noise_images")
Stored = TypeVar("Stored")
"""A checkpoint before it is loaded."""


@dataclass(frozen=True)
class CheckpointSettings:
    """How checkpoints are measured; ``starts``: of each kind, at most; ``seed``: of the noise."""

    solver: SolverConfig
    starts: int
    measure: AcrossTrainingMeasure
    seed: int = 0


def measure(trained: TrainedModel, config: AcrossTrainingConfig, tell: Tell) -> Measured:
    """Measure every checkpoint of one training, by epoch."""
    return across_training(
        {str(epoch): folder for epoch, folder in trained.checkpoints().items()},
        trained.load,
        trained.train,
        trained.test,
        CheckpointSettings(config.solver.solver(), config.solver.starts, config.measure, trained.cell.seed),
        lambda share, note: tell(share, f"epoch {note}"),
    )


def read_checkpoints(
    folder: Path, config: Config, *, train: str, test: str, memory: int, starts: int, side: int | None
) -> tuple[dict[str, Autoencoder], dict[str, ImageSet]]:
    """The models below a folder by name, in order; up to ``memory`` images ``train`` and ``starts`` images ``test``.

    Raises:
        UserError: there are no models, or as ``load_autoencoder`` and ``drawn``.
    """
    found = sorted(file.parent for file in folder.glob("*/config.json"))
    if not found:
        raise UserError(f"{folder} has no subfolder with a config.json; give the folder that contains the checkpoints.")
    models = {shown(one.name): load_autoencoder(config.model.model_copy(update={"source": str(one)})) for one in found}
    first = next(iter(models.values()))
    side = side or first.side or config.resolution
    return models, {"train": drawn(first, train, memory, side), "test": drawn(first, test, starts, side)}


def measure_read(
    models: Mapping[str, Autoencoder],
    images: Mapping[str, ImageSet],
    config: Config,
    starts: int,
    load: Callable[[Autoencoder], Autoencoder],
    tell: Tell,
) -> Measured:
    """``across_training`` of what ``read_checkpoints`` returns; the values also say which ``images`` and ``solver``."""
    merge = AcrossTrainingMeasure(cosine=config.dictionary.cosine, euclidean=config.dictionary.euclidean)
    settings = CheckpointSettings(config.solver, starts, merge, config.seeds.seed)
    found = across_training(models, load, images["train"].images, images["test"].images, settings, tell)
    about = {name: {"source": one.source, "sha256": one.sha256, "n": len(one.ids)} for name, one in images.items()}
    return Measured({"images": about, "solver": config.solver.model_dump(), **found.values}, found.tensors)


def most_evaluations(train: int, test: int, *, solver: SolverConfig, starts: int) -> int:
    """Approximate upper bound on the evaluations of f (one row each) in ``measure_checkpoint``.

    Every start is followed twice: to its end point, and past the end points of the training starts.

    Args:
        train, test: numbers of images.
    """
    of_kinds = [min(train, starts), min(test, starts), starts, starts]
    return sum(2 * (solver.max_steps + 1) * n + PRODUCTS * min(n, POINTS) for n in of_kinds)


def across_training(
    checkpoints: Mapping[str, Stored],
    load: Callable[[Stored], Autoencoder],
    train: Tensor,
    test: Tensor,
    settings: CheckpointSettings,
    tell: Tell = lambda share, note: None,
) -> Measured:
    """Measure checkpoints in order, one loaded at a time; starts are equal as far as the encoders agree.

    Returns:
        ``checkpoints``: by name, the values of ``measure_checkpoint``. Tensors: its samples as ``NAME.SAMPLE``, and the
        ``images`` where those of ``NAME.film`` started.
    """
    records: dict[str, Any] = {}
    tensors = {"images": train[: min(settings.starts, settings.measure.film)]}
    for name, stored in checkpoints.items():

        def on_part(part: str, share: float = len(records) / len(checkpoints), name: str = name) -> None:
            tell(share, f"{name}, {part}")

        found = measure_checkpoint(load(stored), train, test, settings, on_part)
        records[name] = found.values
        tensors |= {f"{name}.{sample}": values for sample, values in found.tensors.items()}
    return Measured({"checkpoints": records}, tensors)


def measure_checkpoint(
    model: Autoencoder,
    train: Tensor,
    test: Tensor,
    settings: CheckpointSettings,
    on_part: Callable[[str], None] = lambda part: None,
) -> Measured:
    """Measure one checkpoint.

    Args:
        train: the images that the model was trained on, uint8 (n, c, s, s). test: unseen images.
        on_part: called with the name of each part when it starts.

    Returns:
        Values: ``distinct``: for each kind the share of starts with distinct end points, by ``cosine`` (paper; mean and
        interval over starts, see above) and ``euclidean``, and ``outcomes``. ``mem``: mean and interval over distinct
        end points of training starts; ``nulls``: the same for unseen images and for noise. ``train_error``,
        ``test_error``: squared error with an interval over images. ``chamfer``: similarity of each other kind's
        distinct end points to those of training starts. ``separation``: for each noise ``fpr95`` and ``auroc`` of its
        scores against those of training starts, and of test starts, whose own attractors are not among the references.
        ``spectral_norm``: of J_f at the starts of each kind, median and mean with interval. Null if unavailable.

        Tensors: the samples behind the means, float64 (n,) on the CPU, empty if there are none: ``share_KIND`` (by
        cosine), ``mem``, ``null_unseen``, ``null_noise``, ``train_error``, ``test_error``, ``score_KIND``,
        ``norm_KIND``; ``to_KIND`` (each of A(train) to A(KIND)) and ``from_KIND`` (back), whose two means average to
        the Chamfer similarity. ``film``: D of the end points of the first training starts, uint8 (n, c, s, s).
    """
    solver, starts, measured = settings.solver, settings.starts, settings.measure
    f, side = LatentMap(model), train.shape[-1]
    noise = noise_images(starts, train.shape[1:], seed=settings.seed)
    z0 = _starts(model, train[:starts], test[:starts], noise, settings.seed)
    loop = iteration(solver, z0["train"].shape[1:], model.device)

    def told(what: str) -> Iterator[tuple[str, Tensor]]:
        for kind, z in z0.items():
            on_part(f"{what} of {kind}")
            yield kind, z

    ends = {kind: end_points(f, z, loop) for kind, z in told("end points")}
    apart = {kind: _distinct(found, measured.euclidean, solver.tolerance) for kind, found in ends.items()}
    shown = decode(model, apart["train"], side) if len(apart["train"]) else train[:0].float()
    samples = {
        **{f"share_{kind}": _shares(ended, measured.cosine) for kind, ended in ends.items()},
        "mem": memorization(shown, train),
        **{f"null_{name}": level for name, level in null_levels(train, unseen=test, noise=noise).items()},
        **{
            f"{kind}_error": squared_error(decode(model, z0[kind], side), images[:starts])
            for kind, images in (("train", train), ("test", test))
        },
        **{name: one for kind in STARTS[1:] for name, one in _nearest(apart["train"], apart[kind], kind).items()},
        **{f"score_{kind}": _scores(f, z, apart["train"], loop) for kind, z in told("trajectories")},
        **{
            f"norm_{kind}": jacobian_norm(f, z[: measured.points], loop.batch_size)
            for kind, z in told("norms of the Jacobian")
        },
    }
    samples = {name: one.double().cpu() for name, one in samples.items()}
    film = as_pictures(decode(model, ends["train"].end[: measured.film], side))
    return Measured(_values(samples, ends, apart), {**samples, "film": film})


def _values(
    samples: Mapping[str, Tensor], ends: Mapping[str, EndPoints], apart: Mapping[str, Tensor]
) -> dict[str, Any]:
    def mean(name: str) -> Any:
        return _interval(samples[name])

    return {
        "distinct": {
            kind: {
                "cosine": mean(f"share_{kind}"),
                "euclidean": len(apart[kind]) / len(ends[kind].outcome),
                "outcomes": ends[kind].counts(),
            }
            for kind in STARTS
        },
        "mem": mean("mem"),
        "nulls": {name: mean(f"null_{name}") for name in ("unseen", "noise")},
        "train_error": mean("train_error"),
        "test_error": mean("test_error"),
        "chamfer": {
            kind: chamfer_cosine(apart["train"], apart[kind]) if len(samples[f"to_{kind}"]) else None
            for kind in STARTS[1:]
        },
        "separation": {noise: _separation(samples, noise) for noise in NOISES},
        "spectral_norm": {kind: _norms(samples[f"norm_{kind}"]) for kind in STARTS},
    }


def _starts(model: Autoencoder, train: Tensor, test: Tensor, noise: Tensor, seed: int) -> dict[str, Tensor]:
    images = {"train": train, "test": test, "noise_images": as_pictures(noise)}
    latents = {kind: encode(model, one) for kind, one in images.items()}
    z = latents["train"]
    latents["noise"] = gaussian_starts(seed, range(len(noise)), z.shape[1:]).to(z)
    return {kind: latents[kind] for kind in STARTS}


def _distinct(ends: EndPoints, euclidean: float, tolerance: float) -> Tensor:
    """End points that did not diverge, merged by distance (m, ...)."""
    points = ends.end[ends.outcome != Outcome.DIVERGED]
    return points[distinct(points, euclidean, tolerance).leader]


def _shares(ends: EndPoints, cosine: float) -> Tensor:
    """share(z) of each start, by cosine; end points at the origin have no direction and count as one (n,)."""
    rows = (ends.outcome != Outcome.DIVERGED).nonzero().squeeze(1)
    merge = merge_by_cosine(ends.end[rows], cosine)
    _, basin, sizes = merge.member.unique(return_inverse=True, return_counts=True)
    share = torch.zeros(len(ends.outcome), dtype=torch.float64)
    share[rows] = 1 / sizes[basin].double()
    return share


def _nearest(train: Tensor, other: Tensor, kind: str) -> dict[str, Tensor]:
    there = len(train) and len(other)
    return {
        f"to_{kind}": nearest_cosine(train, other) if there else torch.empty(0),
        f"from_{kind}": nearest_cosine(other, train) if there else torch.empty(0),
    }


def _scores(f: LatentMap, z: Tensor, reference: Tensor, loop: Iteration) -> Tensor:
    if not len(reference):
        return torch.empty(0)
    return trajectory_scores(
        f,
        z,
        reference,
        max_steps=loop.max_steps,
        tolerance=loop.tolerance,
        max_norm=loop.max_norm,
        together=loop.batch_size,
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


def _norms(norms: Tensor) -> dict[str, Any] | None:
    known = norms[norms.isfinite()]
    return {"median": float(known.median()), **_interval(known)} if len(known) else None


def _interval(values: Tensor) -> Any:
    return mean_interval(values.numpy()).as_json() if len(values) else None
