"""How far images are from each other, image by image.

| symbol | meaning | shape |
|---|---|---|
| x, y | images in [0, 1] | (n, c, H, W), of video (n, c, T, H, W), of sound (n, c, samples) |

Each metric is (n,), float64, on the device of ``x``. torch is imported for types only: configurations read the table
of metrics.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_WINDOW = 11  # of SSIM as published: a Gaussian of 1.5 pixels, cut off at 11


def pixel_mse(x: "Tensor", y: "Tensor") -> "Tensor":
    """Mean over pixels and channels of (x - y)^2."""
    return (x.double() - y.double()).square().mean(tuple(range(1, x.ndim)))


def psnr(x: "Tensor", y: "Tensor") -> "Tensor":
    """-10 log10 of the pixel MSE, in dB; infinite for equal images."""
    from torchmetrics.functional.image import peak_signal_noise_ratio

    dims = tuple(range(1, x.ndim))
    return peak_signal_noise_ratio(x.double(), y.double(), data_range=1.0, reduction="none", dim=dims)


def ssim(x: "Tensor", y: "Tensor") -> "Tensor":
    """Structural similarity (Wang et al., 2004), at most 1; borders are mirrored, and frames of a video averaged.

    NaN for images smaller than the window of 11 pixels, and for sound.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    if x.ndim < 4 or min(x.shape[-2:]) < _WINDOW:
        return x.double().new_full((len(x),), float("nan"))
    # Frames as rows: the window is a square of one frame.
    a, b = (image.double().transpose(1, 2).flatten(0, 1) if x.ndim == 5 else image.double() for image in (x, y))
    # CPUs convolve float32 40 times faster, with an error of 1e-5 at most. GPUs may use TF32, whose error is larger.
    a, b = (image if image.is_cuda else image.float() for image in (a, b))
    found = structural_similarity_index_measure(a, b, data_range=1.0, reduction="none")
    return found.double().view(len(x), -1).mean(1)  # type: ignore[union-attr]
