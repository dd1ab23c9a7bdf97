"""What a study has one result for: a trained model (data set, k, size and seed) or an architecture."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probe.autoencoders import Autoencoder, load_autoencoder
from probe.autoencoders.adapter import adapted
from probe.config import ModelConfig
from probe.errors import UserError
from probe.studies.sweeps.config import GridConfig
from probe.training.checkpoint import epoch_of
from probe.training.config import TrainConfig
from probe.training.images import fitted
from probe.training.train import build

Tell = Callable[[float, str], None]
"""Reports progress: the share that is done, in [0, 1], and a note."""


@dataclass(frozen=True)
class Cell:
    """One model of a grid: its data set, bottleneck, number of training images, and seed."""

    dataset: str
    k: int
    size: int
    seed: int

    @property
    def name(self) -> str:  # a file name
        return f"{self.dataset}-k{self.k:04d}-n{self.size:06d}-s{self.seed}"


@dataclass(frozen=True)
class Backbone:
    """One architecture with random weights."""

    architecture: str

    @property
    def name(self) -> str:  # a file name
        return re.sub(r"[^A-Za-z0-9]+", "-", self.architecture)


@dataclass(frozen=True)
class Measured:
    """The content of one result file, see the page of each kind of study: numbers (null if one does not exist), and the
    samples behind them and pictures."""

    values: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedModel:
    """A trained model of a grid, as the measure of a study gets it.

    Attributes:
        train: the images that it was trained on, uint8 (n, c, s, s). test: unseen images likewise.
        training: how it was trained.
        folder: of the final model; earlier checkpoints are beside it.
        device: on which models are loaded.
    """

    cell: Cell
    train: Tensor
    test: Tensor
    training: TrainConfig
    folder: Path
    device: torch.device

    @property
    def side(self) -> int:
        """Side of the network's input."""
        return fitted(self.train.shape[-1], self.cell.dataset, self.training.convolutions)

    def load(self, folder: Path | None = None) -> Autoencoder:
        """The final model, or the checkpoint in ``folder``."""
        return load_autoencoder(self._spec(folder or self.folder))

    def untrained(self) -> Autoencoder:
        """The same network before training."""
        model = build(self.train.shape[1], self.side, self.cell.k, self.training, self.cell.seed)
        return adapted(model, self._spec(self.folder))

    def checkpoints(self) -> dict[int, Path]:
        """Folders by epoch; epoch 0 is the untrained network."""
        return {epoch_of(folder): folder for folder in sorted(self.folder.parent.glob("epoch-*"))}

    def _spec(self, folder: Path) -> ModelConfig:
        return ModelConfig(source=str(folder), device=str(self.device))


def cells(config: GridConfig, data: Mapping[str, Mapping[str, int]]) -> list[Cell]:
    """All models of a grid, in the order of the configuration.

    Args:
        data: for each data set ``n_train``, ``channels`` and ``side`` as drawn.

    Raises:
        UserError: a size exceeds the number of training images, or a k exceeds the network's features.
    """
    found = []
    for name, about in data.items():
        side = fitted(about["side"], f"data set {name!r}", config.training.convolutions)
        for k in config.k:
            build(about["channels"], side, k, config.training, 0)
        for size in config.numbers(about["n_train"]):
            if size > about["n_train"]:
                raise UserError(
                    f"data set {name!r} has {about['n_train']} training images, but sizes asks for {size}; lower it, "
                    f"or raise datasets.{name}.train.n if the source has more."
                )
            found += [Cell(name, k, size, seed) for k in config.k for seed in config.seeds]
    return found


def training_images(train: Tensor, cell: Cell) -> Tensor:
    """The images that a model is trained on, chosen by its seed; a smaller set is the start of a larger one."""
    order = np.random.default_rng([cell.seed, 3]).permutation(len(train))
    return train[torch.from_numpy(order[: cell.size])]
