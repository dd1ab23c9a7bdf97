"""A study of ``probe study``: its grid of models, and its stages."""

import logging
import shutil
from typing import Any

from torch import Tensor

from jobs.lock import if_free
from jobs.progress import Meter
from jobs.study.directory import StudyDirectory, cell_file, data_file
from jobs.trackers import Tracker, is_complete, log_training, numbers
from jobs.work import Work
from probe.errors import UserError
from probe.files import tensors_sha256
from probe.plan.begun import is_small
from probe.plan.stage import Plan
from probe.plan.study import plan_study, study_stages
from probe.results import layout
from probe.studies.sweeps.config import GridConfig, StudyConfig
from probe.studies.sweeps.datasets import draw as draw_images
from probe.studies.sweeps.grid import Backbone, Cell, Measured, TrainedModel, training_images
from probe.training.checkpoint import STATE
from probe.training.images import fitted
from probe.training.train import Trained, train

TRAINING = 0.7
"""Part of a model's work that is training, for the progress bar."""
Shard = Cell | Backbone
log = logging.getLogger("probe")


class StudyWork(Work[StudyDirectory]):
    """Each rank works on models of its own."""

    config: StudyConfig
    _drawn: tuple[str, dict[str, Tensor]] = ("", {})

    def plan(self) -> Plan | None:
        """As ``Work.plan``."""
        drawn = self.directory.sizes()
        if is_small(study_stages(self.config, drawn)):
            return None
        return plan_study(self.config, ranks=self.world.size, drawn=drawn)[0]

    def images(self, name: str) -> dict[str, Tensor]:
        """``train`` and ``test`` of a data set, uint8 (n, c, side, side); those of the last call are kept."""
        if self._drawn[0] != name:
            self._drawn = name, self.directory.load(data_file(name))[0]
        return self._drawn[1]


# Stage ``images``, without a GPU


def images(work: StudyWork) -> None:
    """Draw the data sets that some missing model needs; a grid that cannot be trained is refused here.

    Raises:
        UserError: a source cannot be read or has changed, or a k or size does not fit it.
    """
    work.begin()
    study = work.directory

    def settled(name: str) -> bool:
        return _is_settled(study, name)

    todo = work.world.missing(list(work.config.data), settled)
    for name, meter in work.share("images", "data sets", todo, settled):
        meter.note = name
        _draw(study, name)
    if work.world.leads:
        study.update_manifest(data={name: study.load(data_file(name), "test")[1]["data"] for name in todo})
        study.grid()
    work.world.barrier()


def images_used(work: StudyWork) -> dict[str, int]:
    """Training images by data set."""
    return {name: facts["train"]["n_used"] for name, facts in work.directory.data.items()}


def _is_settled(study: StudyDirectory, name: str) -> bool:
    """Whether a data set's images are there, or no model needs them any more."""
    if name not in study.data:
        return False
    return bool(study.checked(data_file(name))) or all(map(study.is_there, study.grid(name)))


def _draw(study: StudyDirectory, name: str) -> None:
    spec = study.config.data[name]
    side = fitted(spec.side, f"data set {name!r}", study.config.training.convolutions)
    images = draw_images(name, spec)
    facts = {**images.facts, "sha256": tensors_sha256([("train", images.train), ("test", images.test)])}
    study.check_same_images(name, facts)
    if side != spec.side:
        log.info(f"{name}: images of side {spec.side} are padded to {side} for the network")
    study.save(data_file(name), {"train": images.train, "test": images.test}, data=facts)


# Stage ``models``


def models(work: StudyWork) -> int:
    """Make and measure every model whose result is missing; each goes to one rank, the next to whoever is free.

    Returns:
        How many are left, since a process outside of this world is working on them.
    """
    work.begin()
    study, grid = work.directory, work.directory.grid()

    def is_there(shard: Shard) -> bool:
        return study.claimed(cell_file(shard), **study.source(shard)) is not None

    todo = work.world.missing(grid, is_there)
    for shard, meter in work.share("models", "models", todo, is_there, before=len(grid) - len(todo)):
        with if_free(study.path / layout.CELL_LOCK.at(shard=shard.name, file="")) as mine:
            if mine and not study.is_there(shard):
                _make(work, shard, meter)
    return work.world.on_rank_0(lambda: len(study.left()))


