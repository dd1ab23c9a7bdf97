"""Measures of decoded pictures on pictures whose numbers are known."""

import pytest
import torch

from probe.studies.audit.channels import channel_effects
from probe.studies.audit.colour import shift
from probe.studies.audit.saturation import value_range


@pytest.mark.parametrize("ends", [(-1.0, 1.0), (0.0, 1.0)])
def test_shift_in_levels(ends):
    low, high = ends
    grey = torch.full((2, 3, 4, 4), (low + high) / 2)
    step = (high - low) / 255
    cast = torch.tensor([3.0, 0.0, -5.0]).view(1, 3, 1, 1) * step
    assert shift(grey, grey + cast, ends).flatten().tolist() == pytest.approx([3, 0, -5] * 2, abs=1e-4)
    far = grey + 10 * (high - low)  # a picture clips
    assert shift(grey, far, ends).numpy() == pytest.approx(127.5, abs=1e-3)


def test_range_of_values():
    x = torch.tensor([0.0, 0.5, 0.5, 1.0]).view(1, 1, 2, 2)
    y = torch.tensor([-0.2, 0.001, 0.5, 1.1]).view(1, 1, 2, 2)
    found = value_range(x, y, (0.0, 1.0))
    assert (found.outside, found.saturated, found.original) == (0.5, 0.75, 0.5)
    assert found.excess == 0.25
    assert found.beyond == pytest.approx(0.2)
    same = value_range(x, x, (0.0, 1.0))
    assert (same.outside, same.excess, same.beyond) == (0, 0, 0)


def test_what_is_not_finite_is_outside():
    x = torch.full((1, 1, 2, 2), 0.5)
    y = torch.tensor([torch.nan, torch.inf, 0.5, 0.5]).view(1, 1, 2, 2)
    found = value_range(x, y, (0.0, 1.0))
    assert (found.outside, found.excess) == (0.5, 0.5)


def test_effects_of_channels():
    """The picture is channel 0 plus a thousandth of channel 1; channel 2 is ignored."""
    z = 0.1 * torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    z[:, 2] = 0

    def decode(z: torch.Tensor) -> torch.Tensor:
        return (z[:, :1] + 1e-3 * z[:, 1:2]).repeat_interleave(2, 2)

    first, second, third = channel_effects(decode, z, (-1.0, 1.0)).tolist()
    assert first > 10
    assert 0 < second < 0.5
    assert third == 0
