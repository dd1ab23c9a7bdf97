"""The score, grad log q, of a density estimated from points.

| symbol | meaning | shape |
|---|---|---|
| y | points from which the density is estimated | (m, d) |
| z | points at which the score is evaluated | (n, d) |
| h | bandwidth: q is the empirical distribution of y convolved with N(0, h^2 I) | |
| w | share of each kernel, or component, in q(z): softmax of their log densities | (n, m) |
"""

import warnings
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, softmax

Rows = NDArray[np.float64]
BANDWIDTHS = 41
"""Bandwidths to try, from ``NARROWEST`` to ``WIDEST`` times the points' spread, in equal ratios."""
NARROWEST, WIDEST = 0.02, 2.0
COMPONENTS = (1, 2, 4, 8)
"""Numbers of mixture components to try."""


class Density(Protocol):
    """A density with a score."""

    def log_density(self, z: Rows) -> Rows:
        """log q(z) (n,), in nats."""

    def score(self, z: Rows) -> Rows:
        """grad log q(z) (n, d)."""


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
        spread = float(np.sqrt(points.var(axis=0).mean()))
        tried = spread * np.geomspace(NARROWEST, WIDEST, BANDWIDTHS)
        d = points.shape[1]
        likelihood = [float(logsumexp(-square / (2 * h**2), axis=1).mean()) - d * np.log(h) for h in tried]
        return KernelDensity(points, float(tried[int(np.argmax(likelihood))]))

    def log_density(self, z: Rows) -> Rows:
        """log q(z) (n,), in nats."""
        m, d = self.points.shape
        constant = np.log(m) + d / 2 * np.log(2 * np.pi * self.bandwidth**2)
        return np.asarray(logsumexp(self._exponents(z), axis=1)) - constant

    def score(self, z: Rows) -> Rows:
        """sum_j w_j (y_j - z) / h^2."""
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
        """sum_k w_k (mean_k - z) / variance_k."""
        w, precision = self.mixture.predict_proba(z), 1 / self.mixture.covariances_
        return w @ (self.mixture.means_ * precision) - z * (w @ precision)


def cosines(a: Rows, b: Rows) -> Rows:
    """Cosine of every row of a (n, d) with every row of b (m, d): (n, m) in [-1, 1]; 0 if one of them is 0."""
    return _unit(a) @ _unit(b).T


def _unit(rows: Rows) -> Rows:
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(size > 0, size, 1)
