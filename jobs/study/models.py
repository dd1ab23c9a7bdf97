"""One shard of a study: a model that is trained, or an architecture that is built, and what is measured of it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from jobs.progress import Meter
from jobs.study.directory import StudyDirectory
from jobs.trackers import Tracker
from probe.autoencoders import load_autoencoder
from probe.autoencoders.adapter import adapted
from probe.config import ModelConfig
from probe.studies.sweeps.config import (
    AcrossTrainingConfig,
    ContractionConfig,
    ConvergenceConfig,
    GridConfig,
    MemorizationConfig,
)
from probe.studies.sweeps.grid import Backbone, Cell, Measured, training_images
from probe.studies.sweeps.memorization import measure
from probe.studies.sweeps.shards import of_backbone, of_checkpoints, of_convergence
from probe.training import Trained, build, fitted, train
from probe.training.checkpoint import STATE, epoch_of

TRAINING = 0.7
"""Part of a model's work that is training, for the progress bar."""


@dataclass(frozen=True)
class ShardWork:
    """Makes shards of a study.

    Attributes:
        device: of the models.
        meter: told how far a shard is.
        tracker: told the course of a training.
    """

    directory: StudyDirectory
    device: torch.device
    meter: Meter
    tracker: Tracker

    def backbone(self, shard: Backbone) -> Measured:
        """Build an architecture and measure it."""
        config: ContractionConfig = self.directory.config
        self.meter.update(0.0, shard.architecture)
        return of_backbone(shard, config)

    def model(self, cell: Cell, images: dict[str, Tensor]) -> Measured:
        """Train a model, or go on with its training, and measure it.

        Args:
            images: ``train`` and ``test`` of its data set.
        """
        chosen = training_images(images["train"], cell)
        side = fitted(chosen.shape[-1], cell.dataset)
        trained = self._train(cell, chosen, side)
        found = self._measured(cell, chosen, images["test"], side, trained)
        about = {**vars(cell), **found.values, "epochs": trained.epochs, "loss": trained.losses}
        return Measured(about, found.tensors)

    def forget(self, shard: Cell | Backbone) -> None:
        """Remove the state that a training would go on from."""
        (self._folder(shard) / STATE).unlink(missing_ok=True)

    def _measured(self, cell: Cell, chosen: Tensor, test: Tensor, side: int, trained: Trained) -> Measured:
        config = self.directory.config
        match config:
            case AcrossTrainingConfig():
                kept = sorted(trained.folder.parent.glob("epoch-*"))
                models = {epoch_of(folder): load_autoencoder(self._spec(folder)) for folder in kept}

                def on_checkpoint(done: int) -> None:
                    self._tell(done / len(models), f"{cell.name}: {done} of {len(models)} checkpoints")

                return of_checkpoints(models, chosen, test, config, seed=cell.seed, on_checkpoint=on_checkpoint)
            case ConvergenceConfig():
                self._tell(0.0, f"{cell.name}: predicting steps")
                model = load_autoencoder(self._spec(trained.folder))
                return of_convergence(model, model.latent_shape(side), config, cell.seed)
            case MemorizationConfig():
                return self._memorization(cell, chosen, test, side, trained, config)
        raise TypeError(f"{type(config).__name__} trains no model")

    def _memorization(
        self, cell: Cell, chosen: Tensor, test: Tensor, side: int, trained: Trained, config: MemorizationConfig
    ) -> Measured:
        spec = self._spec(trained.folder)
        fresh = build(chosen.shape[1], side, cell.k, config.training, cell.seed)
        starts = min(len(chosen), config.solver.starts)

        def on_step(ended: int, running: int, part: float) -> None:
            self._tell((ended + part) / starts, f"{cell.name}: {running} running")

        untrained = adapted(fresh, spec, self.device, torch.float32)
        return measure(load_autoencoder(spec), untrained, chosen, test, config, seed=cell.seed, on_step=on_step)

    def _train(self, cell: Cell, images: Tensor, side: int) -> Trained:
        config: GridConfig = self.directory.config

        def on_epoch(done: int, epochs: int, loss: float) -> None:
            self.meter.update(TRAINING * done / epochs, f"{cell.name}: epoch {done}/{epochs}, loss {loss:.5f}")
            self.tracker.log({"loss": loss, "learning_rate": config.training.rate(done, epochs)}, step=done)

        return train(
            images,
            side=side,
            k=cell.k,
            config=config.training,
            seed=cell.seed,
            folder=self._folder(cell),
            cpu=config.device == "cpu",
            on_epoch=on_epoch,
        )

    def _tell(self, part: float, note: str) -> None:
        self.meter.update(TRAINING + (1 - TRAINING) * part, note)

    def _spec(self, folder: Path) -> ModelConfig:
        return ModelConfig(source=str(folder), device=str(self.device))

    def _folder(self, shard: Cell | Backbone) -> Path:
        return self.directory.path / "models" / shard.name
