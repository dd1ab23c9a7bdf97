"""Measures of latents against closed forms, numpy and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from probe.studies.audit.channels import dead, enough_rows, spread
from probe.studies.audit.latents import by_channel
from probe.studies.audit.scaling import moments
from probe.studies.audit.spots import outliers


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("shape", "found"), [((2, 3, 4, 5), (2, 3, 20)), ((2, 7), (2, 7, 1)), ((2, 3, 1, 4, 4), (2, 3, 16))]
)
def test_axes_that_are_known(shape, found):
    assert by_channel(torch.zeros(shape)).shape == found


def test_latents_that_are_not_looked_at():
    assert "(16, 8) holds channels is not known" in by_channel(torch.zeros(2, 16, 8))
    assert "Latents of several frames, (3, 2, 4, 4)" in by_channel(torch.zeros(2, 3, 2, 4, 4))
    assert "NaN" in by_channel(torch.full((2, 3, 4, 4), torch.nan))


def test_moments_are_those_of_numpy():
    z = 3 * normal(5, 4, 9) + torch.arange(4)[:, None]
    found, a = moments(z), z.numpy()
    np.testing.assert_allclose(found.mean, a.mean((0, 2)))
    np.testing.assert_allclose(found.std, a.std((0, 2)))
    assert found.pooled_mean == pytest.approx(a.mean())
    assert found.pooled_std == pytest.approx(a.std())


@pytest.mark.parametrize(("unit", "offset"), [(1.0, 0.0), (1e-3, 7.0)])
def test_the_place_that_stands_out(unit, offset):
    """Twenty deviations in each channel."""
    z = normal(60, 4, 64)
    z[:40, :, 10] = 20.0
    found = outliers(z * unit + offset)
    assert found.ratio[:40].numpy() == pytest.approx(20, rel=0.15)
    assert found.ratio[40:].max() < 4
    assert found.place[:40].tolist() == [10] * 40
    assert found.share(10.0) == pytest.approx(4 / 6)
    assert found.same_place(10.0) == (10, 1.0)
    assert outliers(z[40:]).same_place(10.0) is None


def test_the_place_that_stands_out_behind_a_relu():
    z = normal(20, 4, 256).sub(1).relu()
    assert outliers(z).share(10.0) == 0
    z[:, :, 3] = 40.0
    assert outliers(z).same_place(10.0) == (3, 1.0)
    assert outliers(z).share(10.0) == 1


def test_a_flat_image_with_an_object_does_not_stand_out():
    z = normal(20, 4, 64)
    z[0, :, 1:] *= 1e-6
    assert outliers(z).share(5.0) == 0


def test_channels_that_never_vary_are_left_out():
    z = normal(6, 4, 64)
    still = torch.cat([z, torch.ones(6, 1, 64, dtype=z.dtype)], 1)
    assert torch.equal(outliers(z).ratio, outliers(still).ratio)
    assert outliers(torch.ones(3, 2, 16, dtype=z.dtype)).ratio.tolist() == [0, 0, 0]


def test_dead_channels():
    z = normal(6, 4, 64)
    assert dead(z) == []
    z[:, 1] = 5.0
    z[:, 2] *= 1e-2
    assert dead(z) == [1]
    assert dead(torch.ones(6, 3, 4, dtype=z.dtype)) == [0, 1, 2]


def test_explained_variance_is_that_of_a_regression():
    z = normal(40, 5, 6) + 0.7 * normal(40, 1, 6, seed=1)
    found = spread(z)
    rows = z.transpose(1, 2).flatten(0, 1).numpy()
    for channel in range(5):
        others, target = np.delete(rows, channel, 1), rows[:, channel]
        score = LinearRegression().fit(others, target).score(others, target)
        assert found.explained[channel] == pytest.approx(score, abs=1e-9)
    correlation = np.abs(np.corrcoef(rows.T) - np.eye(5))
    assert found.correlation == pytest.approx(correlation.max())
    assert found.pair is not None
    assert correlation[found.pair] == correlation.max()


def test_a_sum_of_channels_is_explained_and_the_rest_is_not():
    z = normal(50, 5, 4)
    z[:, 4] = z[:, 0] - 2 * z[:, 1] + 3
    explained = spread(z).explained
    assert explained[[0, 1, 4]].numpy() == pytest.approx(1, abs=1e-9)
    assert explained[[2, 3]].max() < 0.1


def test_channels_that_never_vary_explain_nothing():
    z = normal(50, 3, 4)
    z[:, 1] = 0
    found = spread(z)
    assert found.explained[1] == 0
    assert found.pair == (0, 2)
    assert found.effective_rank == pytest.approx(2, abs=0.02)


def test_enough_rows():
    assert enough_rows(torch.zeros(5, 4, 8))
    assert not enough_rows(torch.zeros(5, 8, 8))
