"""How far images are from each other, image by image.

| symbol | meaning | shape |
|---|---|---|
| x, y | images in [0, 1] | (n, c, H, W), of video (n, c, T, H, W), of sound (n, c, samples) |

Each metric is (n,), float64, on the device of ``x``. torch is imported for types only: configurations read the table
of metrics.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

LOSSLESS = 100.0
"""dB from which on a picture counts as equal to its image."""

_WINDOW, _SIGMA = 11, 1.5
"""Of SSIM as published: a Gaussian of 1.5 pixels, cut off at 11."""
_C1, _C2 = 0.01**2, 0.03**2
"""Its two constants, for images in [0, 1]."""


def pixel_mse(x: "Tensor", y: "Tensor") -> "Tensor":
    """Mean over pixels and channels of (x - y)^2."""
    return (x.double() - y.double()).square().mean(tuple(range(1, x.ndim)))


def psnr(x: "Tensor", y: "Tensor") -> "Tensor":
    """-10 log10 of the pixel MSE, in dB; infinite for equal images."""
    return -10 * pixel_mse(x, y).log10()


def for_means(psnr: "NDArray[np.float64]") -> "tuple[NDArray[np.float64], NDArray[np.int64]]":
    """PSNR of n pictures (n, ...) as its means take it, and how many are lossless (...), that is, at ``LOSSLESS``.

    The PSNR of equal pictures is infinite, and any number in its place would decide the mean. So where some of the
    pictures are lossless and others are not, the lossless ones become NaN, which means leave out. Where all are (of
    those that are not NaN already), they become ``LOSSLESS``.
    """
    import numpy as np

    lossless, known = psnr >= LOSSLESS, ~np.isnan(psnr)
    alone = (lossless == known).all(axis=0)
    return np.where(lossless, np.where(alone, LOSSLESS, np.nan), psnr), lossless.sum(axis=0)


def ssim(x: "Tensor", y: "Tensor") -> "Tensor":
    """Structural similarity (Wang et al., 2004, Equation 13), at most 1; borders are mirrored, and frames of a video
    averaged.

    NaN for images smaller than the window of 11 pixels, and for sound.
    """
    import torch

    if x.ndim < 4 or min(x.shape[-2:]) < _WINDOW:
        return x.double().new_full((len(x),), float("nan"))
    # CPUs multiply float32 twice as fast, with an error of 1e-5 at most. GPUs may use TF32, whose error is larger.
    a, b = (image.double() if image.is_cuda else image.float() for image in (x, y))
    down, across = (_blur(side).to(a) for side in x.shape[-2:])
    ma, mb, squares, product = down @ torch.stack([a, b, a * a + b * b, a * b]) @ across.T
    variances, covariance = (squares - ma * ma - mb * mb).clamp(min=0), product - ma * mb
    found = (2 * ma * mb + _C1) * (2 * covariance + _C2) / ((ma * ma + mb * mb + _C1) * (variances + _C2))
    return found.double().flatten(1).mean(1).clamp(max=1)  # rounding may leave it above


def _blur(side: int) -> "Tensor":
    """The Gaussian window as a matrix (side, side), float64. It is applied to rows and to columns: two matrix products
    take a tenth of the time of a convolution with 11 x 11 weights at 32 pixels a side, and half at 512."""
    import torch

    offset = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    weight = torch.softmax(-0.5 * (offset / _SIGMA).square(), 0)
    at = torch.arange(side)[:, None] + torch.arange(_WINDOW) - _WINDOW // 2
    mirrored = (side - 1) - (side - 1 - at.abs()).abs()
    return torch.zeros(side, side, dtype=torch.float64).scatter_add_(1, mirrored, weight.repeat(side, 1))
