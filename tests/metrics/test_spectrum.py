"""Power by frequency against waves of known frequency, Parseval's theorem and scipy's cosine transform."""

import math

import pytest
import torch
from scipy.fft import dctn

from probe.metrics.spectrum import ROUNDING, band_power, bands, decibels, rounding_power


@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 24), (64, 48)])
def test_all_bands_together_are_the_variance(height, width):
    x = torch.rand(3, 2, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    power = band_power(x, bands(min(height, width)))
    assert torch.allclose(power.sum(1), x.var((2, 3), correction=0).mean(1), rtol=1e-12)
    coefficients = torch.from_numpy(dctn(x.numpy(), axes=(2, 3), norm="ortho"))
    total = (coefficients.square().sum((2, 3)) - coefficients[:, :, 0, 0].square()).mean(1) / (height * width)
    assert torch.allclose(power.sum(1), total, rtol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3, 9, 16, 31])
def test_a_wave_is_in_the_band_of_its_frequency(k):
    """cos(pi k (i + 1/2) / N) has k / 2N cycles per pixel; a band holds its upper edge."""
    side = 32
    wave = torch.cos(math.pi * k * (torch.arange(side, dtype=torch.float64) + 0.5) / side)
    x = wave.expand(1, 1, side, side)
    edges = bands(side)
    power = band_power(x, edges)[0]
    (band,) = (power > 1e-12).nonzero().flatten().tolist()
    assert float(edges[band]) < k / (2 * side) <= float(edges[band + 1]) + 1e-12
    assert float(power[band]) == pytest.approx(0.5)
    assert torch.equal(band_power(x.mT, edges).round(decimals=12), band_power(x, edges).round(decimals=12))


def test_every_band_has_coefficients_on_both_axes():
    for side in (1, 2, 3, 8, 11, 32, 33, 100):
        edges = bands(side)
        assert len(edges) - 1 == max(min(16, side // 2), 1)
        power = rounding_power(side, side, edges)
        assert side == 1 or bool((power > 0).all())
        assert float(power.sum()) == pytest.approx(ROUNDING * (1 - 1 / side**2))


def test_the_floor_is_what_rounding_to_8_bits_adds():
    x = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    edges = bands(32)
    error = band_power((x * 255).round() / 255 - x, edges).mean(0)
    assert torch.allclose(error, rounding_power(32, 32, edges), rtol=0.1)


def test_decibels():
    now, before = torch.tensor([[1.0, 0.1, 0.0, 0.0]]), torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    ratio = decibels(now, before, torch.tensor([0.0, 0.0, 1e-3, 1e-3]))
    assert ratio[0].tolist() == pytest.approx([0, -10, 10 * math.log10(1e-3 / 1.001), 0])
