"""One rank's work on OOD detection: the images, the model, its training attractors, a table per set, the report."""

import logging
import shutil
from functools import cached_property
from typing import Any

import pandas as pd
import torch

from jobs.directory import WORK
from jobs.ood.directory import REFERENCES, OodDirectory
from jobs.progress import Meter
from jobs.provenance import now
from jobs.trackers import log_training, numbers
from jobs.work import Work
from jobs.world import World
from probe.autoencoders import Autoencoder
from probe.config import ModelConfig
from probe.data.collect import overlap
from probe.dynamics import Outcome
from probe.studies.ood.config import OodTraining
from probe.studies.ood.images import Drawn, as_taken, control_name, draw_control, draw_set, must_fit
from probe.studies.ood.scores import References, Scorer, references, side_of
from probe.training import build, fitted, train
from probe.training.checkpoint import STATE, model_folder

MODEL = "model"
TABLE = "scores.parquet"
"""A row per image of every set; joined from scores/."""
log = logging.getLogger("probe")


class Ood(Work[OodDirectory]):
    """The stages, in order; each rank scores sets of its own, the first trains the model and finds the attractors."""

    def __init__(self, directory: OodDirectory, world: World | None = None, trusted: bool = True):
        super().__init__(directory, world)
        self.trusted = trusted
        self.config = directory.config
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
        if self.leads:
            self.begin_session(self._device, self.config.model.dtype if self.config.model else "float32")
        self.world.barrier()

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
        todo = self.absent(["train", "test", *self.config.outside], self._is_settled)
        for name, meter in self.share_out("images", "sets", todo, size=lambda name: 1, before=0):
            meter.note = name
            self._draw(name)
        if self.leads:
            names = [one for name in todo for one in (name, control_name(name))]
            drawn = {name: about["data"] for name in names if (about := self.directory.checked(_data_file(name)))}
            self._note_shared(drawn)
            self.directory.update_manifest(data=drawn)
            if self.config.train:
                must_fit(self._channels, self._data)
                build(self._channels, self._padded, self.config.train.k, self.config.train, 0)
        self.world.barrier()

    def references(self) -> None:
        """Find the training attractors, if they are not there; the model is trained before, where it is to be.

        Raises:
            UserError: the model cannot be loaded, is another than before, or does not suit the images.
        """
        made_from = {"data": self._data["train"]["sha256"]}
        if not self.on_rank_0(lambda: self.directory.claimed(REFERENCES, **made_from) is None):
            return
        model = self.model
        total = min(self.config.solver.starts, self._data["train"]["n_used"])
        with self.leading("attractors", "starts", total) as meter:
            if self.leads:
                self._find(model, meter)

    def scores(self) -> None:
        """Score every set whose table is missing; each goes to one rank, the next to whoever is free."""
        sizes = {name: self._data[name]["n_used"] for name in self.sets}
        todo = self.absent(list(sizes), lambda name: self.directory.claimed(_score_file(name), **self._source(name)))
        if todo:
            _ = self.model  # all ranks agree on it, also those that will find no set left
        before = sum(sizes.values()) - sum(sizes[name] for name in todo)
        for name, meter in self.share_out("scores", "images", todo, size=sizes.__getitem__, before=before):
            self._score(name, meter)

    def report(self) -> dict[str, Any]:
        """Join the tables and write report/; the report, on every rank."""
        return self.on_rank_0(self._report)

    def _report(self) -> dict[str, Any]:
        from probe.report.ood import write_ood_report

        for name in self.sets:
            self.directory.needed(_score_file(name), **self._source(name))
        tables = [pd.read_parquet(self.directory.path / _score_file(name)) for name in self.sets]
        self.directory.save_table(TABLE, pd.concat(tables, ignore_index=True))
        if "finished" not in self.directory.manifest:
            self.directory.update_manifest(finished=now())
        content = write_ood_report(self.directory.path)
        self._tell_trackers(content)
        shutil.rmtree(self.directory.path / WORK, ignore_errors=True)
        for warning in content["warnings"]:
            log.warning(f"warning: {warning}")
        log.info(f"report: {self.directory.path / 'report' / 'report.html'}")
        return content

    def _tell_trackers(self, content: dict[str, Any]) -> None:
        with self.tracked() as tracker:
            if self.config.train and content["training"]:
                log_training(tracker, self.config.train, content["training"]["loss"])
            tracker.log(numbers(content["attractors"], "attractors/"))
            tracker.log(numbers({name: one["scores"] for name, one in content["sets"].items()}))

    @cached_property
    def model(self) -> Autoencoder:
        """The autoencoder, trained first where it is to be; the one that made what is already there.

        Raises:
            UserError: as ``load_autoencoder``; or it is not the one that the experiment was begun with.
        """
        spec = self.config.model or self._trained(self.config.train or OodTraining(k=1))
        model = self.loaded(spec, self.trusted)
        about = {
            "source": MODEL if self.config.train else model.source,  # where the folder lies does not matter
            "class": model.class_name,
            "weights_sha256": model.weights_sha256(),
            "code_sha256": model.code_sha256,
            "latent_shape": list(model.latent_shape(side_of(model, self.config.resolution))),
            "parameters": model.parameters(),
        }
        self.must_be_the_model(about)
        must_fit(model.channels, self._data)
        if self.leads:
            told = {"warnings": list(model.warnings)} if model.warnings else {}
            self.directory.update_manifest(model=about | told)
        self.world.barrier()
        return model

    @cached_property
    def _scorer(self) -> Scorer:
        tensors, about = self.directory.load(REFERENCES)
        return Scorer(self.model, References(tensors["latents"], tensors["attractors"], about["facts"]), self.config)

    def _trained(self, settings: OodTraining) -> ModelConfig:
        """Train the model, or go on with it, on rank 0; where it then is."""
        folder, n = self.directory.path / MODEL, self._data["train"]["n_used"]
        final = model_folder(folder, settings.epochs_for(n))
        if not self.on_rank_0(lambda: final.exists() and not (folder / STATE).exists()):
            with self.leading("training", "epochs", settings.epochs_for(n)) as meter:
                if self.leads:
                    self._train(settings, meter)
        return ModelConfig(source=str(final), device=settings.device)

    def _train(self, settings: OodTraining, meter: Meter) -> None:
        with self.tracked() as tracker:

            def on_epoch(done: int, epochs: int, loss: float) -> None:
                meter.update(done, f"loss {loss:.5f}")
                tracker.log({"loss": loss, "learning_rate": settings.rate(done, epochs)}, step=done)

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
        self.directory.save_table(_score_file(name), rows, **self._source(name))

    def _draw(self, name: str) -> None:
        drawn = draw_set(self.config, name)
        self._keep(name, drawn)
        if name in self.config.outside and drawn.encodings and self.config.reencoded:
            self._keep(control_name(name), draw_control(self.config, drawn.encodings))

    def _keep(self, name: str, drawn: Drawn) -> None:
        self.must_be_the_images(f"set {name!r}", drawn.facts, self._data.get(name))
        self.directory.save(_data_file(name), {"images": drawn.images}, data=drawn.facts, ids=drawn.ids)

    def _note_shared(self, drawn: dict[str, dict[str, Any]]) -> None:
        """Add to the facts of test and OOD sets how many of their images are training images, too."""
        if self.directory.checked(_data_file("train")) is None:
            return  # used up: the sets were compared when they were drawn first
        train = self._images("train")
        for name, facts in drawn.items():
            if name not in ("test", *self.config.outside):
                continue
            if shared := overlap(train, self._images(name)):
                note = f"{shared} of {facts['n_used']} images are training images, too, pixel by pixel."
                log.warning(f"{name}: {note}")
                facts |= {"shared_with_train": shared, "notes": [*facts.get("notes", []), note]}

    def _images(self, name: str) -> torch.Tensor:
        return self.directory.load(_data_file(name), "images")[0]["images"]

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

    @property
    def _references_sha(self) -> str | None:
        """Checksum of the training attractors; None where they are not there."""
        if self._sha is None:  # the file can be large: it is read through once
            about = self.directory.checked(REFERENCES, data=self._data["train"]["sha256"])
            self._sha = about["sha256"] if about else None
        return self._sha

    def _is_there(self, name: str) -> bool:
        return self.directory.checked(_score_file(name), **self._source(name)) is not None

    def _source(self, name: str) -> dict[str, str | None]:
        """What a set's table is made from."""
        return {"data": self._data[name]["sha256"], "references": self._references_sha}

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
