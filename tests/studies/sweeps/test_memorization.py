"""One model's measures, on an autoencoder whose attractors are known in closed form."""

import math
import statistics
from types import SimpleNamespace

import pytest
import torch

from probe.autoencoders import Autoencoder
from probe.studies.sweeps.kinds import MemorizationConfig
from probe.studies.sweeps.memorization import measure

SIDE = 16
P = torch.zeros(1, SIDE, SIDE)
P[:, :8] = 1.0
Q = 1.0 - P
T = 0.9575040240772688
"""The positive solution of t = tanh(2 t)."""


def decode(z):
    """A positive z shows P, a negative one Q."""
    z = z.view(-1, 1, 1, 1)
    return z.clamp(min=0) * P + (-z).clamp(min=0) * Q


def encode(x):
    """f(z) = tanh(2 z): attractors at +-T, of derivative 2 (1 - T^2) = 0.166; 0 repels."""
    weights = (P - Q) / P.sum()
    return torch.tanh(2 * (x * weights).flatten(1).sum(1, keepdim=True))


def autoencoder(encoder, decoder) -> Autoencoder:
    return Autoencoder("known", "Known", encoder, decoder, modules=(), image_range=(0.0, 1.0), channels=1, side=SIDE)


TRAINED = autoencoder(encode, decode)
UNTRAINED = autoencoder(lambda x: x.flatten(1)[:, :1] * 0 + 1, lambda z: 0 * decode(z) + 0.5)


CONFIG = MemorizationConfig.model_validate(
    {
        "study": "bottleneck",
        "datasets": {"known": {"train": {"source": "bundled:digits", "n": 40}, "test": 8, "side": SIDE}},
        "k": [1],
        "solver": {"starts": 36, "certificates": 5},
        "measure": {"nulls": 400, "gallery": 3},
    }
)


def measured(model, train, test, seed=0):
    untrained, cell = (lambda: UNTRAINED), SimpleNamespace(seed=seed)
    trained = SimpleNamespace(load=lambda: model, untrained=untrained, train=train, test=test, cell=cell)
    return measure(trained, CONFIG, lambda share, note: None)


@pytest.fixture(scope="module")
def found():
    """30 training images of P and 10 of Q, of several brightnesses; 8 unseen images of both."""
    grey = (5 + 6 * torch.arange(40)).view(-1, 1, 1, 1)
    train = torch.where(torch.arange(40).view(-1, 1, 1, 1) % 4 > 0, P * grey, Q * grey).to(torch.uint8)
    test = ((P + Q) * 102).expand(8, -1, -1, -1).to(torch.uint8)
    return measured(TRAINED, train, test), train


def test_attractors_are_counted_certified_and_ordered_by_basin(found):
    values, tensors = found[0].values, found[0].tensors
    assert values["starts"] == 36
    assert values["outcomes"] == {"converged": 36, "cycle": 0, "max_steps": 0, "diverged": 0}
    assert (values["distinct_euclidean"], values["distinct_cosine"]) == (2, 2)
    assert tensors["basin"].tolist() == [27, 9]
    assert (values["examined"], values["certified"], values["not_attractors"], values["undecided"]) == (2, 2, 0, 0)
    first = tensors["gallery"].float() / 255
    assert torch.allclose(first[0], T * P, atol=2e-3)  # the resolution of a byte, and the tolerance of the iteration
    assert torch.allclose(first[1], T * Q, atol=2e-3)


def test_the_median_of_the_steps_is_that_of_a_plain_loop(found):
    steps = []
    for image in found[1][:36]:
        z, count = math.tanh(2 * float(image.max()) / 255), 0
        while (math.tanh(2 * z) - z) ** 2 >= 1e-6:
            z, count = math.tanh(2 * z), count + 1
        steps.append(count)
    assert found[0].values["steps"] == found[0].values["steps_converged"] == statistics.median(steps)
    assert len(set(steps)) > 1


def test_memorization_and_its_null_levels_are_those_of_the_geometry(found):
    values, tensors = found[0].values, found[0].tensors
    assert tensors["mem"].tolist() == pytest.approx([1, 1], abs=1e-6)  # rays of training images
    assert values["mem"] == pytest.approx(1, abs=1e-6)
    assert values["mem_certified"] == pytest.approx(1, abs=1e-6)
    assert values["null_test"] == pytest.approx(math.sqrt(0.5), abs=1e-6)  # P + Q against P
    assert values["null_untrained"] == pytest.approx(math.sqrt(0.5), abs=1e-6)
    mean = found[1].float().mean(0)
    assert values["null_mean"] == pytest.approx(float(mean[0, 0, 0] / mean.norm() * SIDE / math.sqrt(2)), abs=1e-6)
    # Uniform noise has mean 1/2 and mean square 1/3 in the larger of its halves: sqrt(1/2) * (1/2) / sqrt(1/3).
    assert values["null_noise"] == pytest.approx(math.sqrt(3 / 8), abs=0.02)
    assert tensors["null_noise"].shape == (400,)
    assert tensors["null_test"].shape == (8,)


def test_errors_and_rank(found):
    values = found[0].values
    assert values["test_error"] == pytest.approx(0.4**2, abs=1e-6)  # f sends P + Q to 0, which is black
    grey = (found[1][:36].amax((1, 2, 3)).double() / 255).numpy()
    expected = sum((math.tanh(2 * g) - g) ** 2 / 2 for g in grey) / 36  # half of the pixels are black, as they should
    assert values["train_error"] == pytest.approx(expected, abs=1e-6)
    assert values["rank"] == 1  # two points lie on a line


def test_a_model_whose_starts_all_diverge_has_no_attractors_and_no_mem(found):
    away = autoencoder(lambda x: 1e5 * (1 + x.flatten(1)[:, :1]), lambda z: z.view(-1, 1, 1, 1) * (P + Q))
    values = measured(away, found[1], found[1][:5]).values
    assert values["outcomes"]["diverged"] == 36
    assert (values["distinct_euclidean"], values["distinct_cosine"], values["examined"], values["rank"]) == (0, 0, 0, 0)
    assert values["mem"] is values["mem_certified"] is values["steps_converged"] is None


def test_noise_is_that_of_the_seed_and_nothing_else_changes_with_it(found):
    images = found[1]
    one, two = (measured(TRAINED, images, images[:5], seed) for seed in (0, 1))
    again = measured(TRAINED, images, images[:5])
    assert not torch.equal(one.tensors["null_noise"], two.tensors["null_noise"])
    assert torch.equal(one.tensors["null_noise"], again.tensors["null_noise"])
    same = {key: value for key, value in one.values.items() if key != "null_noise"}
    assert same == {key: value for key, value in two.values.items() if key != "null_noise"}
