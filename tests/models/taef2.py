"""TAEF2, the tiny autoencoder distilled from FLUX.2's VAE, as a user's own module.

Written from the description in ../shared/data/README.md; the weights are there too, and not in this repository.
Images in [0, 1], 32 latent channels, 8x downsampling.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "models" / "taef2"
WIDTH = 64
LATENT_CHANNELS = 32


class Block(nn.Module):
    """ReLU(conv-ReLU-conv-ReLU-conv(x) + x); with ``pooled``, a normalised 1x1 branch is added to x first."""

    def __init__(self, pooled: bool = False):
        super().__init__()
        self.conv = nn.Sequential(_conv(), nn.ReLU(), _conv(), nn.ReLU(), _conv())
        self.pool = (
            nn.Sequential(
                nn.Conv2d(WIDTH, 4 * WIDTH, 1, bias=False),
                nn.GroupNorm(4, 4 * WIDTH),
                nn.ReLU(),
                nn.Conv2d(4 * WIDTH, WIDTH, 1, bias=False),
            )
            if pooled
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class Saturate(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z / 3) * 3


def _conv(inputs: int = WIDTH, outputs: int = WIDTH, **options: object) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


def _encoder() -> nn.Sequential:
    layers: list[nn.Module] = [_conv(3), Block()]
    for last in (False, False, True):
        layers += [_conv(stride=2, bias=False), *(Block(pooled=last) for _ in range(3))]
    return nn.Sequential(*layers, _conv(outputs=LATENT_CHANNELS))


def _decoder() -> nn.Sequential:
    layers: list[nn.Module] = [Saturate(), _conv(LATENT_CHANNELS), nn.ReLU(), *(Block(pooled=True) for _ in range(3))]
    for blocks in (3, 3, 1):
        layers += [nn.Upsample(scale_factor=2), _conv(bias=False), *(Block() for _ in range(blocks))]
    return nn.Sequential(*layers, _conv(outputs=3))


class TAEF2(nn.Module):
    """encode and decode as `probe` wants them."""

    image_range = (0.0, 1.0)
    downsampling = 8

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = _encoder(), _decoder()

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)


def load() -> TAEF2:
    """The pretrained model."""
    model = TAEF2()
    for name in ("encoder", "decoder"):
        state = torch.load(WEIGHTS / f"taef2_{name}.pth", weights_only=True)
        getattr(model, name).load_state_dict(state)
    return model
