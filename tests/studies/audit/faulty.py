"""Small autoencoders that are sound, or have one fault each: what `probe audit` must find, and must not find.

The sound one is linear. Patches of 4 x 4 pixels are whitened by the principal components of the bundled photographs,
and rotated at random, so that in scaled coordinates every channel has mean 0 and deviation 1, and no two channels are
correlated. Each function takes no argument, so that the command line can load it:
``probe audit python:tests/studies/audit/faulty.py:blob``.
"""

from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from probe.autoencoders import load_autoencoder
from probe.config import DatasetConfig
from probe.data.load import load_images

PATCH, CHANNELS, RESOLUTION = 4, 8, 32
SCALE, SHIFT = 0.18215, 0.5


@cache
def photographs() -> Tensor:
    """Bundled photographs in [-1, 1] (60, 3, 32, 32), float32."""
    spec = DatasetConfig(source="bundled:photographs", n=60, holdout=0)
    return load_images("photographs", spec, resolution=RESOLUTION).images / 127.5 - 1


@cache
def _components() -> tuple[Tensor, Tensor, Tensor]:
    """The patches' mean (48,), and their whitening (8, 48) with its pseudo-inverse (48, 8)."""
    patches = nn.functional.unfold(photographs().double(), PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1)
    mean = patches.mean(0)
    _, values, vectors = torch.linalg.svd((patches - mean) / len(patches) ** 0.5, full_matrices=False)
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(CHANNELS, CHANNELS, generator=generator, dtype=torch.float64))[0]
    top, deviations = vectors[:CHANNELS], values[:CHANNELS, None]
    return mean, rotation @ (top / deviations), (top * deviations).T @ rotation.T


