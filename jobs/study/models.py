"""Stage ``models`` of a study: each model is trained, or each architecture built, and measured; one result each."""

from pathlib import Path
from typing import Any

from torch import Tensor

from jobs.lock import if_free
from jobs.progress import Meter
from jobs.stage import Counts
from jobs.study.directory import StudyDirectory
from jobs.study.work import Shard, StudyWork, cell_file
from jobs.trackers import Tracker, is_complete, log_training, numbers
from probe.results import layout
from probe.studies.sweeps.config import GridConfig
from probe.studies.sweeps.grid import Cell, Measured, TrainedModel, training_images
from probe.training import Trained, fitted, train
from probe.training.checkpoint import STATE

TRAINING = 0.7
"""Part of a model's work that is training, for the progress bar."""


def models(work: StudyWork) -> int:
    """Make and measure every model whose result is missing; each goes to one rank, the next to whoever is free.

    Returns:
        How many are left, since a process outside of this world is working on them.
    """
    work.begin()
    grid = work.grid()
    todo = work.missing(grid, lambda shard: work.directory.claimed(cell_file(shard), **work.source(shard)))
    for shard, meter in work.share("models", "models", todo, before=len(grid) - len(todo)):
        with if_free(work.directory.path / layout.CELL_LOCK.at(shard=shard.name, file="")) as mine:
            if mine and not work.is_there(shard):
                _make(work, shard, meter)
    return work.on_rank_0(lambda: len(work.left()))


def count(study: StudyDirectory) -> Counts:
    """Models whose results are there."""
    return len(list(study.path.glob(layout.CELL.glob))), study.config.shards


def tell_trackers(work: StudyWork, shard: Shard, values: dict[str, Any]) -> None:
    """Log what the trackers do not know of a model yet: its training, its numbers, and those of its checkpoints by
    epoch in a series of their own, since a tracker's steps must not go back."""
    if not (work.leads and work.config.trackers.log_with) or is_complete(work.directory.path, shard.name):
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
    with work.tracked(shard.name, **vars(shard)) as tracker:
        if isinstance(shard, Cell):
            found = _trained_and_measured(work, shard, meter, tracker)
        else:
            meter.update(0.0, shard.architecture)
            found = work.kind.measure(shard, work.config, meter.update)
    tell_trackers(work, shard, found.values)  # before the result is there: nobody will look at it again then
    about = {**work.source(shard), "model": found.values, "rank": work.world.rank}
    work.directory.save(cell_file(shard), found.tensors, **about)
    (_folder(work, shard) / STATE).unlink(missing_ok=True)  # the result is there: no training will resume from it


def _trained_and_measured(work: StudyWork, cell: Cell, meter: Meter, tracker: Tracker) -> Measured:
    def tell(share: float, note: str) -> None:
        meter.update(TRAINING + (1 - TRAINING) * share, f"{cell.name}: {note}")

    config: GridConfig = work.config  # type: ignore[assignment]
    images = work.images(cell.dataset)
    chosen = training_images(images["train"], cell)
    trained = _train(work, cell, chosen, config, meter, tracker)
    model = TrainedModel(cell, chosen, images["test"], config.training, trained.folder, work.device)
    found = work.kind.measure(model, config, tell)
    about = {**vars(cell), **found.values, "epochs": trained.epochs, "loss": trained.losses}
    return Measured(about, found.tensors)


def _train(work: StudyWork, cell: Cell, images: Tensor, config: GridConfig, meter: Meter, tracker: Tracker) -> Trained:
    def on_epoch(done: int, epochs: int, loss: float) -> None:
        meter.update(TRAINING * done / epochs, f"{cell.name}: epoch {done}/{epochs}, loss {loss:.5f}")
        tracker.log({"loss": loss, "learning_rate": config.training.rate(done, epochs)}, step=done)

    return train(
        images,
        side=fitted(images.shape[-1], cell.dataset),
        k=cell.k,
        config=config.training,
        seed=cell.seed,
        folder=_folder(work, cell),
        cpu=config.device == "cpu",
        on_epoch=on_epoch,
    )


def _folder(work: StudyWork, shard: Shard) -> Path:
    return work.directory.path / layout.MODELS / shard.name
