"""The paper's convolutional autoencoder: Table 4, and diffusers' save format."""

import itertools

import pytest
import torch
from safetensors.torch import load_file, save_file

from probe import LatentMap, load_autoencoder
from probe.autoencoders.convolutional import ConvAutoencoder
from probe.errors import UserError


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


def test_two_convolutions_of_32_and_64_channels():
    model = ConvAutoencoder(1, 28, 32, 16, convolutions=2)
    x = torch.rand(2, 1, 28, 28)
    assert model.encoder[:-2](x).shape == (2, 64, 7, 7)
    assert model(x).shape == x.shape
    kernels, biases, linear = 9 * (32 + 32 * 64), (32 + 64) + (32 + 1), 3136 * 16
    assert sum(p.numel() for p in model.parameters()) == 2 * kernels + biases + 2 * linear + 16 + 3136


def test_saved_and_loaded_it_is_the_same(tmp_path):
    model = ConvAutoencoder(1, 32, 4, 7)
    model.save_pretrained(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"config.json", "diffusion_pytorch_model.safetensors"}
    again = ConvAutoencoder.from_pretrained(tmp_path)
    x = torch.rand(3, 1, 32, 32)
    assert torch.equal(again(x), model(x))


def test_weights_of_another_architecture_are_refused(tmp_path):
    ConvAutoencoder(1, 32, 4, 7).save_pretrained(tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "diffusion_pytorch_model.safetensors"
    config.write_text(config.read_text().replace('"latent_dim": 7', '"latent_dim": 8'))
    with pytest.raises(UserError, match=r"another architecture than config\.json's: .* shape"):
        load_autoencoder(str(tmp_path))
    config.write_text(config.read_text().replace('"latent_dim": 8', '"latent_dim": 7'))
    tensors = load_file(weights)
    tensors.pop("encoder.0.bias")
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"another architecture than config\.json's: encoder\.0\.bias is missing"):
        load_autoencoder(str(tmp_path))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="divisible by 16, not 28"):
        ConvAutoencoder(1, 28)
    with pytest.raises(ValueError, match="2 strides of 2 need a side divisible by 4, not 30"):
        ConvAutoencoder(1, 30, convolutions=2)
    with pytest.raises(ValueError, match="latent_dim 257 is more than the 256 features"):
        ConvAutoencoder(1, 32, 8, 257)


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_loaded_like_any_other(tmp_path, channels):
    original = ConvAutoencoder(channels, 32, 4, 7)
    original.save_pretrained(tmp_path)
    model = load_autoencoder(str(tmp_path))
    assert (model.class_name, model.image_range, model.latent_shape(32)) == ("ConvAutoencoder", (0.0, 1.0), (7,))
    z = torch.randn(2, 7)
    assert torch.allclose(LatentMap(model)(z), original.encode(original.decode(z)), atol=1e-6)
    with pytest.raises(UserError, match="side 32 only, not 48; set resolution=32"):
        model.latent_shape(48)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    if channels == 1:
        with pytest.raises(UserError, match=r"images of 1 channel, and data sets have 3"):
            model.from_pixels(pixels)
        assert model.to_pixels(original.decode(z)).shape == (2, 3, 32, 32)
    else:
        assert torch.allclose(model.from_pixels(pixels) * 255, pixels.float(), atol=1e-4)
        assert torch.equal(model.to_pixels(model.from_pixels(pixels)), pixels)
