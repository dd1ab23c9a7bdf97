"""Theorem 1: does f(z) - z point along the score of the latent density?

The theorem is about the density of the training images' latents, for training that denoises or contracts. Neither is
known for a given model. The density is estimated from held-out images, so the cosine says how far the conclusion holds,
not whether the premise does.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from probe.dynamics import gaussian_starts
from probe.dynamics.iterate import Map, apply
from probe.metrics.interval import Interval, mean_intervals, verdict
from probe.metrics.score import Density, KernelDensity, MixtureDensity, cosines
from probe.precision import full_float32
from probe.studies.theory.field import deviation

NOISES = (0.0, 0.5)
"""Standard deviations of the noise added to latents, in units of ``deviation`` of the fitted latents."""
FEWEST = 16
"""The fewest latents from which a density is estimated."""


def alignment(f: Map, z: Tensor, fitted: Tensor, *, seed: int, together: int = 64) -> dict[str, Any] | None:
    """Cosines of f(z) - z with scores, at latents z (n, ...) and around them; None if there are too few latents.

    Args:
        fitted: other latents (m, ...), from which the densities are estimated.

    Returns:
        ``n``, ``m``, ``densities``: for each ``name`` (``kernel``, ``mixture``) its ``bandwidth`` (and ``relative``, in
        units of ``deviation``) or ``components``, ``log_density`` (of z, per coordinate, in nats), and ``at``, a list:
        ``noise`` added to z; the mean cosine with the score (``cosine``), with the scores at the other points
        (``shuffled``), with the direction to the mean of the fitted latents (``centre``), and paired differences
        (``over_shuffled``, ``over_centre``), each ``mean`` and ``ci95`` over points; the effective number of
        ``kernels`` there; ``aligned``: verdict on the claim that the cosine is above the shuffled one;
        ``beyond_centre``: that it is above that of the centre.
    """
    if len(z) < 2 or len(fitted) < FEWEST or not deviation(fitted):
        return None
    rows, unit = _rows(fitted), deviation(fitted)
    noise = gaussian_starts(seed, range(len(z)), z.shape[1:]).to(z)
    kernel, mixture = KernelDensity.fit(rows), MixtureDensity.fit(rows, seed)
    about: dict[str, tuple[Density, dict[str, Any]]] = {
        "kernel": (kernel, {"bandwidth": kernel.bandwidth, "relative": kernel.bandwidth / unit}),
        "mixture": (mixture, {"components": mixture.components}),
    }
    there = [(scale, point, _field(f, point, together)) for scale in NOISES for point in [z + scale * unit * noise]]
    densities = []
    for name, (density, facts) in about.items():
        likely = density.log_density(_rows(z)) / rows.shape[1]
        at = [{"noise": scale, **_compare(density, field, _rows(point), rows.mean(0))} for scale, point, field in there]
        densities.append({"name": name, **facts, "log_density": float(likely.mean()), "at": at})
    return {"n": len(z), "m": len(fitted), "densities": densities}


def _field(f: Map, z: Tensor, together: int) -> NDArray[np.float64]:
    with full_float32():
        return np.concatenate([_rows(apply(f, part)[0] - part) for part in z.split(together)])


def _rows(z: Tensor) -> NDArray[np.float64]:
    return z.detach().flatten(1).double().cpu().numpy()


def _compare(
    density: Density, field: NDArray[np.float64], z: NDArray[np.float64], centre: NDArray[np.float64]
) -> dict[str, Any]:
    every = cosines(field, density.score(z))
    cosine = every.diagonal()
    # The mean over all assignments of scores to other points.
    shuffled = (every.sum(1) - cosine) / (len(every) - 1)
    to_centre = cosines(field, centre - z).diagonal()
    columns = [cosine, shuffled, to_centre, cosine - shuffled, cosine - to_centre]
    names = ("cosine", "shuffled", "centre", "over_shuffled", "over_centre")
    found: dict[str, Interval] = dict(zip(names, mean_intervals(np.stack(columns, 1)), strict=True))
    return {
        **{name: {"mean": one.mean, "ci95": [one.low, one.high]} for name, one in found.items()},
        "kernels": float(density.kernels(z).mean()) if isinstance(density, KernelDensity) else None,
        "aligned": verdict(found["over_shuffled"], above=0),
        "beyond_centre": verdict(found["over_centre"], above=0),
    }
