"""rFID: the Fréchet distance of Inception features of images and their reconstructions (Heusel et al., 2017).

The network and the distance are torch-fidelity's, which agrees with the original code in TensorFlow.

| symbol | meaning | shape |
|---|---|---|
| a, b | features of the images and of their reconstructions, an image a row | (n, D) |
| mu, S | mean and covariance of the rows | (D,), (D, D) |
| A, B | rows less their mean, over sqrt(n - 1), so that S_a = A^T A | (n, D) |
| FID | abs(mu_a - mu_b)^2 + tr(S_a + S_b) - 2 tr (S_a S_b)^(1/2) | |
"""

import importlib.util
import io
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probe.errors import UserError, reason_of
from probe.files import tensors_sha256
from probe.metrics.feature_weights import Missing, Published, found, tensors
from probe.metrics.interval import Floats, Interval, jackknife, over_draws
from probe.metrics.perceptual import EXTRA
from probe.precision import full_float32

PUBLISHED = Published(
    "Inception (the network of FID, not torchvision's)",
    ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth"),
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    "perceptual.inception",
)
"""One file under the names that torch-fidelity and pytorch-fid give it."""
LAYER = "2048"
"""The features of FID: the last pooling layer. Others (64, 192, 768) are faster, and give other numbers."""
GROUPS = 20
"""Groups of images, one of which is left out at a time for the interval."""
ENOUGH = 2048
"""Images below which the covariance of the features has no full rank, and FID depends strongly on n."""

Statistics = dict[str, Floats]
"""``mu`` and ``sigma`` of features, as torch-fidelity names them."""


@dataclass(frozen=True, eq=False)
class Inception:
    """Inception with its weights: ``inception(images)`` is (n, D).

    Attributes:
        network: of torch-fidelity, on ``device``.
        weights: name of the file of weights.
        sha256: over names, types, shapes and bytes of the weights.
        layer: whose features are returned.
    """

    network: Any
    weights: str
    sha256: str
    layer: str
    device: torch.device

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (n, D), float32 on the CPU, of uint8 images (n, 3, H, W); each is resized to 299 x 299."""
        with full_float32():
            return self.network(images.to(self.device))[0].cpu()

    @property
    def protocol(self) -> dict[str, Any]:
        """What the number depends on, besides the images."""
        return {
            "network": "Inception 2015-12-05",
            "layer": self.layer,
            "weights": self.weights,
            "sha256": self.sha256,
            "library": f"torch-fidelity {version('torch-fidelity')}",
            "resize": "bilinear to 299 without antialiasing, as TensorFlow 1",
            "dtype": "float32",
        }


def load_inception(
    weights: str | None = None, device: torch.device | str = "cpu", layer: str = LAYER
) -> Inception | Missing:
    """Inception with weights from a file, or from torch's cache; ``Missing`` without them, or without the extra.

    Args:
        weights: a file (.safetensors or .pth) with the tensors of torch-fidelity's FeatureExtractorInceptionV3.

    Raises:
        UserError: ``weights`` is not such a file.
    """
    if importlib.util.find_spec("torch_fidelity") is None or importlib.util.find_spec("torchvision") is None:
        return Missing(f"no rFID: torch-fidelity is not installed; {EXTRA}")
    path = found(PUBLISHED, weights)
    if isinstance(path, Missing):
        return Missing(f"no rFID: {path.reason}")
    state = tensors(path)
    network = _built(state, layer, path).to(device)
    return Inception(network, path.name, tensors_sha256(sorted(state.items())), layer, torch.device(device))


def _built(state: dict[str, Tensor], layer: str, path: Path) -> Any:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    copy = io.BytesIO()  # the class unpickles whatever file it is given, so it gets one with these tensors alone
    torch.save(state, copy)
    copy.seek(0)
    with torch.random.fork_rng(devices=[]):  # the layers are first drawn at random
        try:
            return FeatureExtractorInceptionV3("inception", [layer], copy)
        except RuntimeError as error:
            raise UserError(f"{path} does not hold the weights of FID's Inception: {reason_of(error)}") from None


def frechet(a: Tensor, b: Tensor) -> Interval:
    """FID of two sets of features (n, D), n >= 2, row by row of one image, as torch-fidelity computes it.

    The interval is for another draw of n images: a jackknife that leaves out each of ``GROUPS`` groups of pairs, and
    Student's t. It is around FID at this n, which is too large by a bias that falls with n: the interval says nothing
    of it, and a bootstrap would add to it, since a resample has fewer distinct images. None below 2 ``GROUPS`` images.
    Equal sets have 0, where torch-fidelity's rounding leaves up to 1e-4 of either sign.
    """
    from torch_fidelity.metric_fid import fid_features_to_statistics

    few = len(a) < 2 * GROUPS
    if torch.equal(a, b):  # false where a feature is NaN
        return Interval(0.0, None, None) if few else Interval(0.0, 0.0, 0.0)
    value = _of_statistics(*(fid_features_to_statistics(features) for features in (a, b)))
    if few or not np.isfinite(value):
        return Interval(value, None, None)
    low, high = over_draws(value, float(jackknife(left_out(a.double().numpy(), b.double().numpy()))), GROUPS)
    return Interval(value, max(low, 0.0), high)


def _of_statistics(a: Statistics, b: Statistics) -> float:
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    return float(fid_statistics_to_metric(a, b, verbose=False)[KEY_METRIC_FID])


def left_out(a: Floats, b: Floats) -> list[float]:
    """FID without each of ``GROUPS`` groups of rows, i with i + ``GROUPS``, and so on."""
    group = np.arange(len(a)) % GROUPS
    if len(a) <= a.shape[1]:
        return [by_singular_values(a[group != g], b[group != g]) for g in range(GROUPS)]
    sums = [(x.sum(0), x.T @ x) for x in (a, b)]  # so that no group but the one left out is multiplied again
    found = []
    for g in range(GROUPS):
        out, kept = [x[group == g] for x in (a, b)], int((group != g).sum())
        found.append(_of_statistics(*(_statistics(kept, *both, part) for both, part in zip(sums, out, strict=True))))
    return found


def _statistics(n: int, total: Floats, products: Floats, out: Floats) -> Statistics:
    """Mean and covariance of n rows, from the sums over all rows of x and x x^T, and those that are left out."""
    mu = (total - out.sum(0)) / n
    return {"mu": mu, "sigma": (products - out.T @ out - n * np.outer(mu, mu)) / (n - 1)}


def by_singular_values(a: Floats, b: Floats) -> float:
    """The same distance; tr (S_a S_b)^(1/2) is the sum of the singular values of A B^T.

    torch-fidelity's sum of the roots of 2048 eigenvalues takes a hundred times as long for 300 images, and its rounding
    grows with the eigenvalues that are 0.
    """
    centred = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    gap = float(((a.mean(0) - b.mean(0)) ** 2).sum())
    spread = sum(float((x**2).sum()) for x in centred)
    return gap + spread - 2 * float(np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum())
