"""One rank's work on a study: the images, a shard for each model of the grid, and the report."""

import logging
import shutil
from functools import lru_cache
from typing import Any

import torch

from jobs.directory import WORK
from jobs.job import begin_session
from jobs.lock import if_free
from jobs.progress import Meter, progress
from jobs.provenance import now
from jobs.study_directory import StudyDirectory
from jobs.world import World
from probe.autoencoders import load_autoencoder
from probe.autoencoders.diffusers_vae import adapted
from probe.config import ModelConfig
from probe.errors import UserError
from probe.files import tensors_sha256
from probe.studies.grid import Cell, cells, draw, training_images
from probe.studies.memorization import measure
from probe.training import Trained, build, fitted, train
from probe.training.checkpoint import STATE

TRAINING = 0.7
"""Part of a model's work that is training, for the progress bar."""
log = logging.getLogger("probe")


class Study:
    """The stages of a study, in order. All ranks call the same methods in the same order.

    Attributes:
        directory: the study's.
        world: the ranks; each trains models of its own.
    """

    def __init__(self, directory: StudyDirectory, world: World | None = None):
        self.directory, self.world, self.config = directory, world or World(), directory.config
        self._images = lru_cache(maxsize=1)(self._read_images)
        self._stages = 0

    def all(self) -> dict[str, Any]:
        """Draw the images, train and measure every model that is missing, write the report; the report."""
        self.draw()
        self.models()
        return self.report()

    def draw(self) -> None:
        """``begin`` and ``images``, which need no GPU."""
        self.begin()
        self.images()

    def begin(self) -> None:
        """Note this process in the manifest."""
        if self.world.rank == 0:
            sessions = begin_session(self.directory, self.world, self._device, "float32")
            self.directory.update_manifest(schema_version=1, **sessions[0], sessions=sessions, data={})
        self.world.meet()

    def images(self) -> None:
        """Draw the data sets that some missing model needs; a grid that cannot be trained is refused here.

        Raises:
            UserError: a source cannot be read or has changed, or a k or size does not fit it.
        """
        names = [name for name in self.config.datasets if not self._is_settled(name)] if self.world.rank == 0 else None
        todo = self.world.agree(names) or []
        with self._progress("images", "data sets", len(todo), 0) as meter:
            for name in self.world.claims(todo):
                meter.note = name
                self._draw(name)
                meter.finish(1)
            self.world.meet()
        if self.world.rank == 0:
            drawn = {name: self.directory.load(_data_file(name), "test")[1]["data"] for name in todo}
            self.directory.update_manifest(data=drawn)
            cells(self.config, self._data)
        self.world.meet()

    def models(self) -> None:
        """Train and measure every model whose result is missing; each goes to one rank, the next to whoever is free.

        A model that a process outside of this world has in hand is left to it.
        """
        grid = cells(self.config, self._data)
        names = self.world.agree([cell.name for cell in self.missing()] if self.world.rank == 0 else None)
        todo = [cell for cell in grid if cell.name in set(names or ())]
        with self._progress("models", "models", len(grid), len(grid) - len(todo)) as meter:
            for cell in self.world.claims(todo):
                with if_free(self.directory.path / WORK / "locks" / cell.name) as mine:
                    if mine and not self._is_there(cell):
                        self._train_and_measure(cell, meter)
                meter.finish(1)
            self.world.meet()

    def missing(self) -> list[Cell]:
        """The models whose results are not there."""
        return [cell for cell in cells(self.config, self._data) if not self._is_there(cell)]

    def report(self) -> dict[str, Any]:
        """Write report/ from the results; the report, on every rank.

        Raises:
            UserError: a model's result is missing.
        """
        return self.world.agree(self._report() if self.world.rank == 0 else None)

    def _report(self) -> dict[str, Any]:
        from probe.report.study import write_study_report

        grid = cells(self.config, self._data)
        missing = self.missing()
        if missing:
            raise UserError(
                f"{self.directory.path} misses {len(missing)} models, {missing[0].name} first; run it again, or wait "
                "for the process that has them in hand."
            )
        if "finished" not in self.directory.manifest:
            self.directory.update_manifest(finished=now())
        content = write_study_report(self.directory.path, [cell_file(cell) for cell in grid])
        shutil.rmtree(self.directory.path / WORK, ignore_errors=True)
        log.info(f"report: {self.directory.path / 'report' / 'report.html'}")
        return content

    @property
    def _device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() and self.config.device != "cpu" else "cpu")

    @property
    def _data(self) -> dict[str, dict[str, int]]:
        """Of each data set ``n_train``, ``channels``, ``side``."""
        known = self.directory.manifest["data"]
        return {
            name: {
                "n_train": known[name]["train"]["n_used"],
                "channels": known[name]["channels"],
                "side": known[name]["side"],
            }
            for name in self.config.datasets
        }

    def _progress(self, title: str, unit: str, total: int, before: int) -> Any:
        self._stages += 1
        return progress(self.directory.path, self.world, self._stages, title, unit, total, before)

    def _is_settled(self, name: str) -> bool:
        """Whether a data set's images are there, or no model needs them any more."""
        if name not in self.directory.manifest["data"]:
            return False
        if self.directory.checked(_data_file(name)):
            return True
        return all(self._is_there(cell) for cell in cells(self.config, {name: self._data[name]}))

    def _draw(self, name: str) -> None:
        spec = self.config.datasets[name]
        images = draw(name, spec)
        facts = {**images.facts, "sha256": tensors_sha256([("train", images.train), ("test", images.test)])}
        known = self.directory.manifest["data"].get(name, facts)
        if known["sha256"] != facts["sha256"]:
            raise UserError(
                f"data set {name!r} has changed since {self.directory.path} was begun: its images have sha256 "
                f"{known['sha256'][:12]}... there and {str(facts['sha256'])[:12]}... now; choose another folder with "
                "--out."
            )
        side = fitted(spec.side, name)
        if side != spec.side:
            log.info(f"{name}: images of side {spec.side} are padded to {side} for the network")
        self.directory.save(_data_file(name), {"train": images.train, "test": images.test}, data=facts)

    def _read_images(self, name: str) -> dict[str, torch.Tensor]:
        return self.directory.load(_data_file(name))[0]

    def _is_there(self, cell: Cell) -> bool:
        data = self.directory.manifest["data"][cell.dataset]["sha256"]
        return self.directory.checked(cell_file(cell), data=data) is not None

    def _train_and_measure(self, cell: Cell, meter: Meter) -> None:
        images = self._images(cell.dataset)
        chosen, side = training_images(images["train"], cell), fitted(images["train"].shape[-1], cell.dataset)
        trained = self._train(cell, chosen, side, meter)
        device = self._device
        spec = ModelConfig(source=str(trained.folder), device=str(device))
        fresh = build(chosen.shape[1], side, cell.k, self.config.training, cell.seed)
        starts = min(len(chosen), self.config.solver.starts)

        def on_step(ended: int, running: int, part: float) -> None:
            meter.update(TRAINING + (1 - TRAINING) * (ended + part) / starts, f"{cell.name}: {running} running")

        found = measure(
            load_autoencoder(spec),
            adapted(fresh, spec, device, torch.float32),
            chosen,
            images["test"],
            self.config,
            seed=cell.seed,
            on_step=on_step,
        )
        self.directory.save(
            cell_file(cell),
            found.tensors,
            data=self.directory.manifest["data"][cell.dataset]["sha256"],
            model={**vars(cell), **found.values, "epochs": trained.epochs, "loss": trained.losses},
            rank=self.world.rank,
        )
        (self._folder(cell) / STATE).unlink()  # the result is there: nothing will go on from it

    def _train(self, cell: Cell, images: torch.Tensor, side: int, meter: Meter) -> Trained:
        def on_epoch(done: int, epochs: int, loss: float) -> None:
            meter.update(TRAINING * done / epochs, f"{cell.name}: epoch {done}/{epochs}, loss {loss:.5f}")

        return train(
            images,
            side=side,
            k=cell.k,
            config=self.config.training,
            seed=cell.seed,
            folder=self._folder(cell),
            cpu=self.config.device == "cpu",
            on_epoch=on_epoch,
        )

    def _folder(self, cell: Cell) -> Any:
        return self.directory.path / "models" / cell.name


def cell_file(cell: Cell) -> str:
    """Where a model's result is kept."""
    return f"cells/{cell.name}.safetensors"


def _data_file(name: str) -> str:
    return f"{WORK}/data/{name}.safetensors"