class Sound(nn.Module):
    """z = W (patch - mean) / factor + shift, and back. Its scaled latents are white on the bundled photographs."""

    image_range = (-1.0, 1.0)
    scaling_factor = SCALE
    shift_factor = SHIFT
    downsampling = PATCH

    def __init__(self) -> None:
        super().__init__()
        mean, there, back = _components()
        self.down = nn.Conv2d(3, CHANNELS, PATCH, PATCH).double()
        self.up = nn.ConvTranspose2d(CHANNELS, 3, PATCH, PATCH, bias=False).double()
        self.register_buffer("mean", mean.view(1, 3, PATCH, PATCH))
        with torch.no_grad():
            self.down.weight.copy_((there / SCALE).view(CHANNELS, 3, PATCH, PATCH))
            assert self.down.bias is not None
            self.down.bias.copy_(SHIFT - (there / SCALE) @ mean)
            self.up.weight.copy_((back * SCALE).T.reshape(CHANNELS, 3, PATCH, PATCH))

    def encode(self, x: Tensor) -> Tensor:
        return self.down(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.up(z - SHIFT) + self.mean.repeat(1, 1, z.shape[2], z.shape[3])


class WrongScale(Sound):
    """scaling_factor is twice what it should be."""

    scaling_factor = 2 * SCALE


class WrongShift(Sound):
    """shift_factor is two deviations of the latents too small."""

    shift_factor = SHIFT - 2 / SCALE


class WrongRange(Sound):
    """The encoder's weights want images in [0, 1] and are given [-1, 1], as TAESD's were (diffusers 4676)."""

    def encode(self, x: Tensor) -> Tensor:
        return super().encode(2 * x - 1)


class DeadChannel(Sound):
    """The encoder gives channel 3 one value, whatever the image is."""

    def encode(self, x: Tensor) -> Tensor:
        z = super().encode(x)
        return torch.cat([z[:, :3], torch.full_like(z[:, 3:4], SHIFT), z[:, 4:]], 1)


class IgnoredChannel(Sound):
    """The decoder does not look at channel 5."""

    def decode(self, z: Tensor) -> Tensor:
        return super().decode(torch.cat([z[:, :5], torch.full_like(z[:, 5:6], SHIFT), z[:, 6:]], 1))


class Blob(Sound):
    """The encoder adds forty deviations at row 2, column 5, and the decoder takes them away again."""

    def spot(self, z: Tensor) -> Tensor:
        spot = torch.zeros_like(z)
        spot[:, :, 2, 5] = 40 / SCALE
        return spot

    def encode(self, x: Tensor) -> Tensor:
        z = super().encode(x)
        return z + self.spot(z)

    def decode(self, z: Tensor) -> Tensor:
        return super().decode(z - self.spot(z))


class TooBright(Sound):
    """Decoded pictures are ten levels too bright."""

    def decode(self, z: Tensor) -> Tensor:
        return super().decode(z) + 10 * 2 / 255


class TooRed(Sound):
    """Decoded pictures have ten levels too much red and ten too little blue: no change of the mean over colours."""

    def decode(self, z: Tensor) -> Tensor:
        cast = torch.tensor([10.0, 0.0, -10.0], dtype=z.dtype).view(1, 3, 1, 1)
        return super().decode(z) + cast * 2 / 255


class FewDirections(Sound):
    """All eight channels are combinations of two."""

    def encode(self, x: Tensor) -> Tensor:
        z = super().encode(x) - SHIFT
        generator = torch.Generator().manual_seed(1)
        two = torch.linalg.qr(torch.randn(CHANNELS, 2, generator=generator, dtype=torch.float64))[0].to(z)
        return 2 * torch.einsum("ij,kj,nkhw->nihw", two, two, z) + SHIFT


class Twins(Sound):
    """Channel 6 repeats channel 1."""

    def encode(self, x: Tensor) -> Tensor:
        z = super().encode(x)
        return torch.cat([z[:, :6], z[:, 1:2], z[:, 7:]], 1)


class Saturating(Sound):
    """Contrast is four times too high, and then cut off."""

    def decode(self, z: Tensor) -> Tensor:
        return (4 * super().decode(z)).clamp(-1, 1)


class Restless(Sound):
    """The encoder draws noise at each call."""

    def encode(self, x: Tensor) -> Tensor:
        z = super().encode(x)
        return z + 0.3 * torch.randn_like(z)


def sound() -> Sound:
    return Sound()


def wrong_scale() -> Sound:
    return WrongScale()


def wrong_shift() -> Sound:
    return WrongShift()


def wrong_range() -> Sound:
    return WrongRange()


def dead_channel() -> Sound:
    return DeadChannel()


def ignored_channel() -> Sound:
    return IgnoredChannel()


def blob() -> Sound:
    return Blob()


def too_bright() -> Sound:
    return TooBright()


def too_red() -> Sound:
    return TooRed()


def few_directions() -> Sound:
    return FewDirections()


def twins() -> Sound:
    return Twins()


def saturating() -> Sound:
    return Saturating()


def restless() -> Sound:
    return Restless()


def collapsed(folder: Path, channel: int = 2) -> Path:
    """The embedded plain autoencoder, a real VAE, with one channel whose posterior is N(0, 1) for every image."""
    return _edited(folder, channel, mean=0.0, logvar=0.0)


def floored(folder: Path, channel: int = 2) -> Path:
    """The same with one channel whose log-variance is far below the least that diffusers allows."""
    return _edited(folder, channel, mean=None, logvar=-100.0)


def standardised(folder: Path, images: Tensor, factor: float = 1.0, wrong: float = 1.0) -> Path:
    """The same with latents_mean and latents_std of these images (n, 3, R, R) in [-1, 1].

    Args:
        factor: scaling_factor. wrong: what latents_std is multiplied by.
    """
    model = load_autoencoder("embedded:cifar-plain").modules[0]
    with torch.no_grad():
        z = model.encode(images).latent_dist.sample(torch.Generator().manual_seed(0))
    mean, std = z.mean((0, 2, 3)), wrong * z.std((0, 2, 3))
    model.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist(), scaling_factor=factor)
    model.save_pretrained(folder)
    return folder


def _edited(folder: Path, channel: int, mean: float | None, logvar: float | None) -> Path:
    model = load_autoencoder("embedded:cifar-plain").modules[0]
    out = model.encoder.conv_out
    for row, value in ((channel, mean), (channel + model.config.latent_channels, logvar)):
        if value is not None:
            out.weight.data[row], out.bias.data[row] = 0.0, value
    model.save_pretrained(folder)
    return folder
