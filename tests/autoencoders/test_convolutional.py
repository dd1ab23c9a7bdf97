"""The paper's convolutional autoencoder: Table 4, and diffusers' save format."""

import itertools

import pytest
import torch

from probe.autoencoders.convolutional import ConvAutoencoder


@pytest.mark.parametrize(("channels", "side", "d", "k"), [(1, 32, 8, 2), (3, 32, 16, 128), (3, 64, 4, 512)])
def test_shapes_and_number_of_weights(channels, side, d, k):
    model = ConvAutoencoder(channels, side, d, k)
    x = torch.rand(2, channels, side, side)
    z = model.encode(x)
    assert z.shape == (2, k)
    assert model.decode(z).shape == x.shape
    widths, features = [channels, d, 2 * d, 4 * d, 8 * d], 8 * d * (side // 16) ** 2
    kernels = sum(9 * a * b for a, b in itertools.pairwise(widths))
    expected = 2 * kernels + sum(widths[1:]) + sum(widths[:-1]) + 2 * features * k + k + features
    assert sum(p.numel() for p in model.parameters()) == expected


def test_saved_and_loaded_it_is_the_same(tmp_path):
    model = ConvAutoencoder(1, 32, 4, 7)
    model.save_pretrained(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"config.json", "diffusion_pytorch_model.safetensors"}
    again = ConvAutoencoder.from_pretrained(tmp_path)
    x = torch.rand(3, 1, 32, 32)
    assert torch.equal(again(x), model(x))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="divisible by 16, not 28"):
        ConvAutoencoder(1, 28)
    with pytest.raises(ValueError, match="latent_dim 257 is more than the 256 features"):
        ConvAutoencoder(1, 32, 8, 257)
