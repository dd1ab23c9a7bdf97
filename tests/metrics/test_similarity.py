"""Nearest cosine, memorization and Chamfer similarity against scikit-learn and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from probe.metrics import memorization as module
from probe.metrics.memorization import chamfer_cosine, memorization, nearest_cosine, noise_images, null_levels


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# A dot product of d unit coordinates in float32 is off by eps sqrt(d) as a random walk: 1e-6 at d = 48.
ROUNDING = 1e-6


@pytest.mark.parametrize("cells", [2**24, 200, 1])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (7, 30), (40, 3)])
def test_as_scikit_learn_says_whatever_the_block(monkeypatch, cells, n, m):
    monkeypatch.setattr(module, "CELLS", cells)
    a, b = drawn(n, 3, 4, 4), drawn(m, 3, 4, 4, seed=1)
    expected = cosine_similarity(a.flatten(1).double(), b.flatten(1).double()).max(axis=1)
    assert nearest_cosine(a, b).numpy() == pytest.approx(expected, abs=ROUNDING)


def test_no_tile_is_larger_than_the_bound(monkeypatch):
    monkeypatch.setattr(module, "CELLS", 1000)
    sizes = []
    real = torch.Tensor.amax

    def watched(self, *arguments, **named):
        sizes.append(self.numel())
        return real(self, *arguments, **named)

    monkeypatch.setattr(torch.Tensor, "amax", watched)
    nearest_cosine(drawn(300, 8), drawn(500, 8, seed=1))
    assert max(sizes) <= 1000


def test_scale_does_not_matter_not_even_where_squares_overflow():
    a, b = drawn(5, 6), drawn(9, 6, seed=1)
    expected = nearest_cosine(a, b)
    for scale in (1e-30, 1e30):
        assert torch.allclose(nearest_cosine(a * scale, b / scale), expected, atol=ROUNDING)


def test_rows_without_a_direction():
    a = torch.tensor([[0.0, 0.0], [math.nan, 1.0], [math.inf, 0.0], [1.0, 0.0]])
    b = torch.tensor([[-1.0, 0.0], [0.0, 0.0]])
    found = nearest_cosine(a, b)
    assert found[[0, 3]].tolist() == [0.0, 0.0]  # the zero row of b is nearer to (1, 0) than its opposite
    assert found[[1, 2]].isnan().all()
    assert nearest_cosine(a[3:], torch.tensor([[math.nan, 0.0]])).isnan().all()


@pytest.mark.parametrize("bad", [torch.empty(0, 2), torch.ones(1, 3)])
def test_nothing_to_compare_with(bad):
    with pytest.raises(ValueError, match="cannot be compared"):
        nearest_cosine(torch.ones(1, 2), bad)


def test_memorization_of_training_images_is_1_and_of_others_less():
    training = noise_images(20, (1, 6, 6))
    assert torch.allclose(memorization(training[[3, 7]] * 0.5, training), torch.ones(2), atol=ROUNDING)
    # uint8 images of the same picture in another scale.
    bytes_ = (training * 255).round().to(torch.uint8)
    assert torch.allclose(memorization(training, bytes_), torch.ones(20), atol=1e-4)  # rounding to 255 levels
    assert memorization(torch.eye(36)[:1], 1 - torch.eye(36)[:1]).item() == 0.0


def test_null_level_of_noise_in_closed_form():
    """Uniform noise against one image: cos -> E[u] sum x / (sqrt(E[u^2]) sqrt(d) |x|) = sqrt(3)/2 * mean / rms."""
    d = 64 * 64
    image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(5)) ** 4
    expected = math.sqrt(3) / 2 * float(image.mean() / image.square().mean().sqrt())
    nulls = null_levels(image, unseen=image, untrained=image * 0, noise=noise_images(200, (1, 64, 64)))
    # One cosine has standard deviation below sqrt(1/12) / sqrt(1/3) / sqrt(d) = 0.008; five errors of a mean of 200.
    assert float(nulls["noise"].mean()) == pytest.approx(expected, abs=5 * 0.5 / math.sqrt(200 * d))
    assert (nulls["unseen"].item(), nulls["untrained"].item()) == (pytest.approx(1, abs=ROUNDING), 0.0)


def test_noise_image_i_does_not_depend_on_how_many():
    assert torch.equal(noise_images(3, (2, 2), seed=4), noise_images(9, (2, 2), seed=4)[:3])


def test_chamfer_by_brute_force():
    a, b = drawn(6, 5), drawn(11, 5, seed=2)
    table = cosine_similarity(a.double(), b.double())
    expected = (table.max(axis=1).mean() + table.max(axis=0).mean()) / 2
    assert chamfer_cosine(a, b) == pytest.approx(expected, abs=ROUNDING)
    assert chamfer_cosine(b, a) == pytest.approx(expected, abs=ROUNDING)


@settings(deadline=None)
@given(st.floats(-math.pi, math.pi))
def test_chamfer_of_two_directions_is_the_cosine_of_their_angle(angle):
    a = torch.tensor([[1.0, 0.0]])
    b = torch.tensor([[math.cos(angle), math.sin(angle)]])
    assert chamfer_cosine(a, b) == pytest.approx(math.cos(angle), abs=ROUNDING)


def test_chamfer_is_1_for_the_same_directions_and_sees_what_one_set_lacks():
    a = torch.eye(4)
    assert chamfer_cosine(a, 3 * a.flip(0).repeat(2, 1)) == pytest.approx(1, abs=ROUNDING)
    # Two of b's four directions are in a: (1 + 2/4) / 2.
    assert chamfer_cosine(a[:2], a) == pytest.approx(0.75, abs=ROUNDING)
    with pytest.raises(ValueError, match="empty"):
        chamfer_cosine(a[:0], a)
    with pytest.raises(ValueError, match="compared"):
        chamfer_cosine(a, a[:0])
    assert np.isnan(chamfer_cosine(a, a * math.nan))
