"""Baselines on the latents of training images: K nearest neighbours and Mahalanobis distance.

| symbol | meaning | shape |
|---|---|---|
| X | training latents, flattened | (n, d) |
| mu, S | their mean and covariance (divided by n) | (d,), (d, d) |
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Neighbours:
    """Distance to the K-th nearest training latent, by an exact FAISS index (Sun et al. 2022, arXiv 2204.06507; without
    their normalisation, so that latents are those of the trajectories).

    Args:
        training: X (n, ...), n >= 1.
    """

    def __init__(self, training: Tensor):
        import faiss

        flat = training.flatten(1).float().cpu()
        self.centre = flat.mean(0)  # FAISS uses squared norms, which lose the least precision near the origin
        self.index = faiss.IndexFlatL2(flat.shape[1])
        self.index.add(self._rows(flat))

    def __call__(self, z: Tensor, ks: Sequence[int]) -> dict[int, Tensor]:
        """Distances of rows (m, ...) to their K-th nearest, K = min(k, n) for each k; float64 (m,) on the CPU."""
        n = self.index.ntotal
        squares, _ = self.index.search(self._rows(z.flatten(1).float().cpu()), min(max(ks), n))
        distances = torch.from_numpy(squares.astype(np.float64)).clamp(min=0).sqrt()
        return {k: distances[:, min(k, n) - 1].clone() for k in ks}

    def _rows(self, flat: Tensor) -> np.ndarray:
        return np.ascontiguousarray((flat - self.centre).numpy())


class Mahalanobis:
    """Mahalanobis distance to the Gaussian of the training latents (Lee et al. 2018, arXiv 1807.03888, one class).

    The covariance is Ledoit and Wolf's, (1 - s) S + s tr(S)/d I, which is invertible even if d > n. It is never formed:
    with the right singular vectors V of X - mu, its inverse is a multiple of I plus a term in their span.

    Args:
        training: X (n, ...), n >= 2, not all equal.

    Attributes:
        shrinkage: s, in [0, 1].
    """

    def __init__(self, training: Tensor):
        x = training.flatten(1).double()
        n, d = x.shape
        self.mean = x.mean(0)
        centred = x - self.mean
        _, singular, self.vectors = torch.linalg.svd(centred, full_matrices=False)
        spectrum = singular.square() / n
        scale = float(spectrum.sum()) / d
        if not scale > 0:
            raise ValueError("training latents that are all equal have no Mahalanobis distance")
        self.shrinkage = _ledoit_wolf(centred, spectrum, scale)
        self.floor = max(self.shrinkage * scale, scale * torch.finfo(torch.float64).eps)
        self.gain = 1 / self.floor - 1 / ((1 - self.shrinkage) * spectrum + self.floor)

    def __call__(self, z: Tensor) -> Tensor:
        """Distances of rows (m, ...), float64 (m,) on the CPU."""
        centred = z.flatten(1).to(self.mean) - self.mean
        along = (centred @ self.vectors.T).square() @ self.gain
        return (centred.square().sum(1) / self.floor - along).clamp(min=0).sqrt().cpu()


def _ledoit_wolf(centred: Tensor, spectrum: Tensor, scale: float) -> float:
    """s (Ledoit and Wolf 2004, Lemma 3.3), from the eigenvalues of S instead of its d x d entries."""
    n, d = centred.shape
    squares = float(spectrum.square().sum())
    distance = (squares - d * scale**2) / d
    noise = (float(centred.square().sum(1).square().sum()) / n - squares) / (n * d)
    return min(noise, distance) / distance if distance > 0 else 0.0
