"""The cost of a step against a count by hand."""

import itertools

import torch

from probe import load_autoencoder
from probe.autoencoders.convolutional import ConvAutoencoder
from probe.config import Config, SolverConfig
from probe.studies.probing.end_points import cost


def test_operations_and_memory_of_the_papers_autoencoder(tmp_path):
    d, k, side = 4, 8, 32
    ConvAutoencoder(3, side, d, k).save_pretrained(tmp_path)
    model = load_autoencoder(str(tmp_path))
    found = cost(model, model.latent_shape(side), Config(solver=SolverConfig(batch_size=5)))
    widths, down = [3, d, 2 * d, 4 * d, 8 * d], 0
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        down += 2 * 9 * a * b * (side // 2 ** (i + 1)) ** 2
    linear = 2 * k * 8 * d * (side // 16) ** 2
    # A transposed convolution of stride 2 does as many products as the convolution that it mirrors.
    assert found["flops_per_step"] == 2 * (down + linear)
    weights = 4 * sum(p.numel() for p in model.modules[0].parameters())
    assert found["weights_bytes"] == weights
    largest = 4 * max(3 * side**2, d * (side // 2) ** 2)
    assert found["step_bytes"] == weights + 5 * 3 * largest
    assert torch.is_grad_enabled()
