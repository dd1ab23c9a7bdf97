"""One rank's work on OOD detection: the images, the model, its training attractors, a table per set, the report."""

import logging
import shutil
from functools import cached_property
from typing import Any

import pandas as pd
import torch

from jobs.directory import WORK
from jobs.job import begin_session
from jobs.ood_directory import REFERENCES, OodDirectory
from jobs.progress import Meter, progress
from jobs.provenance import now
from jobs.world import World
from probe.autoencoders import Autoencoder, load_autoencoder
from probe.config import ModelConfig
from probe.dynamics import Outcome
from probe.errors import UserError
from probe.studies.ood.config import OodTraining
from probe.studies.ood.images import Drawn, as_taken, control_name, draw_control, draw_set, must_fit
from probe.studies.ood.scores import References, Scorer, references, side_of
from probe.training import build, fitted, train
from probe.training.checkpoint import STATE, model_folder

MODEL = "model"
TABLE = "scores.parquet"
"""A row per image of every set; joined from scores/."""
log = logging.getLogger("probe")


class Ood:
    """The stages, in order. All ranks call the same methods in the same order.

    Attributes:
        directory: the experiment's.
        world: the ranks; each scores sets of its own, the first trains the model and finds the attractors.
    """

    def __init__(self, directory: OodDirectory, world: World | None = None):
        self.directory, self.world, self.config = directory, world or World(), directory.config
        self._stages = 0
        self._sha: str | None = None

    def all(self) -> dict[str, Any]:
        """Do what is missing, write the report; the report."""
        self.begin()
        self.images()
        self.references()
        self.scores()
        return self.report()

    def begin(self) -> None:
        """Note this process in the manifest."""
        if self.world.rank == 0:
            dtype = self.config.model.dtype if self.config.model else "float32"
            sessions = begin_session(self.directory, self.world, self._device, dtype)
            self.directory.update_manifest(schema_version=1, **sessions[0], sessions=sessions, data={})
        self.world.meet()

    @property
    def sets(self) -> list[str]:
        """Sets that are scored: ``test``, the OOD sets, and a control for each that comes from files."""
        controls = [control_name(name) for name in self.config.outside if control_name(name) in self._data]
        return ["test", *self.config.outside, *controls]

    def images(self) -> None:
        """Draw the sets that something missing needs.

        Raises:
            UserError: a source cannot be read or has changed, or a set is in colour and the model takes grey images.
        """
        sources = ["train", "test", *self.config.outside]
        todo = self.world.agree([name for name in sources if not self._is_settled(name)] if self._leads else None)
        with self._progress("images", "sets", len(todo), 0) as meter:
            for name in self.world.claims(todo):
                meter.note = name
                self._draw(name)
                meter.finish(1)
            self.world.meet()
        if self._leads:
            names = [one for name in todo for one in (name, control_name(name))]
            drawn = {name: about["data"] for name in names if (about := self.directory.checked(_data_file(name)))}
            self.directory.update_manifest(data=drawn)
            if self.config.train:
                must_fit(self._channels, self._data)
                build(self._channels, self._padded, self.config.train.k, self.config.train, 0)
        self.world.meet()

    def references(self) -> None:
        """Find the training attractors, if they are not there; the model is trained before, where it is to be.

        Raises:
            UserError: the model cannot be loaded, is another than before, or does not suit the images.
        """
        missing = self.world.agree(self._references_sha is None if self._leads else None)
        if not missing:
            return
        model = self.model
        total = min(self.config.solver.starts, self._data["train"]["n_used"])
        with self._progress("attractors", "starts", total, 0) as meter:
            if self._leads:
                self._find(model, meter)
            self.world.meet()

    def scores(self) -> None:
        """Score every set whose table is missing; each goes to one rank, the next to whoever is free."""
        missing = self.world.agree([name for name in self.sets if not self._is_there(name)] if self._leads else None)
        total = sum(self._data[name]["n_used"] for name in self.sets)
        before = total - sum(self._data[name]["n_used"] for name in missing)
        if missing:
            _ = self.model  # all ranks agree on it, also those that will find no set left
        with self._progress("scores", "images", total, before) as meter:
            for name in self.world.claims(missing):
                self._score(name, meter)
                meter.finish(self._data[name]["n_used"])
            self.world.meet()

    def report(self) -> dict[str, Any]:
        """Join the tables and write report/; the report, on every rank."""
        return self.world.agree(self._report() if self._leads else None)

    def _report(self) -> dict[str, Any]:
        from probe.report.ood import write_ood_report

        tables = [pd.read_parquet(self.directory.path / _score_file(name)) for name in self.sets]
        self.directory.save_table(TABLE, pd.concat(tables, ignore_index=True))
        about = self.directory.load(REFERENCES, "attractors")[1]
        if "finished" not in self.directory.manifest:
            self.directory.update_manifest(finished=now())
        content = write_ood_report(self.directory.path, TABLE, about["facts"])
        shutil.rmtree(self.directory.path / WORK, ignore_errors=True)
        log.info(f"report: {self.directory.path / 'report' / 'report.html'}")
        return content

    @cached_property
    def model(self) -> Autoencoder:
        """The autoencoder, trained first where it is to be; the one that made what is already there.

        Raises:
            UserError: as ``load_autoencoder``; or it is not the one that the experiment was begun with.
        """
        spec = self.config.model or self._trained(self.config.train or OodTraining(k=1))
        model = load_autoencoder(spec)
        about = {
            "source": MODEL if self.config.train else model.source,  # where the folder lies does not matter
            "class": model.class_name,
            "weights_sha256": model.weights_sha256(),
            "code_sha256": model.code_sha256,
            "latent_shape": list(model.latent_shape(side_of(model, self.config.resolution))),
            "parameters": model.parameters(),
        }
        there = self.world.agree(self.directory.manifest.get("model", about) if self._leads else None)
        changed = [f"{key}: {there.get(key)} there, {new} now" for key, new in about.items() if there.get(key) != new]
        if changed:
            raise UserError(
                f"{self.directory.path} was begun with another model, which differs in {'; '.join(changed)}; choose "
                "another folder with --out."
            )
        must_fit(model.channels, self._data)
        if self._leads:
            self.directory.update_manifest(model=about)
        self.world.meet()
        return model

    @cached_property
    def _scorer(self) -> Scorer:
        tensors, about = self.directory.load(REFERENCES)
        return Scorer(self.model, References(tensors["latents"], tensors["attractors"], about["facts"]), self.config)

    def _trained(self, settings: OodTraining) -> ModelConfig:
        """Train the model, or go on with it, on rank 0; where it then is."""
        folder, n = self.directory.path / MODEL, self._data["train"]["n_used"]
        final = model_folder(folder, settings.epochs_for(n))
        done = self.world.agree((final.exists() and not (folder / STATE).exists()) if self._leads else None)
        if not done:
            with self._progress("training", "epochs", settings.epochs_for(n), 0) as meter:
                if self._leads:
                    self._train(settings, meter)
                self.world.meet()
        return ModelConfig(source=str(final), device=settings.device)

    def _train(self, settings: OodTraining, meter: Meter) -> None:
        def on_epoch(done: int, epochs: int, loss: float) -> None:
            meter.update(done, f"loss {loss:.5f}")

        trained = train(
            self._images("train")[:, : self._channels].contiguous(),
            side=self._padded,
            k=settings.k,
            config=settings,
            seed=settings.seed,
            folder=self.directory.path / MODEL,
            cpu=settings.device == "cpu",
            on_epoch=on_epoch,
        )
        self.directory.update_manifest(training={"epochs": trained.epochs, "loss": trained.losses})
        (self.directory.path / MODEL / STATE).unlink()  # nothing will go on from it

    def _find(self, model: Autoencoder, meter: Meter) -> None:
        def on_step(ended: int, running: int, part: float) -> None:
            meter.update(ended + part, f"{running} running")

        found = references(model, as_taken(model, self._images("train")), self.config, on_step)
        tensors = {"latents": found.latents, "attractors": found.attractors}
        self.directory.save(REFERENCES, tensors, data=self._data["train"]["sha256"], facts=found.facts)

    def _score(self, name: str, meter: Meter) -> None:
        tensors, about = self.directory.load(_data_file(name))
        columns = self._scorer(
            as_taken(self.model, tensors["images"]), lambda ended: meter.update(ended, f"{name}: {ended} ended")
        )
        rows = pd.DataFrame({key: values.numpy() for key, values in columns.items()})
        rows["outcome"] = [Outcome(code).label for code in rows["outcome"]]
        rows.insert(0, "set", name)
        rows.insert(1, "image", range(len(rows)))
        rows.insert(2, "id", about["ids"])
        made_from = {"data": self._data[name]["sha256"], "references": self._references_sha}
        self.directory.save_table(_score_file(name), rows, **made_from)

    def _draw(self, name: str) -> None:
        drawn = draw_set(self.config, name)
        self._keep(name, drawn)
        if name in self.config.outside and drawn.encodings and self.config.reencoded:
            self._keep(control_name(name), draw_control(self.config, drawn.encodings))

    def _keep(self, name: str, drawn: Drawn) -> None:
        known = self._data.get(name, drawn.facts)
        if known["sha256"] != drawn.facts["sha256"]:
            raise UserError(
                f"set {name!r} has changed since {self.directory.path} was begun: its images have sha256 "
                f"{known['sha256'][:12]}... there and {drawn.facts['sha256'][:12]}... now; choose another folder with "
                "--out."
            )
        self.directory.save(_data_file(name), {"images": drawn.images}, data=drawn.facts, ids=drawn.ids)

    def _images(self, name: str) -> torch.Tensor:
        return self.directory.load(_data_file(name), "images")[0]["images"]

    @property
    def _leads(self) -> bool:
        return self.world.rank == 0

    @property
    def _device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() and self.config.device != "cpu" else "cpu")

    @property
    def _data(self) -> dict[str, dict[str, Any]]:
        """Facts of the sets that were drawn."""
        return self.directory.manifest["data"]

    @property
    def _channels(self) -> int:
        """Of a model that is trained here: 1 for grey training images."""
        return 1 if self._data["train"]["grey"] else 3

    @property
    def _padded(self) -> int:
        return fitted(self.config.resolution, "inside/train")

    def _progress(self, title: str, unit: str, total: int, before: int) -> Any:
        self._stages += 1
        return progress(self.directory.path, self.world, self._stages, title, unit, total, before)

    @property
    def _references_sha(self) -> str | None:
        """Checksum of the training attractors; None where they are not there."""
        if self._sha is None:  # the file can be large: it is read through once
            about = self.directory.checked(REFERENCES, data=self._data["train"]["sha256"])
            self._sha = about["sha256"] if about else None
        return self._sha

    def _is_there(self, name: str) -> bool:
        expected = {"data": self._data[name]["sha256"], "references": self._references_sha}
        return self.directory.checked(_score_file(name), **expected) is not None

    def _is_settled(self, name: str) -> bool:
        """Whether a set's images are there, or nothing needs them any more."""
        if name not in self._data:
            return False
        control = control_name(name)
        return all(
            self.directory.checked(_data_file(one)) is not None or self._is_used_up(one)
            for one in (name, control)
            if one in self._data
        )

    def _is_used_up(self, name: str) -> bool:
        there = self._references_sha is not None
        return there and (name == "train" or self._is_there(name))


def _data_file(name: str) -> str:
    return f"{WORK}/data/{name}.safetensors"


def _score_file(name: str) -> str:
    return f"scores/{name}.parquet"
