"""An OOD experiment of ``probe ood``: its sets and model, and its stages."""

import shutil
from functools import cached_property
from typing import Any

import pandas as pd
from torch import Tensor

from jobs.ood.directory import OodDirectory, data_file, score_file
from jobs.progress import Meter
from jobs.shards import Shards
from jobs.trackers import log_training, numbers
from jobs.work import Work
from probe.autoencoders import Autoencoder
from probe.config import ModelConfig
from probe.dynamics import EndPoints, Iteration, Outcome
from probe.dynamics.iterate import Map, iterate_batches
from probe.dynamics.memory import Fitting
from probe.errors import UserError
from probe.plan.begun import is_small
from probe.plan.ood import ood_cost, ood_stages, plan_ood
from probe.plan.stage import Plan
from probe.results import layout
from probe.studies.inputs import note_overlap
from probe.studies.ood.config import OodConfig, OodTraining, control_name
from probe.studies.ood.images import Drawn, as_taken, draw_control, draw_set, must_fit
from probe.studies.ood.scores import References, Scorer, references, starts_of
from probe.studies.probing.end_points import OnStep
from probe.training.checkpoint import STATE, model_folder
from probe.training.images import fitted
from probe.training.train import build, train


class OodWork(Work[OodDirectory]):
    """The model is loaded once."""

    config: OodConfig

    def prepare(self) -> None:
        """As ``Work.prepare``."""
        if self.config.model:
            _ = self.model

    def plan(self) -> Plan | None:
        """As ``Work.plan``."""
        config, model = self.config, self.model if self.config.model else None
        channels = 3 if model else self.network[0]
        if is_small(ood_stages(config, ood_cost(config, channels, model))):
            return None
        return plan_ood(config, ranks=self.world.size, channels=channels, model=model)[0]

    @property
    def network(self) -> tuple[int, int]:
        """Channels (1 for grey training images) and side of the images that a model takes that is trained here."""
        assert self.config.train is not None
        side = fitted(self.config.resolution, "inside/train", self.config.train.convolutions)
        return (1 if self.directory.drawn("train")["grey"] else 3), side

    @cached_property
    def model(self) -> Autoencoder:
        """The autoencoder, trained first where the configuration says so; the one that made what is already there.

        Raises:
            UserError: as ``Work.load_model``; or a set is in colour and the model takes grey images.
        """
        spec = self.config.model or _trained_model(self)

        def describe(model: Autoencoder) -> dict[str, object]:
            must_fit(model.channels, self.directory.data)
            shape = list(model.latent_shape(model.side or self.config.resolution))
            # Where the folder of a model that is trained here lies does not matter.
            source = layout.OOD_MODEL if self.config.train else model.source
            return {"source": source, "latent_shape": shape, "parameters": model.parameters()}

        return self.load_model(spec, describe)


# Stage ``images``, without a GPU


def images(work: OodWork) -> None:
    """Draw the sets that something missing needs.

    Raises:
        UserError: a source cannot be read or has changed, or a set is in colour and the model takes grey images.
    """
    work.begin()
    ood, config = work.directory, work.config

    def settled(name: str) -> bool:
        return _is_settled(ood, name)

    todo = work.world.missing(["train", "test", *config.outside], settled)
    for name, meter in work.share("images", "sets", todo, settled):
        meter.note = name
        drawn = draw_set(config, name)
        _keep(ood, name, drawn)
        if name in config.outside and drawn.encodings and config.reencoded:
            _keep(ood, control_name(name), draw_control(config, drawn.encodings))
    if work.world.leads:
        names = [one for name in todo for one in (name, control_name(name))]
        facts = {name: about["data"] for name in names if (about := ood.checked(data_file(name)))}
        _note_shared(ood, facts)
        ood.update_manifest(data=facts)
        if config.train:  # what cannot be trained is refused here
            channels, side = work.network
            must_fit(channels, ood.data)
            build(channels, side, config.train.k, config.train, 0)
    work.world.barrier()


def _keep(ood: OodDirectory, name: str, drawn: Drawn) -> None:
    ood.check_same_images(name, drawn.facts)
    ood.save(data_file(name), {"images": drawn.images}, data=drawn.facts, ids=drawn.ids)


def _note_shared(ood: OodDirectory, drawn: dict[str, dict[str, Any]]) -> None:
    """Add to the facts of test and OOD sets how many of their images are also training images."""
    if ood.checked(data_file("train")) is None:
        return  # used up: the sets were compared when they were drawn first
    train_images = ood.images("train")
    for name, facts in drawn.items():
        if name in ("test", *ood.config.outside):
            note_overlap(name, train_images, ood.images(name), facts)


def _is_settled(ood: OodDirectory, name: str) -> bool:
    """Whether the images of a set and of its control are there, or nothing needs them any more."""
    known = [one for one in (name, control_name(name)) if one in ood.data]
    return name in known and all(ood.checked(data_file(one)) or _is_used_up(ood, one) for one in known)


def _is_used_up(ood: OodDirectory, name: str) -> bool:
    if ood.references_sha256 is None:
        return False
    return name == "train" or ood.checked(score_file(name), **ood.source(name)) is not None


# Stage ``attractors``, on rank 0; the model is trained before, where the experiment trains its own


