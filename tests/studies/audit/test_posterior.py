"""The posterior against torch.distributions, and against diffusers' own sampling."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from probe import load_autoencoder
from probe.studies.audit.posterior import Posterior, posterior_of


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_divergence_is_that_of_torch():
    mean, logvar = normal(4, 3, 5, 2), normal(4, 3, 5, 2, seed=1)
    found = Posterior(mean, logvar, mean).divergence()
    expected = kl_divergence(Normal(mean, torch.exp(logvar / 2)), Normal(0.0, 1.0)).mean((0, 2, 3))
    torch.testing.assert_close(found, expected)
    assert Posterior(0 * mean, 0 * logvar, mean).divergence().tolist() == [0, 0, 0]


def test_clamped_values_are_counted():
    logvar = torch.tensor([-30.0, -29.0, 0.0, 20.0]).double().view(1, 1, 4, 1)
    assert Posterior(logvar, logvar, logvar).clamped() == 0.5


def test_the_embedded_model_has_one():
    model = load_autoencoder("embedded:cifar-plain")
    x = normal(3, 3, 32, 32).float().clamp(-1, 1)
    found = posterior_of(model, x)
    assert not isinstance(found, str)
    with torch.no_grad():
        torch.testing.assert_close(found.mean, model.encode(x).double())
    noise = found.noise()
    # Mean and deviation of N standard normals, to five of their deviations 1/sqrt(N) and 1/sqrt(2N).
    assert abs(noise.mean()) < 5 / len(noise) ** 0.5
    assert abs(noise.std() - 1) < 5 / (2 * len(noise)) ** 0.5
    again = posterior_of(model, x)
    assert not isinstance(again, str)
    assert torch.equal(found.drawn, again.drawn)


def test_why_there_is_none(root):
    model = load_autoencoder(f"python:{root}/tests/studies/audit/faulty.py:sound")
    reason = posterior_of(model, torch.zeros(1, 3, 32, 32))
    assert reason == "Whether a Sound has a posterior is not known: it is not a class of diffusers."


def test_noise_that_rounding_hides_is_left_out():
    mean = torch.tensor([100.0, 0.0]).double().view(1, 1, 2, 1)
    logvar = torch.tensor([-30.0, 0.0]).double().view(1, 1, 2, 1)
    assert Posterior(mean, logvar, mean + 0.5).noise() == pytest.approx([0.5])
