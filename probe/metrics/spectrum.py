"""How the power of pictures is spread over spatial frequencies.

The transform is the cosine transform (DCT-II), whose waves continue a picture beyond its border by its mirror image. A
Fourier transform continues it by its opposite side, and the jump there looks like high frequencies.

| symbol | meaning | shape |
|---|---|---|
| x | pictures | (n, c, H, W) |
| r | radial frequency, in cycles per pixel | |
| b | number of bands | |
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

MOST_BANDS = 16
ROUNDING = 1 / (12 * 255**2)
"""Variance of the error that rounding to 8 bits makes, for values in [0, 1]."""


def bands(side: int) -> Tensor:
    """Edges (b + 1,) of equal bands from 0 to 0.5 cycles per pixel, float64; each holds coefficients of both axes."""
    return torch.linspace(0, 0.5, max(min(MOST_BANDS, side // 2), 1) + 1, dtype=torch.float64)


def band_power(x: Tensor, edges: Tensor) -> Tensor:
    """Power in each band (n, b), float64: a share of the variance, averaged over channels. All bands together are the
    mean over channels of the variance over pixels. Frequencies above 0.5 (towards the corners) count in the last."""
    down, across = (_cosines(side).to(x.device) for side in x.shape[-2:])
    power = (down @ x.double() @ across.T).square().mean(1).flatten(1) / x[0, 0].numel()
    return power @ _membership(*x.shape[-2:], len(edges) - 1).to(x.device)


def rounding_power(height: int, width: int, edges: Tensor) -> Tensor:
    """Power (b,) in each band of rounding to 8 bits, which is white."""
    return ROUNDING * _membership(height, width, len(edges) - 1).sum(0) / (height * width)


def decibels(now: Tensor, before: Tensor, floor: Tensor) -> Tensor:
    """10 log10 of the ratio of powers (n, b), with a floor (b,) added to both, so that empty bands have a ratio."""
    return 10 * torch.log10((now + floor) / (before + floor))


@lru_cache(maxsize=8)
def _cosines(side: int) -> Tensor:
    """The orthonormal DCT-II as a matrix (side, side), float64."""
    k, i = torch.meshgrid(*[torch.arange(side, dtype=torch.float64)] * 2, indexing="ij")
    waves = torch.cos(math.pi * k * (2 * i + 1) / (2 * side)) * math.sqrt(2 / side)
    waves[0] /= math.sqrt(2)
    return waves


@lru_cache(maxsize=8)
def _membership(height: int, width: int, count: int) -> Tensor:
    """Which coefficient is in which band: 0 or 1, (H W, b), float64. The mean is in none."""
    r = torch.hypot(*torch.meshgrid(_frequencies(height), _frequencies(width), indexing="ij")).flatten()
    band = (torch.ceil(r * 2 * count - 1e-9) - 1).clamp(max=count - 1).long()
    found = torch.zeros(len(r), count, dtype=torch.float64)
    found[r > 0, band[r > 0]] = 1
    return found


def _frequencies(side: int) -> Tensor:
    return torch.arange(side, dtype=torch.float64) / (2 * side)
