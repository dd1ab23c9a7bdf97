"""Both sides of Proposition 3.2 for every image: the bound that attractors give on the autoencoder's error.

||x - D(E(x))||^2 <= 2 ||x - D(P(E(x)))||^2 + 2 L^2 ||E(x) - P(E(x))||^2 with P(z) the prototype nearest to z and L a
Lipschitz constant of D. (The paper omits the factor 2 of (a + b)^2 <= 2 a^2 + 2 b^2.)
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.dynamics.field import jacobian_norm

ALONG = (0.0, 0.5, 1.0)
"""Positions on the segment from E(x) to P(E(x)) at which the Jacobian of D is computed."""


@dataclass(frozen=True)
class Terms:
    """The terms for n images, float64 (n,) on the CPU; squared norms over pixels and channels, in the model's range."""

    left: Tensor
    """||x - D(E(x))||^2"""
    prototype: Tensor
    """||x - D(P(E(x)))||^2"""
    coverage: Tensor
    """||E(x) - P(E(x))||^2, without L"""
    secant: Tensor
    """||D(E(x)) - D(P(E(x)))|| / ||E(x) - P(E(x))||, a lower bound on every Lipschitz constant of D"""


def nearest(z: Tensor, prototypes: Tensor, together: int = 64) -> Tensor:
    """P(z): the prototype (of m, ...) nearest to each row of z (n, ...), by Euclidean distance."""
    flat = prototypes.flatten(1).to(z)
    place = [
        # By differences: the error of a matrix product grows with the norms.
        torch.cdist(part.flatten(1), flat, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
        for part in z.split(together)
    ]
    return flat[torch.cat(place)].view_as(z)


@torch.no_grad()
def terms(model: Autoencoder, images: Tensor, z: Tensor, p: Tensor, together: int = 64) -> Terms:
    """The terms for uint8 images (n, 3, H, W) with latents z (n, ...) and their prototypes p (n, ...)."""
    rows = []
    for x, a, b in zip(images.split(together), z.split(together), p.split(together), strict=True):
        pixels, of_z, of_p = model.from_pixels(x), model.decode(a), model.decode(b)
        apart = _square(a - b)
        secant = (_square(of_z - of_p) / apart).sqrt()  # 0 / 0 where an image's latent is its prototype
        rows.append(torch.stack([_square(pixels - of_z), _square(pixels - of_p), apart, secant.nan_to_num(0.0)]))
    return Terms(*torch.cat(rows, 1).cpu())


def _square(x: Tensor) -> Tensor:
    return x.flatten(1).double().square().sum(1)


def segment_norms(decode: Callable[[Tensor], Tensor], z: Tensor, p: Tensor, together: int = 64) -> Tensor:
    """The largest singular value of J_D at points of the segments from z (n, ...) to p: (n, len(ALONG)), float64.

    Their maximum is a lower bound on the Lipschitz constant of D, which may be steeper elsewhere. All NaN if D has no
    derivative.
    """
    points = torch.stack([z + t * (p - z) for t in ALONG], 1).flatten(0, 1)
    return jacobian_norm(decode, points, together).view(len(z), len(ALONG))
