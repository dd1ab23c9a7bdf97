"""Starts: a function of (seed, index) alone, and Gaussian."""

import torch
from scipy.stats import kstest

from probe.dynamics import gaussian_starts


def test_a_start_does_not_depend_on_its_batch():
    whole = gaussian_starts(7, range(20), (4, 3, 3))
    assert torch.equal(whole[5:9], gaussian_starts(7, range(5, 9), (4, 3, 3)))
    assert torch.equal(whole[[13, 2]], gaussian_starts(7, [13, 2], (4, 3, 3)))


def test_seeds_and_indices_give_different_starts():
    rows = torch.cat([gaussian_starts(seed, range(50), (8,)) for seed in (0, 1, 2)])
    assert len(torch.unique(rows, dim=0)) == 150


def test_standard_normal():
    values = gaussian_starts(0, range(400), (16,))
    assert kstest(values.flatten().numpy(), "norm").pvalue > 0.001  # a fixed seed: passes always or never
    # Correlation between neighbouring indices: 399 * 16 products of variance 1, so 4 standard errors are 0.05.
    assert abs((values[1:] * values[:-1]).mean()) < 0.05
