"""One pass through maps whose errors are known in closed form."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.metrics.frechet import Inception, frechet, load_inception
from probe.metrics.perceptual import Lpips, load_lpips
from probe.studies.perceptual import Perceptual
from probe.studies.quality import one_pass


def model(decoder=lambda z: z, channels: int = 3, kind: str = "image", **more) -> Autoencoder:
    """A model whose encoder is the identity."""
    fields = {"source": "a test", "class_name": "Test", "modules": (), "image_range": (-1.0, 1.0)}
    return Autoencoder(encoder=lambda x: x, decoder=decoder, channels=channels, kind=kind, **fields | more)


def pictures(n: int = 6, side: int = 32, channels: int = 3) -> Tensor:
    rough = torch.rand(n, channels, 4, 4, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(rough, (side, side), mode="bilinear")
    return (smooth * 255).round().to(torch.uint8)


@pytest.fixture(scope="module")
def perceptual(random_alexnet: Path, random_inception: Path) -> Perceptual:
    lpips, inception = load_lpips("alex", str(random_alexnet)), load_inception(str(random_inception), layer="64")
    assert isinstance(lpips, Lpips)
    assert isinstance(inception, Inception)
    return Perceptual(lpips, inception)


def test_the_identity_loses_nothing(perceptual: Perceptual):
    found = one_pass(model(), pictures(), perceptual, together=4, eight_bits=True)
    assert found.errors["pixel_mse"].tolist() == [0.0] * 6
    assert found.errors["psnr"].isinf().all()
    assert found.errors["ssim"] == pytest.approx([1.0] * 6)
    assert found.errors["lpips"].tolist() == [0.0] * 6
    assert found.rfid is not None
    assert found.rfid.mean == pytest.approx(0, abs=1e-6)
    assert set(found.errors) == {"pixel_mse", "psnr", "ssim", "lpips"}


def test_closed_forms(perceptual: Perceptual):
    """Half of the image in [0, 1]: (z + 1) / 2 - 1 in the model's range; the error is x^2 / 4."""
    x = pictures() // 2 * 2  # so that no half is a tie of rounding
    found = one_pass(model(lambda z: (z + 1) / 2 - 1), x, perceptual)
    expected = (x.double() / 255).square().flatten(1).mean(1) / 4
    assert found.errors["pixel_mse"] == pytest.approx(expected, rel=1e-5)
    assert found.errors["psnr"] == pytest.approx(-10 * expected.log10(), rel=1e-5)
    y = x / 255 / 2
    assert found.errors["lpips"] == pytest.approx(perceptual.lpips(x / 255, y), abs=1e-6)
    rounded = (y * 255).round().to(torch.uint8)
    assert found.rfid == frechet(perceptual.inception(x), perceptual.inception(rounded))


def test_rounding_to_eight_bits():
    """A third of a level too much is nothing in 8 bits."""
    x = pictures().clamp(max=200)
    shifted = model(lambda z: z + 2 * 0.33 / 255)
    assert one_pass(shifted, x, Perceptual()).errors["pixel_mse"] == pytest.approx([(0.33 / 255) ** 2] * 6, rel=1e-3)
    assert one_pass(shifted, x, Perceptual(), eight_bits=True).errors["pixel_mse"].max() < 1e-12


def test_values_out_of_range_are_clamped():
    x = torch.full((2, 3, 16, 16), 255, dtype=torch.uint8)
    assert one_pass(model(lambda z: 3 * z), x, Perceptual()).errors["pixel_mse"].tolist() == [0.0, 0.0]


def test_batches_change_nothing(perceptual: Perceptual):
    decoder = torch.nn.Conv2d(3, 3, 3, padding=1)
    one, other = (one_pass(model(decoder), pictures(), perceptual, together=n) for n in (1, 6))
    for name in one.errors:
        assert one.errors[name] == pytest.approx(other.errors[name], rel=1e-4, abs=1e-6), name
    assert one.rfid.mean == pytest.approx(other.rfid.mean, rel=1e-3)


def test_grey_padded_and_video_models(perceptual: Perceptual):
    grey = one_pass(model(channels=1, side=40), pictures(channels=1), perceptual)
    assert grey.errors["lpips"] == pytest.approx([0.0] * 6, abs=1e-9)
    assert grey.errors["pixel_mse"].max() < 1e-12
    video = one_pass(model(kind="video", length=2), pictures(), perceptual)
    assert video.errors["pixel_mse"].max() < 1e-12
    assert video.errors["lpips"].isnan().all()
    assert video.rfid is not None


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_told(perceptual: Perceptual, value: float):
    def broken(z: Tensor) -> Tensor:
        return torch.where(torch.arange(len(z))[:, None, None, None] == 1, value, z)

    found = one_pass(model(broken), pictures(), perceptual)
    assert found.finite.tolist() == [True, False, True, True, True, True]
    assert found.errors["psnr"].isnan().tolist() == [False, True, False, False, False, False]
    assert found.rfid is None
