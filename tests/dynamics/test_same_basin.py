"""Acceleration and low precision must not change where a start ends: at least 99 % as the plain float64 iteration."""

import pytest
import torch

from probe import LatentMap, load_autoencoder
from probe.dynamics import Outcome, gaussian_starts, iterate
from probe.dynamics.latent_map import in_type


@pytest.mark.parametrize(
    ("source", "shape", "tolerance", "count"),
    [
        ("embedded:cifar-attractors", (4, 8, 8), 1e-5, 8),
        pytest.param("embedded:cifar-attractors", (4, 8, 8), 1e-5, 64, marks=pytest.mark.slow),
        pytest.param("python:probe.bench.conv_ae:load", (16,), 1e-6, 256, marks=pytest.mark.slow),
    ],
)
def test_accelerated_starts_end_where_plain_float64_ones_do(source, shape, tolerance, count):
    f = LatentMap(load_autoencoder(source))
    z0 = gaussian_starts(0, range(count), shape)
    settings = {"max_steps": 500, "tolerance": tolerance, "batch_size": 64}
    fast = iterate(f, z0, accelerate=True, **settings)
    with in_type(f, torch.float64):
        plain = iterate(f, z0.double(), **settings)
    settled = plain.outcome == Outcome.CONVERGED
    assert int(settled.sum()) > 0.9 * count
    assert float(fast.extrapolations[settled].float().mean()) > 0.5  # there was something to go wrong
    cosine = torch.nn.functional.cosine_similarity(fast.end.double().flatten(1), plain.end.flatten(1))
    same = (fast.outcome == Outcome.CONVERGED) & (cosine > 0.99)
    assert float(same[settled].float().mean()) >= 0.99
    assert int(fast.evaluations[settled].sum()) < int(plain.evaluations[settled].sum())