def tell_trackers(work: StudyWork, shard: Shard, values: dict[str, Any]) -> None:
    """Log what the trackers do not know of a model yet: its training, its numbers, and those of its checkpoints by
    epoch in a series of their own, since a tracker's steps must not go back."""
    wanted = work.world.leads and work.config.trackers.log_with
    if not wanted or is_complete(work.directory.path, shard.name):
        return
    checkpoints = values.get("checkpoints", {})
    if checkpoints:
        with work.tracked(f"{shard.name}-checkpoints", **vars(shard)) as tracker:
            for epoch, record in checkpoints.items():
                tracker.log(numbers(record), step=int(epoch))
    with work.tracked(shard.name, **vars(shard)) as tracker:
        if isinstance(work.config, GridConfig):
            log_training(tracker, work.config.training, values["loss"])
        tracker.log(numbers({key: value for key, value in values.items() if key != "checkpoints"}))
        tracker.complete()


def _make(work: StudyWork, shard: Shard, meter: Meter) -> None:
    study = work.directory
    with work.tracked(shard.name, **vars(shard)) as tracker:
        if isinstance(shard, Cell):
            found = _trained_and_measured(work, shard, meter, tracker)
        else:
            meter.update(0.0, shard.architecture)
            found = study.kind.measure(shard, study.config, meter.update)
    tell_trackers(work, shard, found.values)  # before the result is there: nobody will look at it again then
    about = {**study.source(shard), "model": found.values, "rank": work.world.rank}
    study.save(cell_file(shard), found.tensors, **about)
    # The result is there: no training will resume from the state.
    (study.path / layout.MODELS / shard.name / STATE).unlink(missing_ok=True)


def _trained_and_measured(work: StudyWork, cell: Cell, meter: Meter, tracker: Tracker) -> Measured:
    def tell(share: float, note: str) -> None:
        meter.update(TRAINING + (1 - TRAINING) * share, f"{cell.name}: {note}")

    config: GridConfig = work.directory.config
    drawn = work.images(cell.dataset)
    chosen = training_images(drawn["train"], cell)
    trained = _train(work.directory, cell, chosen, meter, tracker)
    model = TrainedModel(cell, chosen, drawn["test"], config.training, trained.folder, work.device)
    found = work.directory.kind.measure(model, config, tell)
    about = {**vars(cell), **found.values, "epochs": trained.epochs, "loss": trained.losses}
    return Measured(about, found.tensors)


def _train(study: StudyDirectory, cell: Cell, images: Tensor, meter: Meter, tracker: Tracker) -> Trained:
    config: GridConfig = study.config

    def on_epoch(done: int, epochs: int, loss: float) -> None:
        meter.update(TRAINING * done / epochs, f"{cell.name}: epoch {done}/{epochs}, loss {loss:.5f}")
        tracker.log({"loss": loss, "learning_rate": config.training.rate(done, epochs)}, step=done)

    return train(
        images,
        side=fitted(images.shape[-1], cell.dataset, config.training.convolutions),
        k=cell.k,
        config=config.training,
        seed=cell.seed,
        folder=study.path / layout.MODELS / cell.name,
        cpu=study.wants_cpu(config),
        on_epoch=on_epoch,
    )


# Stage ``report``


def report(work: StudyWork) -> dict[str, Any]:
    """Write report/ from the results; the report, on every rank.

    Raises:
        UserError: a model's result is missing.
    """
    return work.world.on_rank_0(lambda: _report(work))


def _report(work: StudyWork) -> dict[str, Any]:
    from probe.report.study import write_study_report

    study, grid, left = work.directory, work.directory.grid(), work.directory.left()
    for shard in left:
        if (study.path / cell_file(shard)).exists():
            study.needed(cell_file(shard), **study.source(shard))  # says what is wrong with it
    if left:
        raise UserError(
            f"{study.path} misses {len(left)} models, {left[0].name} first; run it again, or wait for the process "
            "that is working on them."
        )
    for shard in grid:  # those of other ranks, and those that were made when there was no tracker
        tell_trackers(work, shard, study.load(cell_file(shard))[1]["model"])
    content = work.finish(lambda: write_study_report(study.path, [cell_file(shard) for shard in grid]))
    shutil.rmtree(study.path / layout.WORK, ignore_errors=True)
    return content
