"""Contraction at initialisation: how much variance random weights preserve (paper, Figure 6).

| symbol | meaning | shape |
|---|---|---|
| x | inputs of independent N(0, 1) coordinates | (n, ...) |
| g | D after E on inputs, or f = E after D on latents | |
| ratio | sum_j Var g(x)_j / sum_j Var x_j = E ||g(x) - g(x')||^2 / E ||x - x'||^2 | |

The variance is over samples, per coordinate: a ratio below 1 means that g brings two inputs closer together on
average. (The variance over all coordinates together would count a constant output as spread.)
"""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.autoencoders.compatibility import RESOLUTION, small_classes, small_configurations, untrained
from probe.dynamics import LatentMap
from probe.errors import UserError
from probe.metrics.interval import mean_interval, verdict
from probe.studies.sweeps.grid import Backbone, Measured, Tell
from probe.studies.sweeps.kinds import BOTTLENECKS, ContractionConfig

TOGETHER = 16


def backbones() -> dict[str, tuple[str, dict[str, Any]]]:
    """Architectures by name: the class, and the arguments of ``untrained``.

    The paper's architecture at several k, then all other available classes in a small size.
    """
    ours = {
        f"ConvAutoencoder, k = {k}": ("ConvAutoencoder", {"config": {"base_channels": 16, "latent_dim": k}})
        for k in BOTTLENECKS
    }
    small = small_configurations()
    return {**ours, **{name: (name, small[name]) for name in small_classes() if name != "ConvAutoencoder"}}


def architectures(config: ContractionConfig, data: Mapping[str, Any]) -> list[Backbone]:
    """The architectures of a study, in the order of the configuration; default: all.

    Raises:
        UserError: a name is unknown.
    """
    there = backbones()
    for name in config.architectures or ():
        if name not in there:
            raise UserError(f"there is no architecture {name!r}; there are {', '.join(map(repr, there))}.")
    return [Backbone(name) for name in config.architectures or there]


def measure(backbone: Backbone, config: ContractionConfig, tell: Tell) -> Measured:
    """Variance ratios of an architecture with random weights, see ``record``.

    Raises:
        UserError: the installed diffusers cannot build the class.
    """
    cls, arguments = backbones()[backbone.architecture]
    lengths = {key: value for key, value in arguments.items() if key != "resolution"}
    resolution = arguments.get("resolution", RESOLUTION)
    inputs, latents = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sizes that nobody would train
        for seed in config.seeds:
            model = untrained(cls, **lengths, seed=seed)
            x, z = (
                torch.randn((config.samples, *shape), generator=torch.Generator().manual_seed(seed))
                for shape in (model.sample_shape(resolution), model.latent_shape(resolution))
            )
            inputs.append(variance_ratio(_around(model), x))
            latents.append(variance_ratio(LatentMap(model), z))
    return Measured(record(backbone.architecture, z[0].numel(), inputs, latents))


def _around(model: Autoencoder) -> Callable[[Tensor], Tensor]:
    return lambda x: model.decode(model.encode(x))


@torch.no_grad()
def variance_ratio(g: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """sum_j Var g(x)_j / sum_j Var x_j over the rows of x (n, ...), n >= 2; unbiased variances, in float64.

    Raises:
        ValueError: there are fewer than two rows, or all rows are equal.
    """
    y = torch.cat([g(part) for part in x.split(TOGETHER)])
    before, after = (_variance(values) for values in (x, y))
    if not before > 0:
        raise ValueError(f"the {len(x)} inputs do not vary")
    return after / before


def _variance(x: Tensor) -> float:
    return float(x.flatten(1).double().var(0).sum()) if len(x) > 1 else 0.0


def record(name: str, d: int, inputs: list[float], latents: list[float]) -> dict[str, Any]:
    """One architecture of latent dimension ``d`` as JSON, from the ratio of each seed, of D after E on inputs and of
    f = E after D on latents. For both: ``ratios`` (null if not finite), ``mean`` and ``ci95`` over seeds, ``largest``,
    and the ``verdict`` on the paper's claim of a ratio below 1."""
    return {"name": name, "d": d, "inputs": _side(inputs), "latents": _side(latents)}


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
