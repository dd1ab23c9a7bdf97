"""The training loop (paper, Section 3): Adam, linear or constant schedule, squared error, on one device.

Whatever is random in epoch e is a function of (seed, e) alone, so that the model, Adam's moments and the schedule are
all that a checkpoint needs to hold: a training that was killed and resumed ends at the weights of an undisturbed one.
On a CPU with the same number of threads that is bit by bit; on a GPU, up to the order of its sums.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from probe.errors import UserError
from probe.files import tensors_sha256
from probe.training.checkpoint import load_state, model_folder, save_model, save_state
from probe.training.config import Initialisation, TrainConfig
from probe.training.images import as_input

if TYPE_CHECKING:
    from probe.autoencoders.convolutional import ConvAutoencoder

PATCH = 4
"""Side of a masked patch."""


@dataclass(frozen=True)
class Trained:
    """A trained model, on the CPU or GPU where it was trained.

    Attributes:
        losses: mean squared error per pixel over each epoch's inputs, one per epoch.
        folder: the model after the last epoch, in diffusers' save format.
    """

    model: "ConvAutoencoder"
    losses: list[float]
    epochs: int
    folder: Path


def build(channels: int, side: int, k: int, config: TrainConfig, seed: int) -> "ConvAutoencoder":
    """The model before training; its weights are a function of the arguments alone.

    Raises:
        UserError: k is larger than the features before the bottleneck.
    """
    from probe.autoencoders.convolutional import ConvAutoencoder

    features = config.base_channels * 2 ** (config.convolutions - 1) * (side // 2**config.convolutions) ** 2
    if k > features:
        raise UserError(
            f"k = {k} is more than the {features} features before the bottleneck at {side} px; lower k, or raise "
            f"base_channels to {-(-k * config.base_channels // features)}."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_seed(seed, 0))
        model = ConvAutoencoder(channels, side, config.base_channels, k, config.convolutions)
        initialise(model, config.initialisation)
        return model


def initialise(model: nn.Module, kind: Initialisation) -> None:
    """Draw the weights again, with torch's global generator.

    ``torch`` leaves what the layers' constructors drew: variance 1 / (3 fan_in), by which every layer with a ReLU
    divides the second moment by 6. After the ten layers here the output hardly depends on the input, and training
    spends its first epochs (at 10,000 images, most of 20) on leaving the mean image. ``he`` keeps the second moment
    (He et al. 2015, arXiv 1502.01852, Equation 10).
    """
    if kind == "torch":
        return
    for layer in model.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            # At stride 2 an output pixel meets a quarter of the kernel on average.
            height, width = layer.kernel_size
            inputs = layer.in_channels * height * width / (layer.stride[0] * layer.stride[1])
            nn.init.normal_(layer.weight, std=(2 / inputs) ** 0.5)
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def disturbed(x: Tensor, *, noise: float, mask: float, generator: torch.Generator) -> Tensor:
    """Images (n, c, s, s) with Gaussian noise of this deviation, and a share ``mask`` of their patches set to 0: inputs
    that are harder than their targets make f contract (paper, Section 3).

    Each patch is masked by itself with that probability, in all channels; s is a multiple of 4. The generator, on the
    device of x, is not touched where both are 0.
    """
    if noise:
        x = x + noise * torch.randn(x.shape, generator=generator, device=x.device)
    if mask:
        n, _, height, width = x.shape
        grid = (n, 1, height // PATCH, width // PATCH)
        kept = torch.rand(grid, generator=generator, device=x.device) >= mask
        x = x * kept.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
    return x


def train(
    images: Tensor,
    *,
    side: int,
    k: int,
    config: TrainConfig,
    seed: int,
    folder: Path,
    cpu: bool = False,
    on_epoch: Callable[[int, int, float], None] | None = None,
    save_every: float = 10.0,
) -> Trained:
    """Train, or resume from the folder.

    Args:
        images: uint8 (n, c, s, s), n >= 1.
        side: to which they are padded; see ``fitted``.
        k: the bottleneck.
        folder: for ``epoch-NNNN/`` (models that are kept) and ``training.safetensors`` (the state to resume from).
        cpu: train on the CPU even where there is a GPU.
        on_epoch: called after each epoch with (epochs done, epochs in all, loss of the epoch).
        save_every: seconds between states, so that short epochs are not spent on writing; after the last epoch there
            is always one.

    Raises:
        UserError: there are no images, k is too large, the loss is not finite, or the folder holds another training.
    """
    if not len(images):
        raise UserError("there is no training image; give a data set with at least one.")
    run = _Training(images, side=side, k=k, config=config, seed=seed, folder=folder, cpu=cpu)
    saved = time.monotonic()
    if not run.done and config.keeps(0, run.epochs):
        save_model(run.model, model_folder(folder, 0))
    for epoch in range(run.done, run.epochs):
        loss = run.epoch(epoch)
        if not math.isfinite(loss):
            raise UserError(f"the loss is not finite in epoch {epoch + 1}; lower training.learning_rate.")
        kept = config.keeps(run.done, run.epochs)
        if kept:
            save_model(run.model, model_folder(folder, run.done))
        if kept or time.monotonic() - saved >= save_every:
            run.save()
            saved = time.monotonic()
        if on_epoch:
            on_epoch(run.done, run.epochs, loss)
    return Trained(run.model, run.losses, run.epochs, model_folder(folder, run.epochs))


class _Training:
    """The model, the optimiser and the schedule, and how far they are."""

    def __init__(self, images: Tensor, *, side: int, k: int, config: TrainConfig, seed: int, folder: Path, cpu: bool):
        from diffusers.optimization import get_scheduler

        self.config, self.seed, self.side, self.folder = config, seed, side, folder
        self.epochs = config.epochs_for(len(images))
        self.losses: list[float] = []
        self.model = build(images.shape[1], side, k, config, seed)
        shown = {key: value for key, value in self.model.config.items() if not key.startswith("_")}
        self.about = {
            "architecture": {"class": type(self.model).__name__, **shown},
            "training": {**config.model_dump(), "seed": seed, "epochs": self.epochs},
            "images": tensors_sha256([("images", images)]),
        }
        device = torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")
        self.images, self.model = images.to(device), self.model.to(device)
        weights, decay = self.model.parameters(), config.weight_decay
        self.optimiser = torch.optim.Adam(weights, lr=config.learning_rate, weight_decay=decay)
        steps = self.epochs * config.steps_per_epoch(len(images))
        self.schedule = get_scheduler(config.schedule, self.optimiser, num_warmup_steps=0, num_training_steps=steps)
        if found := load_state(folder, self.about):
            model, state, about = found
            self.model.load_state_dict(model)
            self.optimiser.load_state_dict(state)
            self.schedule.load_state_dict(about["schedule"])
            self.losses = about["losses"]
            self.model.eval()

    @property
    def done(self) -> int:
        return len(self.losses)

    def epoch(self, epoch: int) -> float:
        """One pass over the images, in this epoch's own order; the mean loss."""
        order = torch.from_numpy(np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.images)))
        device = self.images.device
        generator = torch.Generator(device).manual_seed(_seed(self.seed, 2, epoch))
        total = torch.zeros((), dtype=torch.float64, device=device)
        self.model.train()
        for rows in order.split(self.config.batch_size):
            x = as_input(self.images[rows.to(device)], self.side, device)
            noisy = disturbed(x, noise=self.config.noise, mask=self.config.mask, generator=generator)
            loss = F.mse_loss(self.model(noisy), x)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.schedule.step()
            total += loss.detach().double() * len(rows)
        self.model.eval()
        self.losses.append(float(total) / len(self.images))
        return self.losses[-1]

    def save(self) -> None:
        about = {**self.about, "losses": self.losses}
        save_state(self.folder, self.model, self.optimiser.state_dict(), self.schedule.state_dict(), about)


def _seed(*numbers: int) -> int:
    """A seed for torch that mixes numbers: neighbours give unrelated streams."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