def attractors(work: OodWork) -> None:
    """Find the training attractors, if they are not there.

    Raises:
        UserError: as ``OodWork.model``; or every start diverges.
    """
    work.begin()
    ood = work.directory
    made_from = {"data": ood.drawn("train")["sha256"]}
    if not work.world.on_rank_0(lambda: ood.claimed(layout.REFERENCES.name, **made_from) is None):
        return
    model = work.model
    whole = range(starts_of(work.config, ood.drawn("train")["n_used"]))
    kept = Shards(ood, lambda start: whole, rank=0)
    left = kept.missing(whole) if work.world.leads else []
    before = len(whole) - len(left)
    with work.claiming("attractors", "starts", total=len(left), before=before) as (_, meter):
        if not work.world.leads:
            return

        def on_step(ended: int, running: int, part: float) -> None:
            meter.update(ended + part, f"{running} running")

        def solve(f: Map, starts: Tensor, settings: Iteration, on_step: OnStep | None) -> EndPoints:
            """``end_points`` of the starts that had not ended when an earlier process was stopped, and of those."""
            parts, found = [(left, starts[left])] if left else [], []
            with kept:
                for _, ends in iterate_batches(Fitting(f), parts, settings, on_step, kept.gathered):
                    found.append(EndPoints(**{name: value.cpu() for name, value in vars(ends).items()}))
            return kept.joined(whole, left, found)[1]

        found = references(model, as_taken(model, ood.images("train")), work.config, on_step, solve)
        ood.save(layout.REFERENCES.name, found.tensors(), **made_from, facts=found.facts)


def attractors_found(work: OodWork) -> dict[str, Any]:
    """What is known of the training attractors."""
    return work.directory.load(layout.REFERENCES.name, "attractors")[1]["facts"]


def _trained_model(work: OodWork) -> ModelConfig:
    """Train the model, or resume its training, if it is not there; where it then is."""
    settings, ood = work.config.train, work.directory
    assert settings is not None
    folder, epochs = ood.path / layout.OOD_MODEL, settings.epochs_for(ood.drawn("train")["n_used"])
    final = model_folder(folder, epochs)
    if not work.world.on_rank_0(lambda: final.exists() and not (folder / STATE).exists()):
        with work.claiming("training", "epochs", total=epochs) as (_, meter):
            if work.world.leads:
                _train(work, settings, meter)
    return ModelConfig(source=str(final), device=settings.device)


def _train(work: OodWork, settings: OodTraining, meter: Meter) -> None:
    ood = work.directory
    (channels, side), folder = work.network, ood.path / layout.OOD_MODEL
    with work.tracked() as tracker:

        def on_epoch(done: int, epochs: int, loss: float) -> None:
            meter.update(done, f"loss {loss:.5f}")
            tracker.log({"loss": loss, "learning_rate": settings.rate(done, epochs)}, step=done)

        trained = train(
            ood.images("train")[:, :channels].contiguous(),
            side=side,
            k=settings.k,
            config=settings,
            seed=settings.seed,
            folder=folder,
            cpu=settings.device == "cpu",
            on_epoch=on_epoch,
        )
    ood.update_manifest(training={"epochs": trained.epochs, "loss": trained.losses})
    (folder / STATE).unlink()  # no training will resume from it


# Stage ``scores``


def scores(work: OodWork) -> None:
    """Score every set whose table is missing; each goes to one rank, the next to whoever is free.

    Raises:
        UserError: as ``OodWork.model``; or there are no training attractors.
    """
    work.begin()
    ood = work.directory
    if work.world.on_rank_0(lambda: ood.references_sha256) is None:
        raise UserError(f"{ood.path} has no training attractors; run `probe attractors {ood.path}` first.")
    sizes = {name: ood.drawn(name)["n_used"] for name in ood.sets}

    def is_there(name: str) -> bool:
        return ood.claimed(score_file(name), **ood.source(name)) is not None

    todo = work.world.missing(list(sizes), is_there)
    if not todo:
        return
    model = work.model  # all ranks load it together, also those that will find no set left
    tensors, about = ood.load(layout.REFERENCES.name)
    scorer = Scorer(model, References.of(tensors, about["facts"]), work.config)
    before = sum(sizes.values()) - sum(sizes[name] for name in todo)
    for name, meter in work.share("scores", "images", todo, is_there, size=sizes.__getitem__, before=before):
        _score(ood, scorer, name, meter)


def _score(ood: OodDirectory, scorer: Scorer, name: str, meter: Meter) -> None:
    tensors, about = ood.load(data_file(name))
    taken = as_taken(scorer.model, tensors["images"])
    columns = scorer(taken, lambda ended: meter.update(ended, f"{name}: {ended} ended"))
    rows = pd.DataFrame({key: values.numpy() for key, values in columns.items()})
    rows["outcome"] = [Outcome(code).label for code in rows["outcome"]]
    rows.insert(0, "set", name)
    rows.insert(1, "image", range(len(rows)))
    rows.insert(2, "id", about["ids"])
    ood.save_table(score_file(name), rows, **ood.source(name))


# Stage ``report``


def report(work: OodWork) -> dict[str, Any]:
    """Join the tables and write report/; the report, on every rank.

    Raises:
        UserError: a table or the training attractors are missing or damaged.
    """
    return work.world.on_rank_0(lambda: _report(work))


def _report(work: OodWork) -> dict[str, Any]:
    from probe.report.ood import write_ood_report

    ood = work.directory
    ood.needed(layout.REFERENCES.name, data=ood.drawn("train")["sha256"])
    for name in ood.sets:
        ood.needed(score_file(name), **ood.source(name))
    tables = [ood.load_table(score_file(name)) for name in ood.sets]
    ood.save_table(layout.SCORE_TABLE.name, pd.concat(tables, ignore_index=True))
    content = work.finish(lambda: write_ood_report(ood.path))
    with work.tracked() as tracker:
        if work.config.train and content["training"]:
            log_training(tracker, work.config.train, content["training"]["loss"])
        tracker.log(numbers(content["attractors"], "attractors/"))
        tracker.log(numbers({name: one["scores"] for name, one in content["sets"].items()}))
    shutil.rmtree(ood.path / layout.WORK, ignore_errors=True)
    return content
