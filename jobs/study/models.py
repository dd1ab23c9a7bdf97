"""One shard of a study: a model that is trained, or an architecture that is built, and what is measured of it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from jobs.progress import Meter
from jobs.study.directory import StudyDirectory
from jobs.trackers import Tracker
from probe.report.study.kinds import StudyKind
from probe.studies.sweeps.config import GridConfig
from probe.studies.sweeps.grid import Backbone, Cell, Measured, TrainedModel, training_images
from probe.training import Trained, fitted, train
from probe.training.checkpoint import STATE

TRAINING = 0.7
"""Part of a model's work that is training, for the progress bar."""


@dataclass(frozen=True)
class ShardWork:
    """Makes shards of a study.

    Attributes:
        kind: of the study.
        device: of the models.
        meter: told how far a shard is.
        tracker: told the course of a training.
    """

    directory: StudyDirectory
    kind: StudyKind
    device: torch.device
    meter: Meter
    tracker: Tracker

    def backbone(self, shard: Backbone) -> Measured:
        """Build an architecture and measure it."""
        self.meter.update(0.0, shard.architecture)
        return self.kind.measure(shard, self.directory.config, self.meter.update)

    def model(self, cell: Cell, images: dict[str, Tensor]) -> Measured:
        """Train a model, or go on with its training, and measure it.

        Args:
            images: ``train`` and ``test`` of its data set.
        """
        config: GridConfig = self.directory.config
        chosen = training_images(images["train"], cell)
        trained = self._train(cell, chosen)
        model = TrainedModel(cell, chosen, images["test"], config.training, trained.folder, self.device)
        found = self.kind.measure(model, config, self._tell)
        about = {**vars(cell), **found.values, "epochs": trained.epochs, "loss": trained.losses}
        return Measured(about, found.tensors)

    def forget(self, shard: Cell | Backbone) -> None:
        """Remove the state that a training would go on from."""
        (self._folder(shard) / STATE).unlink(missing_ok=True)

    def _train(self, cell: Cell, images: Tensor) -> Trained:
        config: GridConfig = self.directory.config

        def on_epoch(done: int, epochs: int, loss: float) -> None:
            self.meter.update(TRAINING * done / epochs, f"{cell.name}: epoch {done}/{epochs}, loss {loss:.5f}")
            self.tracker.log({"loss": loss, "learning_rate": config.training.rate(done, epochs)}, step=done)

        return train(
            images,
            side=fitted(images.shape[-1], cell.dataset),
            k=cell.k,
            config=config.training,
            seed=cell.seed,
            folder=self._folder(cell),
            cpu=config.device == "cpu",
            on_epoch=on_epoch,
        )

    def _tell(self, part: float, note: str) -> None:
        self.meter.update(TRAINING + (1 - TRAINING) * part, note)

    def _folder(self, shard: Cell | Backbone) -> Path:
        return self.directory.path / "models" / shard.name
