"""Variance ratios in closed form, on known weights, and of real architectures."""

import json
import math

import pytest
import torch

from probe.autoencoders.compatibility import small_classes, untrained
from probe.errors import UserError
from probe.report.study.contraction import Contraction, ratios_figure
from probe.studies.sweeps import contraction as study
from probe.studies.sweeps.contraction import architectures, measure, record, variance_ratio
from probe.studies.sweeps.grid import Backbone
from probe.studies.sweeps.kinds import ContractionConfig


def contraction(name: str, **settings) -> dict:
    config = ContractionConfig(study="contraction", **settings)
    return measure(Backbone(name), config, lambda share, note: None).values


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_a_linear_map_and_a_shift():
    x = drawn(50, 3, 4)
    assert variance_ratio(lambda x: 0.5 * x + 100, x) == pytest.approx(0.25, rel=1e-5)
    assert variance_ratio(lambda x: x[:, :1] * 0 + 7, x) == 0  # constant: the variance over coordinates would not be 0


def test_a_projection_keeps_its_share():
    """The first 3 of 12 coordinates: 1/4, to the sampling error of 2 chi-square variances."""
    n = 4000
    error = 0.25 * math.sqrt(2 / (3 * n))
    assert variance_ratio(lambda x: x[:, :3], drawn(n, 12)) == pytest.approx(0.25, abs=5 * error)


def test_the_same_as_mean_squared_distances():
    x = drawn(20, 5)

    def g(x):
        return torch.tanh(3 * x) @ torch.ones(5, 2)

    expected = torch.cdist(g(x), g(x)).square().sum() / torch.cdist(x, x).square().sum()
    assert variance_ratio(g, x) == pytest.approx(float(expected), rel=1e-5)


def test_rows_do_not_depend_on_what_is_computed_together(monkeypatch):
    x = drawn(37, 6)
    whole = variance_ratio(torch.sin, x)
    monkeypatch.setattr(study, "TOGETHER", 5)
    assert variance_ratio(torch.sin, x) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("x", [torch.ones(5, 2), drawn(1, 2)])
def test_inputs_that_do_not_vary(x):
    with pytest.raises(ValueError, match="do not vary"):
        variance_ratio(torch.sin, x)


def test_weights_by_seed_alone():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    config = {"config": {"base_channels": 2, "latent_dim": 3}}
    one, same, other = (untrained("ConvAutoencoder", **config, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.weights_sha256() == same.weights_sha256() != other.weights_sha256()


def test_the_papers_autoencoder_contracts_at_initialisation():
    found = contraction("ConvAutoencoder, k = 8", seeds=(0, 1, 2), samples=16)
    ratios = [found[side]["ratios"] for side in ("inputs", "latents")]
    assert (found["d"], *map(len, ratios)) == (8, 3, 3)
    assert 0 < max(map(max, ratios)) < 0.1
    assert found["latents"]["verdict"] == "holds"


@pytest.mark.slow
def test_every_small_architecture_has_ratios():
    names = list(small_classes())
    assert len(names) > 10
    for name in names[:8]:
        found = contraction(name, seeds=(0, 1), samples=4)
        ratios = found["inputs"]["ratios"] + found["latents"]["ratios"]
        assert all(ratio is not None and ratio >= 0 for ratio in ratios), found


def test_verdicts_and_the_figure():
    shrinks, grows, either = [0.1, 0.2, 0.3], [2.0, 2.1, 3.0], [0.5, 1.5, 1.2]
    records = [record(str(i), 4, one, grows) for i, one in enumerate([shrinks, grows, either])]
    assert [one["inputs"]["verdict"] for one in records] == ["holds", "does not hold", "undecided"]
    broken = record("overflow", 4, [0.1, math.inf], [math.nan, 0.1])
    assert (broken["inputs"]["mean"], broken["inputs"]["verdict"]) == (None, "undecided")
    assert record("once", 4, [0.1], [0.1])["inputs"]["verdict"] == "undecided"  # one seed, no interval
    json.dumps([*records, broken], allow_nan=False)
    axes = ratios_figure([Contraction.model_validate(one) for one in [*records, broken]]).axes[0]
    assert [len(line.get_xdata()) for line in axes.lines[:2]] == [10, 10]


def test_unknown_architectures_are_named():
    with pytest.raises(UserError, match="no architecture 'ResNet'"):
        architectures(ContractionConfig(study="contraction", architectures=("ResNet",)), {})
