"""Across training (paper, Figure 3): the attractors of successive checkpoints of one model.

| symbol | meaning | shape |
|---|---|---|
| kind | where starts come from: latents of training and test images, N(0, I), latents of noise images | |
| A | distinct end points of the starts of a kind | (m, d) |
| score(z) | mean over z's trajectory of the distance to the nearest of A(train) | (n,) |
| share(z) | 1 / number of the kind's starts that end where z ends, 0 where z diverged | (n,) |

The sum of share(z) is the number of distinct end points: their share of the starts is a mean over starts, and has an
interval as such (for the end points that were found: what further starts would find, it does not know).

Noise comes in two kinds, since a latent space need not be near N(0, I), and what is found then depends on the choice.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.config import DictionaryConfig, SolverConfig
from probe.dictionary import merge_by_cosine
from probe.dynamics import EndPoints, Iteration, LatentMap, Outcome, gaussian_starts
from probe.dynamics.field import jacobian_norm
from probe.metrics.chamfer import chamfer_cosine
from probe.metrics.interval import mean_interval
from probe.metrics.memorization import memorization, noise_images, null_levels
from probe.metrics.nearest import nearest_cosine
from probe.metrics.separation import auroc, fpr95, separation_interval
from probe.studies.fixed_points import distinct, end_points
from probe.studies.inputs import encode
from probe.studies.probing.end_points import iteration
from probe.studies.sweeps.memorization import decode
from probe.studies.trajectories import trajectory_scores

KINDS = ("train", "test", "noise", "noise_images")
NOISES = ("noise", "noise_images")
POINTS = 64
PRODUCTS = 70
"""Evaluations of f that the spectral norm at a point takes at most."""
OnPart = Callable[[str], None]


@dataclass(frozen=True)
class Checkpoint:
    """What was measured of one checkpoint.

    Attributes:
        values: see ``measure``.
        film: D of where the first training starts end, uint8 (n, c, s, s).
        samples: what the means are over, float64 (n,) on the CPU, empty where there is nothing: ``share_KIND`` (by
            cosine), ``mem``, ``null_unseen``, ``null_noise``, ``train_error``, ``test_error``, ``score_KIND``,
            ``norm_KIND``; ``to_KIND`` and ``from_KIND``, whose means have the Chamfer similarity as their mean: each of
            A(train) to A(KIND), and back.
    """

    values: dict[str, Any]
    film: Tensor
    samples: dict[str, Tensor]


def across_training(
    checkpoints: Mapping[str, Autoencoder],
    train: Tensor,
    test: Tensor,
    *,
    on_part: OnPart = lambda part: None,
    **settings: Any,
) -> Iterator[tuple[str, Checkpoint]]:
    """``measure`` each checkpoint, in order; from the same starts, as far as the encoders agree."""
    for name, model in checkpoints.items():
        yield name, measure(model, train, test, on_part=partial(_of_one, on_part, name), **settings)


def _of_one(on_part: OnPart, name: str, part: str) -> None:
    on_part(f"{name}, {part}")


def most_evaluations(train: int, test: int, *, solver: SolverConfig, starts: int, points: int = POINTS) -> int:
    """About how many evaluations of f (of one row) ``measure`` takes at most, where no start converges.

    Every start is followed twice: to its end point, and then past the end points of the training starts.

    Args:
        train, test: how many images there are. starts, points: as for ``measure``.
    """
    of_kinds = [min(train, starts), min(test, starts), starts, starts]
    return sum(2 * (solver.max_steps + 1) * n + PRODUCTS * min(n, points) for n in of_kinds)


def measure(
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
    """One checkpoint, from up to ``starts`` starts of each kind.

    Args:
        train: the images that it was trained on, uint8 (n, c, s, s). test: others.
        points: at which the spectral norm is taken, of each kind.
        film: training starts whose decoded end points are kept.
        seed: of the noise.
        on_part: called with what begins.

    Returns:
        ``distinct``: for each kind the share of starts that end apart, by ``cosine`` (paper; mean with interval over
        starts, see above) and ``euclidean``, and ``outcomes``. ``mem``: mean with interval over distinct end points of
        training starts; ``nulls``: that of unseen images and of noise. ``train_error``, ``test_error``: squared error
        with interval over images. ``chamfer``: of the other kinds' distinct end points with those of training starts.
        ``separation``: of each noise ``fpr95`` and ``auroc`` of its scores against those of training starts, and
        against those of test starts, which have no attractor of their own among the references. ``spectral_norm``: of
        J_f at the starts of each kind, median and mean with interval. Null stands for what is not to be had.
    """
    f, side = LatentMap(model), train.shape[-1]
    z0 = _starts(model, train[:starts], test[:starts], starts, seed)
    how = iteration(solver, z0["train"].shape[1:], model.device)
    ends = {kind: end_points(f, z, how) for kind, z in _told(z0, "end points", on_part)}
    apart = {kind: _distinct(found, dictionary, solver) for kind, found in ends.items()}
    shown = decode(model, apart["train"], side) if len(apart["train"]) else train[:0].float()
    nulls = null_levels(train, unseen=test, noise=noise_images(starts, train.shape[1:], seed=seed))
    found = {
        **{f"share_{kind}": _shares(ended, dictionary.cosine) for kind, ended in ends.items()},
        "mem": memorization(shown, train),
        **{f"null_{name}": level for name, level in nulls.items()},
        "train_error": _error(model, train[:starts], z0["train"]),
        "test_error": _error(model, test[:starts], z0["test"]),
        **{name: one for kind in KINDS[1:] for name, one in _nearest(apart["train"], apart[kind], kind).items()},
        **_scores(f, _told(z0, "trajectories", on_part), apart["train"], how),
        **{
            f"norm_{kind}": jacobian_norm(f, z[:points], how.batch_size)
            for kind, z in _told(z0, "norms of the Jacobian", on_part)
        },
    }
    samples = {name: one.double().cpu() for name, one in found.items()}
    values = {
        "distinct": {
            kind: {
                "cosine": _interval(samples[f"share_{kind}"]),
                "euclidean": len(apart[kind]) / len(ends[kind].outcome),
                "outcomes": ends[kind].counts(),
            }
            for kind in KINDS
        },
        "mem": _interval(samples["mem"]),
        "nulls": {name: _interval(samples[f"null_{name}"]) for name in nulls},
        "train_error": _interval(samples["train_error"]),
        "test_error": _interval(samples["test_error"]),
        "chamfer": {kind: _chamfer(apart["train"], apart[kind]) for kind in KINDS[1:]},
        "separation": {noise: _separation(samples, noise) for noise in NOISES},
        "spectral_norm": {kind: _norms(samples[f"norm_{kind}"]) for kind in KINDS},
    }
    return Checkpoint(values, _pictures(decode(model, ends["train"].end[:film], side)), samples)


def _told(z0: dict[str, Tensor], what: str, on_part: OnPart) -> Iterator[tuple[str, Tensor]]:
    for kind, z in z0.items():
        on_part(f"{what} of {kind}")
        yield kind, z


def _starts(model: Autoencoder, train: Tensor, test: Tensor, n: int, seed: int) -> dict[str, Tensor]:
    side = model.side or train.shape[-1]
    grain = _pictures(noise_images(n, train.shape[1:], seed=seed))
    images = {"train": train, "test": test, "noise_images": grain}
    latents = {kind: encode(model, one, side) for kind, one in images.items()}
    shape = latents["train"].shape[1:]
    latents["noise"] = gaussian_starts(seed, range(n), shape).to(latents["train"])
    return {kind: latents[kind] for kind in KINDS}


def _pictures(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def _distinct(ends: EndPoints, dictionary: DictionaryConfig, solver: SolverConfig) -> Tensor:
    """End points that did not diverge, merged by distance (m, ...)."""
    points = ends.end[ends.outcome != Outcome.DIVERGED]
    return points[distinct(points, dictionary.euclidean, solver.tolerance).leader]


def _shares(ends: EndPoints, cosine: float) -> Tensor:
    """share(z) of each start, by cosine; end points at the origin have no direction, and are one (n,)."""
    rows = (ends.outcome != Outcome.DIVERGED).nonzero().squeeze(1)
    merge = merge_by_cosine(ends.end[rows], cosine)
    _, basin, sizes = merge.member.unique(return_inverse=True, return_counts=True)
    share = torch.zeros(len(ends.outcome), dtype=torch.float64)
    share[rows] = 1 / sizes[basin].double()
    return share


def _nearest(train: Tensor, other: Tensor, kind: str) -> dict[str, Tensor]:
    names = f"to_{kind}", f"from_{kind}"
    if not (len(train) and len(other)):
        return {name: torch.empty(0) for name in names}
    return dict(zip(names, (nearest_cosine(train, other), nearest_cosine(other, train)), strict=True))


def _chamfer(train: Tensor, other: Tensor) -> float | None:
    return chamfer_cosine(train, other) if len(train) and len(other) else None


def _scores(f: LatentMap, starts: Iterable[tuple[str, Tensor]], reference: Tensor, how: Iteration) -> dict[str, Tensor]:
    if not len(reference):
        return {f"score_{kind}": torch.empty(0) for kind in KINDS}
    return {
        f"score_{kind}": trajectory_scores(
            f,
            z,
            reference,
            max_steps=how.max_steps,
            tolerance=how.tolerance,
            max_norm=how.max_norm,
            together=how.batch_size,
        ).trajectory
        for kind, z in starts
    }


def _separation(samples: dict[str, Tensor], noise: str) -> dict[str, Any] | None:
    scores = {kind: samples[f"score_{kind}"].numpy() for kind in KINDS}
    if not len(scores["train"]):
        return None
    return {
        f"{name}_{inside}": separation_interval(metric, scores[inside], scores[noise], higher="out").as_json()
        for name, metric in (("fpr95", fpr95), ("auroc", auroc))
        for inside in ("train", "test")
    }


@torch.no_grad()
def _error(model: Autoencoder, images: Tensor, z: Tensor) -> Tensor:
    """Squared error of D(E(x)) per image, mean over its own pixels and channels, in [0, 1]; (n,)."""
    return (decode(model, z, images.shape[-1]) - images.float() / 255).square().flatten(1).mean(1)


def _norms(norms: Tensor) -> dict[str, Any] | None:
    known = norms[norms.isfinite()]
    return {"median": float(known.median()), **_interval(known)} if len(known) else None


def _interval(values: Tensor) -> Any:
    return mean_interval(values.double().cpu().numpy()).as_json() if len(values) else None
