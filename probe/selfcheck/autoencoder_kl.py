"""An autoencoder of the shape of Stable Diffusion 1.5's, with torch alone and random weights: what f costs.

The layers, and the names of the parameters, are those of diffusers' ``AutoencoderKL`` (Rombach et al., CVPR 2022), so
that weights can be copied from one to the other; a test does, where diffusers is installed.

| symbol | meaning | shape |
|---|---|---|
| z | latents | (n, 4, s / 8, s / 8) |
| x | images in [-1, 1] | (n, 3, s, s) |
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = (128, 256, 512, 512)
LAYERS = 2
SCALING = 0.18215
"""Scaled latents have a variance of about 1 (Stable Diffusion's ``scaling_factor``)."""


class AutoencoderKL(nn.Module):
    """f(z) = E(D(z)) with the mean of the posterior, in scaled latents.

    Args:
        channels: by level, finest first; multiples of ``groups``. Each level but the last halves the side.
        layers: residual blocks a level of the encoder; the decoder has one more.
        groups: of the group norms.
        latent: channels of the latents.
    """

    def __init__(
        self, channels: Sequence[int] = CHANNELS, layers: int = LAYERS, groups: int = 32, latent: int = 4
    ) -> None:
        super().__init__()
        self.encoder = _Encoder(channels, layers, groups, latent)
        self.decoder = _Decoder(channels, layers, groups, latent)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)

    def encode(self, x: Tensor) -> Tensor:
        """Latents of images."""
        mean, _ = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return mean * SCALING

    def decode(self, z: Tensor) -> Tensor:
        """Images of latents."""
        return self.decoder(self.post_quant_conv(z / SCALING))

    def forward(self, z: Tensor) -> Tensor:
        return self.encode(self.decode(z))


class _ResnetBlock(nn.Module):
    def __init__(self, before: int, after: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, before, eps=1e-6), nn.Conv2d(before, after, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(groups, after, eps=1e-6), nn.Conv2d(after, after, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(before, after, 1) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return y + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class _Attention(nn.Module):
    """One head over all positions."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        y = self.group_norm(x).view(n, c, h * w).transpose(1, 2)
        q, k, v = (one(y).unsqueeze(1) for one in (self.to_q, self.to_k, self.to_v))
        y = self.to_out[0](F.scaled_dot_product_attention(q, k, v).squeeze(1))
        return x + y.transpose(1, 2).reshape(n, c, h, w)


class _Middle(nn.Module):
    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([_ResnetBlock(channels, channels, groups) for _ in range(2)])
        self.attentions = nn.ModuleList([_Attention(channels, groups)])

    def forward(self, x: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class _Resample(nn.Module):
    """Half the side by a stride, or twice the side by copies; then a convolution."""

    def __init__(self, channels: int, *, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv = nn.Conv2d(channels, channels, 3, stride=2 if down else 1, padding=0 if down else 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.down else F.interpolate(x, scale_factor=2.0, mode="nearest"))


class _Level(nn.Module):
    def __init__(self, before: int, after: int, blocks: int, groups: int, resample: str | None) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([_ResnetBlock(before if i == 0 else after, after, groups) for i in range(blocks)])
        self.downsamplers = nn.ModuleList([_Resample(after, down=True)] if resample == "down" else [])
        self.upsamplers = nn.ModuleList([_Resample(after, down=False)] if resample == "up" else [])

    def forward(self, x: Tensor) -> Tensor:
        for block in (*self.resnets, *self.downsamplers, *self.upsamplers):
            x = block(x)
        return x


class _Encoder(nn.Module):
    def __init__(self, channels: Sequence[int], layers: int, groups: int, latent: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1)
        pairs = zip((channels[0], *channels[:-1]), channels, strict=True)
        last = len(channels) - 1
        self.down_blocks = nn.ModuleList(
            [_Level(a, b, layers, groups, "down" if i < last else None) for i, (a, b) in enumerate(pairs)]
        )
        self.mid_block = _Middle(channels[-1], groups)
        self.conv_norm_out = nn.GroupNorm(groups, channels[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(channels[-1], 2 * latent, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class _Decoder(nn.Module):
    def __init__(self, channels: Sequence[int], layers: int, groups: int, latent: int) -> None:
        super().__init__()
        coarse = tuple(reversed(channels))
        self.conv_in = nn.Conv2d(latent, coarse[0], 3, padding=1)
        self.mid_block = _Middle(coarse[0], groups)
        pairs = zip((coarse[0], *coarse[:-1]), coarse, strict=True)
        last = len(coarse) - 1
        self.up_blocks = nn.ModuleList(
            [_Level(a, b, layers + 1, groups, "up" if i < last else None) for i, (a, b) in enumerate(pairs)]
        )
        self.conv_norm_out = nn.GroupNorm(groups, coarse[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(coarse[-1], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(z))
        for level in self.up_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


def sd_shaped(device: torch.device, *, small: bool = False, seed: int = 0) -> AutoencoderKL:
    """The autoencoder with random weights, ready to be evaluated; ``small``: of 16 to 32 channels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoencoderKL((16, 16, 32, 32), 1, 4) if small else AutoencoderKL()
    return model.to(device).eval().requires_grad_(False)
