"""Image metrics against scikit-image and SSIM's own formula, and where they do not exist."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio

from probe.metrics.images import pixel_mse, psnr, ssim


def image_metrics(x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"pixel_mse": pixel_mse(x, y), "psnr": psnr(x, y), "ssim": ssim(x, y)}


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 3, 24, 20, generator=generator)
    return x, (x + 0.2 * torch.randn(3, 3, 24, 20, generator=generator)).clamp(0, 1)


def structural_similarity(x: np.ndarray, y: np.ndarray) -> float:
    """Equation 13 of Wang et al. (2004) in each channel (c, H, W), averaged over every pixel, borders mirrored."""

    def blur(z: np.ndarray) -> np.ndarray:
        return np.stack([gaussian_filter(channel, 1.5, truncate=3.5, mode="mirror") for channel in z])

    a, b = blur(x), blur(y)
    variances, covariance = blur(x * x) - a * a + blur(y * y) - b * b, blur(x * y) - a * b
    c1, c2 = 0.01**2, 0.03**2
    return float(np.mean((2 * a * b + c1) * (2 * covariance + c2) / ((a * a + b * b + c1) * (variances + c2))))


def test_against_references(pair):
    x, y = pair
    found = image_metrics(x, y)
    assert {value.dtype for value in found.values()} == {torch.float64}
    for i in range(3):
        a, b = (image[i].double().numpy() for image in pair)
        assert float(found["pixel_mse"][i]) == pytest.approx(np.square(a - b).mean())
        assert float(found["psnr"][i]) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1.0))
        assert float(found["ssim"][i]) == pytest.approx(structural_similarity(a, b), rel=1e-6)


def test_equal_images():
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    found = image_metrics(x, x)
    assert found["pixel_mse"].tolist() == [0, 0]
    assert torch.isinf(found["psnr"]).all()
    assert found["ssim"].tolist() == pytest.approx([1, 1])


def test_video_is_the_mean_over_its_frames(pair):
    x, y = pair
    video = image_metrics(torch.stack([x, x], 2), torch.stack([x, y], 2))
    single = image_metrics(x, y)
    assert video["ssim"].tolist() == pytest.approx(((1 + single["ssim"]) / 2).tolist())
    assert video["pixel_mse"].tolist() == pytest.approx((single["pixel_mse"] / 2).tolist())


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 1, 100)], ids=["small", "sound"])
def test_without_a_window_there_is_no_ssim(shape):
    found = image_metrics(torch.zeros(shape), torch.full(shape, 0.1))
    assert torch.isnan(found["ssim"]).all()
    assert found["psnr"].tolist() == pytest.approx([20, 20])
