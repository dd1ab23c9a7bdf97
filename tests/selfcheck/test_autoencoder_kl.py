"""The self-check's autoencoder has the layers of diffusers' AutoencoderKL."""

import pytest
import torch

from probe.selfcheck.autoencoder_kl import CHANNELS, LAYERS, SCALING, AutoencoderKL


def like_diffusers(channels: tuple[int, ...], layers: int, groups: int):
    diffusers = pytest.importorskip("diffusers")
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=layers,
        norm_num_groups=groups,
        latent_channels=4,
    )


def test_shapes_of_all_parameters_are_those_of_stable_diffusion():
    with torch.device("meta"):
        ours, theirs = AutoencoderKL(), like_diffusers(CHANNELS, LAYERS, 32)
    shapes = {name: value.shape for name, value in ours.state_dict().items()}
    assert shapes == {name: value.shape for name, value in theirs.state_dict().items()}
    assert sum(value.numel() for value in shapes.values()) == 83_653_863


@torch.no_grad()
def test_outputs_are_those_of_diffusers():
    theirs = like_diffusers((16, 32, 32), 2, 8).eval()
    ours = AutoencoderKL((16, 32, 32), 2, 8).eval()
    ours.load_state_dict(theirs.state_dict())
    z = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    x = theirs.decode(z / SCALING).sample
    torch.testing.assert_close(ours.decode(z), x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours(z), SCALING * theirs.encode(x).latent_dist.mode(), rtol=1e-5, atol=1e-5)
