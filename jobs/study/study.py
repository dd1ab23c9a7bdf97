"""One rank's work on a study: the images, a shard for each model of the grid or architecture, and the report."""

import logging
import shutil
from functools import lru_cache
from typing import Any

import torch

from jobs.directory import WORK
from jobs.lock import if_free
from jobs.progress import Meter
from jobs.provenance import now
from jobs.study.directory import StudyDirectory
from jobs.study.models import ShardWork
from jobs.trackers import is_complete, log_training, numbers
from jobs.work import Work
from jobs.world import World
from probe.errors import UserError
from probe.files import tensors_sha256
from probe.report.study.kinds import study_kind
from probe.studies.sweeps.config import GridConfig, StudyConfig
from probe.studies.sweeps.datasets import draw
from probe.studies.sweeps.grid import Backbone, Cell
from probe.training import fitted

log = logging.getLogger("probe")


class Study(Work[StudyDirectory]):
    """The stages of a study, in order; each rank has models of its own in hand."""

    def __init__(self, directory: StudyDirectory, world: World | None = None):
        super().__init__(directory, world)
        self.config: StudyConfig = directory.config
        self.kind = study_kind(self.config.study)
        self._images = lru_cache(maxsize=1)(self._read_images)

    def all(self) -> dict[str, Any]:
        """Draw the images, make every shard that is missing, write the report; the report."""
        self.draw()
        self.models()
        return self.report()

    def draw(self) -> None:
        """``begin`` and ``images``, which need no GPU."""
        self.begin()
        self.images()

    def begin(self) -> None:
        """Note this process in the manifest."""
        if self.leads:
            self.begin_session(self._device, "float32")
        self.world.meet()

    def images(self) -> None:
        """Draw the data sets that some missing model needs; a grid that cannot be trained is refused here.

        Raises:
            UserError: a source cannot be read or has changed, or a k or size does not fit it.
        """
        todo = self.absent(list(self.config.data), self._is_settled)
        for name, meter in self.share_out("images", "data sets", todo, size=lambda name: 1, before=0):
            meter.note = name
            self._draw(name)
        if self.leads:
            drawn = {name: self.directory.load(_data_file(name), "test")[1]["data"] for name in todo}
            self.directory.update_manifest(data=drawn)
            self.kind.shards(self.config, self._data)
        self.world.meet()

    def models(self) -> None:
        """Make and measure every model whose result is missing; each goes to one rank, the next to whoever is free.

        A model that a process outside of this world has in hand is left to it.
        """
        grid = self.kind.shards(self.config, self._data)
        todo = self.absent(grid, lambda shard: self.directory.claimed(cell_file(shard), **self._source(shard)))
        before = len(grid) - len(todo)
        for shard, meter in self.share_out("models", "models", todo, size=lambda shard: 1, before=before):
            with if_free(self.directory.path / WORK / "locks" / shard.name) as mine:
                if mine and not self._is_there(shard):
                    self._make(shard, meter)

    def missing(self) -> list[Cell | Backbone]:
        """The models whose results are not there."""
        return [shard for shard in self.kind.shards(self.config, self._data) if not self._is_there(shard)]

    def report(self) -> dict[str, Any]:
        """Write report/ from the results; the report, on every rank.

        Raises:
            UserError: a model's result is missing.
        """
        return self.on_rank_0(self._report)

    def _report(self) -> dict[str, Any]:
        from probe.report.study import write_study_report

        grid = self.kind.shards(self.config, self._data)
        missing = self.missing()
        for shard in missing:
            if (self.directory.path / cell_file(shard)).exists():
                self.directory.needed(cell_file(shard), **self._source(shard))
        if missing:
            raise UserError(
                f"{self.directory.path} misses {len(missing)} models, {missing[0].name} first; run it again, or wait "
                "for the process that has them in hand."
            )
        if "finished" not in self.directory.manifest:
            self.directory.update_manifest(finished=now())
        for shard in grid:  # those of other ranks, and those that were made when there was no tracker
            self._tell_trackers(shard, self.directory.load(cell_file(shard))[1]["model"])
        content = write_study_report(self.directory.path, [cell_file(shard) for shard in grid])
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
            for name in self.config.data
        }

    def _is_settled(self, name: str) -> bool:
        """Whether a data set's images are there, or no model needs them any more."""
        if name not in self.directory.manifest["data"]:
            return False
        if self.directory.checked(_data_file(name)):
            return True
        return all(self._is_there(cell) for cell in self.kind.shards(self.config, {name: self._data[name]}))

    def _draw(self, name: str) -> None:
        spec = self.config.data[name]
        images = draw(name, spec)
        facts = {**images.facts, "sha256": tensors_sha256([("train", images.train), ("test", images.test)])}
        self.must_be_the_images(f"data set {name!r}", facts, self.directory.manifest["data"].get(name))
        side = fitted(spec.side, name)
        if side != spec.side:
            log.info(f"{name}: images of side {spec.side} are padded to {side} for the network")
        self.directory.save(_data_file(name), {"train": images.train, "test": images.test}, data=facts)

    def _read_images(self, name: str) -> dict[str, torch.Tensor]:
        return self.directory.load(_data_file(name))[0]

    def _is_there(self, shard: Cell | Backbone) -> bool:
        return self.directory.checked(cell_file(shard), **self._source(shard)) is not None

    def _source(self, shard: Cell | Backbone) -> dict[str, str]:
        """Of a trained model the checksum of its images."""
        return {"data": self.directory.manifest["data"][shard.dataset]["sha256"]} if isinstance(shard, Cell) else {}

    def _make(self, shard: Cell | Backbone, meter: Meter) -> None:
        with self.tracked(shard.name, **vars(shard)) as tracker:
            work = ShardWork(self.directory, self.kind, self._device, meter, tracker)
            found = work.model(shard, self._images(shard.dataset)) if isinstance(shard, Cell) else work.backbone(shard)
        self._tell_trackers(shard, found.values)  # before the result is there: nobody will look at it again then
        self.directory.save(
            cell_file(shard), found.tensors, **self._source(shard), model=found.values, rank=self.world.rank
        )
        work.forget(shard)  # the result is there: nothing will go on from it

    def _tell_trackers(self, shard: Cell | Backbone, values: dict[str, Any]) -> None:
        """Log what they do not know of a model yet: its training, its numbers, and those of its checkpoints by epoch
        in a course of their own, since a tracker's steps must not go back."""
        if not (self.leads and self.config.trackers.log_with) or is_complete(self.directory.path, shard.name):
            return
        checkpoints = values.get("checkpoints", {})
        if checkpoints:
            with self.tracked(f"{shard.name}-checkpoints", **vars(shard)) as tracker:
                for epoch, record in checkpoints.items():
                    tracker.log(numbers(record), step=int(epoch))
        with self.tracked(shard.name, **vars(shard)) as tracker:
            if isinstance(self.config, GridConfig):
                log_training(tracker, self.config.training, values["loss"])
            tracker.log(numbers({key: value for key, value in values.items() if key != "checkpoints"}))
            tracker.complete()


def cell_file(shard: Cell | Backbone) -> str:
    """Where a model's result is kept."""
    return f"cells/{shard.name}.safetensors"


def _data_file(name: str) -> str:
    return f"{WORK}/data/{name}.safetensors"
