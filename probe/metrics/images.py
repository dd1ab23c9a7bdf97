"""How far one image is from another, image by image.

| symbol | meaning | shape |
|---|---|---|
| x, y | images in [0, 1] | (n, c, H, W), of video (n, c, T, H, W), of sound (n, c, samples) |
"""

import torch
from torch import Tensor

IMAGE_METRICS = ("pixel_mse", "psnr", "ssim")
_WINDOW = 11  # of SSIM as it was published: a Gaussian of 1.5 pixels, cut off at 11


def image_metrics(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Metrics by name, each (n,) in float64 on the device of ``x``.

    pixel_mse: mean over pixels and channels of (x - y)^2.
    psnr: -10 log10(pixel_mse), in dB; infinite for equal images.
    ssim: structural similarity (Wang et al., 2004), at most 1; borders are mirrored, frames of video averaged. NaN
        where a picture is smaller than its window of 11 pixels, and for sound.
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    x, y = x.double(), y.double()
    n, dims = len(x), tuple(range(1, x.ndim))
    mse = (x - y).square().mean(dims)
    psnr = peak_signal_noise_ratio(x, y, data_range=1.0, reduction="none", dim=dims)
    if x.ndim < 4 or min(x.shape[-2:]) < _WINDOW:
        ssim = torch.full_like(mse, torch.nan)
    else:
        # Frames as rows: the window is a square of one frame.
        a, b = (image.transpose(1, 2).flatten(0, 1) if x.ndim == 5 else image for image in (x, y))
        # CPUs convolve float32 40 times faster, and it is off by 1e-5 at most; on a GPU it may be TF32, which is not.
        a, b = (image if image.is_cuda else image.float() for image in (a, b))
        found = structural_similarity_index_measure(a, b, data_range=1.0, reduction="none")
        ssim = found.double().view(n, -1).mean(1)  # type: ignore[union-attr]
    return {"pixel_mse": mse, "psnr": psnr, "ssim": ssim}
