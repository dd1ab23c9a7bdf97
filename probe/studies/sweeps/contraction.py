"""Contraction at initialisation: the variance that random weights leave (paper, Figure 6).

| symbol | meaning | shape |
|---|---|---|
| x | inputs of independent N(0, 1) coordinates | (n, ...) |
| g | D after E on inputs, or f = E after D on latents | |
| ratio | sum_j Var g(x)_j / sum_j Var x_j = E ||g(x) - g(x')||^2 / E ||x - x'||^2 | |

The variance is over samples, coordinate by coordinate: a ratio below 1 says that g brings two inputs nearer to each
other on average. (The variance over all coordinates together would count a constant output as spread.)
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.autoencoders.untrained import RESOLUTION, small_classes, small_configurations, untrained
from probe.dynamics import LatentMap
from probe.errors import UserError
from probe.metrics.interval import mean_interval, verdict

BOTTLENECKS = (2, 8, 32, 128, 512)
"""k of the paper's convolutional autoencoder at 32 px with its 16 channels."""
TOGETHER = 16
Backbones = dict[str, tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class Contraction:
    """Variance ratios of one architecture.

    Attributes:
        name: as in ``backbones``.
        d: of a latent.
        inputs: ratio of D after E, one for each seed.
        latents: ratio of f = E after D, likewise.
    """

    name: str
    d: int
    inputs: list[float]
    latents: list[float]


def backbones() -> Backbones:
    """Architectures by name: the class, and the arguments of ``untrained``. The paper's at several k, then all others
    that are at hand, small."""
    ours = {
        f"ConvAutoencoder, k = {k}": ("ConvAutoencoder", {"config": {"base_channels": 16, "latent_dim": k}})
        for k in BOTTLENECKS
    }
    small = small_configurations()
    return {**ours, **{name: (name, small[name]) for name in small_classes() if name != "ConvAutoencoder"}}


def known(names: Iterable[str] | None) -> list[str]:
    """The names, or all of ``backbones``.

    Raises:
        UserError: a name is unknown.
    """
    there = backbones()
    for name in names or ():
        if name not in there:
            raise UserError(f"there is no architecture {name!r}; there are {', '.join(repr(one) for one in there)}.")
    return list(there if names is None else names)


def contraction(
    names: Iterable[str] | None = None, *, seeds: Sequence[int] = range(10), samples: int = 64
) -> Iterator[Contraction]:
    """Ratios of random-weight architectures, one by one.

    Args:
        names: of ``backbones``; all by default.
        seeds: of the weights and inputs.
        samples: inputs and latents of each model.

    Raises:
        UserError: a name is unknown; or a class cannot be built by the installed diffusers.
    """
    for name in known(names):
        cls, arguments = backbones()[name]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes that no one would train
            yield _of_seeds(name, cls, dict(arguments), seeds, samples)


def _of_seeds(name: str, cls: str, arguments: dict[str, Any], seeds: Sequence[int], samples: int) -> Contraction:
    resolution = arguments.pop("resolution", RESOLUTION)
    inputs, latents = [], []
    for seed in seeds:
        model = untrained(cls, **arguments, seed=seed)
        latent_shape = model.latent_shape(resolution)
        inputs.append(variance_ratio(_around(model), _normal(samples, model.sample_shape(resolution), seed)))
        latents.append(variance_ratio(LatentMap(model), _normal(samples, latent_shape, seed)))
    return Contraction(name, torch.Size(latent_shape).numel(), inputs, latents)


def _around(model: Autoencoder) -> Callable[[Tensor], Tensor]:
    return lambda x: model.decode(model.encode(x))


def _normal(n: int, shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn((n, *shape), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def variance_ratio(g: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """sum_j Var g(x)_j / sum_j Var x_j over the rows of x (n, ...), n >= 2; unbiased variances, in float64.

    Raises:
        ValueError: there are fewer than two rows, or all are equal.
    """
    y = torch.cat([g(part) for part in x.split(TOGETHER)])
    before, after = (_variance(values) for values in (x, y))
    if not before > 0:
        raise ValueError(f"the {len(x)} inputs do not vary")
    return after / before


def _variance(x: Tensor) -> float:
    return float(x.flatten(1).double().var(0).sum()) if len(x) > 1 else 0.0


def record(found: Contraction) -> dict[str, Any]:
    """One architecture as JSON: ``name``, ``d``, and for ``inputs`` and ``latents``: ``ratios`` (null: not finite), the
    ``mean``, ``ci95`` over seeds, ``largest``, and whether the paper's claim of a ratio below 1 holds (``verdict``)."""
    return {"name": found.name, "d": found.d, "inputs": _side(found.inputs), "latents": _side(found.latents)}


def _side(ratios: list[float]) -> dict[str, Any]:
    found = mean_interval(ratios)
    finite = math.isfinite(found.mean)
    return {
        "ratios": [ratio if math.isfinite(ratio) else None for ratio in ratios],
        **found.as_json(),
        "mean": found.mean if finite else None,
        "largest": max(ratios) if finite else None,
        "verdict": verdict(found, below=1),
    }
