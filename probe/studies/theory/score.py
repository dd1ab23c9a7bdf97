"""Theorem 1: does f(z) - z point along the score, grad log q, of the latent density?

The theorem is about the density of the training images' latents, for training that denoises or contracts. Neither is
known for a given model. The density is estimated from held-out images, so the cosine says how far the conclusion holds,
not whether the premise does.

| symbol | meaning | shape |
|---|---|---|
| y | points from which the density is estimated | (m, d) |
| z | points at which the score is evaluated | (n, d) |
| h | bandwidth: q is the empirical distribution of y convolved with N(0, h^2 I) | |
| w | share of each kernel, or component, in q(z): softmax of their log densities | (n, m) |
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, softmax
from torch import Tensor

from probe.dynamics import gaussian_starts
from probe.dynamics.iterate import Map, apply
from probe.metrics.interval import mean_intervals, verdict
from probe.precision import full_float32
from probe.studies.theory.field import deviation

Rows = NDArray[np.float64]
NOISES = (0.0, 0.5)
"""Standard deviations of the noise added to latents, in units of ``deviation`` of the fitted latents."""
FEWEST = 16
"""The fewest latents from which a density is estimated."""
BANDWIDTHS = np.geomspace(0.02, 2.0, 41)
"""Bandwidths to try, in units of the points' spread."""
COMPONENTS = (1, 2, 4, 8)
"""Numbers of mixture components to try."""


@dataclass(frozen=True)
class KernelDensity:
    """Gaussian kernels on points (m, d), all of standard deviation ``bandwidth`` in every direction.

    Its score is that of the empirical distribution under Gaussian noise of that size, which a denoising autoencoder
    learns (Alain and Bengio 2014; Vincent 2011).
    """

    points: Rows
    bandwidth: float

    @staticmethod
    def fit(points: Rows) -> "KernelDensity":
        """The bandwidth with the largest leave-one-out likelihood."""
        square = cdist(points, points, "sqeuclidean")
        np.fill_diagonal(square, np.inf)
        tried = float(np.sqrt(points.var(axis=0).mean())) * BANDWIDTHS
        d = points.shape[1]
        likelihood = [float(logsumexp(-square / (2 * h**2), axis=1).mean()) - d * np.log(h) for h in tried]
        return KernelDensity(points, float(tried[int(np.argmax(likelihood))]))

    def log_density(self, z: Rows) -> Rows:
        """log q(z) (n,), in nats."""
        m, d = self.points.shape
        constant = np.log(m) + d / 2 * np.log(2 * np.pi * self.bandwidth**2)
        return np.asarray(logsumexp(self._exponents(z), axis=1)) - constant

    def score(self, z: Rows) -> Rows:
        """sum_j w_j (y_j - z) / h^2, (n, d)."""
        return (softmax(self._exponents(z), axis=1) @ self.points - z) / self.bandwidth**2

    def kernels(self, z: Rows) -> Rows:
        """Effective number of kernels in q(z): 1 / sum w^2, (n,) in [1, m]; at 1 the score points at the nearest y."""
        return 1 / np.square(softmax(self._exponents(z), axis=1)).sum(axis=1)

    def _exponents(self, z: Rows) -> Rows:
        return -cdist(z, self.points, "sqeuclidean") / (2 * self.bandwidth**2)


@dataclass(frozen=True)
class MixtureDensity:
    """scikit-learn's mixture of Gaussians with diagonal covariances, and its score."""

    mixture: Any

    @staticmethod
    def fit(points: Rows, seed: int = 0) -> "MixtureDensity":
        """The mixture with the lowest BIC among ``COMPONENTS``, with at least 8 points per component.

        Variances are at least 1e-3 of the mean variance.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        tried = [k for k in COMPONENTS if k == 1 or 8 * k <= len(points)]
        least = 1e-3 * float(points.var(axis=0).mean())
        models = [GaussianMixture(k, covariance_type="diag", reg_covar=least, random_state=seed) for k in tried]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # still a density, which BIC judges
            fitted = [model.fit(points) for model in models]
        return MixtureDensity(min(fitted, key=lambda model: model.bic(points)))

    @property
    def components(self) -> int:
        """Number of components."""
        return int(self.mixture.n_components)

    def log_density(self, z: Rows) -> Rows:
        """log q(z) (n,), in nats."""
        return np.asarray(self.mixture.score_samples(z))

    def score(self, z: Rows) -> Rows:
        """sum_k w_k (mean_k - z) / variance_k, (n, d)."""
        w, precision = self.mixture.predict_proba(z), 1 / self.mixture.covariances_
        return w @ (self.mixture.means_ * precision) - z * (w @ precision)


def cosines(a: Rows, b: Rows) -> Rows:
    """Cosine of every row of a (n, d) with every row of b (m, d): (n, m) in [-1, 1]; 0 if one of them is 0."""
    return _unit(a) @ _unit(b).T


def _unit(rows: Rows) -> Rows:
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(size > 0, size, 1)


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
    about: dict[str, tuple[KernelDensity | MixtureDensity, dict[str, Any]]] = {
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


def _field(f: Map, z: Tensor, together: int) -> Rows:
    with full_float32():
        return np.concatenate([_rows(apply(f, part)[0] - part) for part in z.split(together)])


def _rows(z: Tensor) -> Rows:
    return z.detach().flatten(1).double().cpu().numpy()


def _compare(density: KernelDensity | MixtureDensity, field: Rows, z: Rows, centre: Rows) -> dict[str, Any]:
    every = cosines(field, density.score(z))
    cosine = every.diagonal()
    # The mean over all assignments of scores to other points.
    shuffled = (every.sum(1) - cosine) / (len(every) - 1)
    to_centre = cosines(field, centre - z).diagonal()
    columns = [cosine, shuffled, to_centre, cosine - shuffled, cosine - to_centre]
    names = ("cosine", "shuffled", "centre", "over_shuffled", "over_centre")
    found = dict(zip(names, mean_intervals(np.stack(columns, 1)), strict=True))
    return {
        **{name: {"mean": one.mean, "ci95": [one.low, one.high]} for name, one in found.items()},
        "kernels": float(density.kernels(z).mean()) if isinstance(density, KernelDensity) else None,
        "aligned": verdict(found["over_shuffled"], above=0),
        "beyond_centre": verdict(found["over_centre"], above=0),
    }
