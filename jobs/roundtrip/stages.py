"""A round trip of ``probe roundtrip``: its models, and its stages."""

import logging
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from jobs.progress import Meter
from jobs.roundtrip.directory import RoundtripDirectory, image_file
from jobs.run.directory import RunDirectory
from jobs.work import Work
from probe.autoencoders import Autoencoder
from probe.data.load import load_images
from probe.errors import UserError
from probe.measures import IDENTITY
from probe.metrics.frechet import Inception
from probe.metrics.perceptual import Lpips
from probe.plan.begun import is_small
from probe.plan.roundtrip import plan_roundtrip, roundtrip_costs, roundtrip_stages
from probe.plan.stage import Plan
from probe.results import layout
from probe.results.roundtrip import Trip, trips
from probe.studies.inputs import image_facts
from probe.studies.perceptual import Perceptual, load_perceptual
from probe.studies.roundtrip.between import codecs
from probe.studies.roundtrip.config import RoundtripConfig
from probe.studies.roundtrip.outcomes import Reference
from probe.studies.roundtrip.trip import round_trip, table
from probe.trust import must_be_trusted

log = logging.getLogger("probe")
N = TypeVar("N", Lpips, Inception)


class RoundtripWork(Work[RoundtripDirectory]):
    """Models are loaded one after the other, by all ranks together."""

    config: RoundtripConfig

    def plan(self) -> Plan | None:
        """As ``Work.plan``."""
        for spec in self.config.models.values() if not self.trusted else ():
            must_be_trusted(spec, self.directory.path)
        config = self.config
        if is_small(roundtrip_stages(config, roundtrip_costs(config), 0.0)):
            return None
        return plan_roundtrip(config, ranks=self.world.size)[0]

    def model(self, name: str) -> Autoencoder:
        """One of the models, the same on all ranks and the one that made what is already there.

        Raises:
            UserError: as ``Work.load_model``; or it takes no images in colour.
        """

        def describe(model: Autoencoder) -> dict[str, Any]:
            if model.kind != "image":
                raise UserError(f"{model.source} is a model of {model.kind}; round trips are of images: leave it out.")
            if model.channels != 3:
                raise UserError(
                    f"{model.source} does not take images in colour, which round trips are of; leave it out."
                )
            shape = list(model.latent_shape(self.config.resolution))
            size = {} if model.sample_size is None else {"sample_size": model.sample_size}
            return {"latent_shape": shape, "latents": model.latents, "parameters": model.parameters(), **size}

        return self.load_model(self.config.models[name], describe, name=name)

    @cached_property
    def reference(self) -> Reference | None:
        """The attractors of the run that the configuration names.

        Raises:
            UserError: it is no run, or has no dictionary with certificates.
        """
        if self.config.run is None:
            return None
        run = RunDirectory.open(Path(self.config.run).expanduser())
        tensors, about = run.load(layout.DICTIONARY.name)
        if "ends" not in tensors:
            raise UserError(
                f"{run.path} was made by an earlier version, whose dictionary holds no end points; rerun it."
            )
        return Reference.of(tensors, run.manifest["model"], about["sha256"])

    @cached_property
    def perceptual(self) -> Perceptual:
        """LPIPS and rFID, as far as they are wanted and their weights were at hand when the work was begun.

        Raises:
            UserError: the configuration names a file that is no such weights, or the weights are no longer here.
        """
        asked = self.config.perceptual
        here = load_perceptual(asked, self.device) if asked else Perceptual()
        if here.missing and self.world.leads and "perceptual" in self.config.model_fields_set:
            log.warning("LPIPS or rFID is not measured; the protocol in the report says why.")

        def note() -> dict[str, Any]:
            if "perceptual" not in self.directory.manifest:
                facts = {"lpips": None, "rfid": None, **here.protocols, "missing": list(here.missing)}
                self.directory.update_manifest(perceptual=facts)
            noted: dict[str, Any] = self.directory.manifest["perceptual"]
            return noted

        begun = self.world.on_rank_0(note)
        return Perceptual(
            self._as_begun("LPIPS", "lpips", begun["lpips"], here.lpips),
            # An earlier version began without it.
            self._as_begun("rFID", "inception", begun.get("rfid"), here.inception),
        )

    def _as_begun(self, metric: str, key: str, begun: dict[str, Any] | None, here: N | None) -> N | None:
        """The network of a metric, if the work was begun with it; it must be the same."""
        if begun and (here is None or here.sha256 != begun["sha256"]):
            raise UserError(
                f"{self.directory.path} was begun with {metric} by {begun['weights']}, which is not here; name the "
                f"file with perceptual.{key}, or choose another folder with --out."
            )
        return here if begun else None


# Stage ``images``, without a GPU


def images(work: RoundtripWork) -> None:
    """Draw the data sets that something missing needs.

    Raises:
        UserError: a source cannot be read or has changed.
    """
    work.begin()
    directory = work.directory

    def settled(name: str) -> bool:
        return _is_settled(directory, name)

    todo = work.world.missing(list(work.config.datasets), settled)
    for name, meter in work.share("images", "data sets", todo, settled):
        meter.note = name
        drawn = load_images(name, work.config.datasets[name], resolution=work.config.resolution)
        facts = {"sha256": drawn.sha256, **image_facts(drawn)}
        directory.check_same_images(name, facts)
        directory.save(image_file(name), {"images": drawn.images}, data=facts, ids=drawn.ids)
    if work.world.leads:
        facts = {name: directory.load(image_file(name), "images")[1]["data"] for name in todo}
        directory.update_manifest(data=facts)
    work.world.barrier()


def _is_settled(directory: RoundtripDirectory, name: str) -> bool:
    """Whether the images of a data set are there, or nothing needs them any more."""
    if name not in directory.data:
        return False
    made = (directory.has(trip, directory.checked) for trip in trips(directory.config) if trip.dataset == name)
    return directory.checked(image_file(name)) is not None or all(made)


# Stage ``roundtrips``


def round_trips(work: RoundtripWork) -> None:
    """Make every trip that is missing; each goes to one rank, the next to whoever is free. Models take turns.

    Raises:
        UserError: as ``RoundtripWork.model`` and ``RoundtripWork.reference``; or images are missing.
    """
    work.begin(codecs=codecs())
    run = work.world.on_rank_0(lambda: work.reference.sha256 if work.reference else None)
    all_trips = list(trips(work.config))
    sizes = {name: work.directory.drawn(name)["n_used"] for name in work.config.datasets}

    def size(trip: Trip) -> int:
        return sizes[trip.dataset]

    def is_there(trip: Trip) -> bool:
        return work.directory.has(trip, work.directory.claimed, run=run)

    todo = work.world.missing(all_trips, is_there)
    if todo:
        _ = work.perceptual  # all ranks look for its weights together
    for name in (*work.config.models, IDENTITY):
        mine = [trip for trip in todo if trip.model == name]
        if not mine:
            continue
        model = None if name == IDENTITY else work.model(name)
        before = sum(map(size, all_trips)) - sum(map(size, todo[todo.index(mine[0]) :]))
        for trip, meter in work.share(name, "images", mine, is_there, size=size, before=before):
            _make(work, trip, model, run, meter)


def _make(work: RoundtripWork, trip: Trip, model: Autoencoder | None, run: str | None, meter: Meter) -> None:
    directory = work.directory
    tensors, about = directory.load(image_file(trip.dataset))
    known = directory.manifest["models"][trip.model] if model else {}
    unusable = work.reference.unusable(known) if model and work.reference else ""
    found, results, ends = round_trip(
        model,
        trip.between,
        tensors["images"],
        work.config,
        work.reference if model and not unusable else None,
        work.perceptual.lpips,
        work.perceptual.inception,
        lambda done: meter.update(done, f"{trip.between}, {trip.dataset}"),
    )
    made_from = {
        "data": about["data"]["sha256"],
        "weights": known.get("weights_sha256"),
        "run": run,
        "lpips": work.perceptual.checksums["lpips"] or None,
    }
    names = {"model": trip.model, "between": trip.between, "dataset": trip.dataset}
    more = {
        "cycles": work.config.cycles,
        **ends,
        **({"inception": work.perceptual.inception.sha256} if work.perceptual.inception else {}),
        "latent_shape": known.get("latent_shape"),
        "no_attractors": unusable,
    }
    directory.save_table(trip.table, table(found, about["ids"]), **made_from, **names)
    directory.save(trip.tensors, results, **made_from, **names, **more)


# Stage ``report``


def report(work: RoundtripWork) -> dict[str, Any]:
    """Write report/ from the results; the report, on every rank.

    Raises:
        UserError: a result is missing or damaged, or was made from other images.
    """
    return work.world.on_rank_0(lambda: _report(work))


def _report(work: RoundtripWork) -> dict[str, Any]:
    from probe.report.roundtrip import write_roundtrip_report

    directory = work.directory
    for trip in trips(work.config):
        directory.has(trip, directory.needed)
    content = work.finish(lambda: write_roundtrip_report(directory.path))
    with work.tracked() as tracker:
        for cycle, means in _curves(content):
            tracker.log(means, step=cycle)
    shutil.rmtree(directory.path / layout.WORK, ignore_errors=True)
    return content


def _curves(content: dict[str, Any]) -> Iterator[tuple[int, dict[str, float]]]:
    """For a tracker: of all images together, the mean of each measure by cycle."""
    for at, cycle in enumerate(content["cycles_drawn"]):
        yield (
            cycle,
            {
                f"{one['model']}/{one['between'].replace(':', '-')}/{measure}": curve["mean"][at]
                for one in content["overall"]["series"]
                for measure, curve in one["curves"].items()
                if curve["mean"][at] is not None
            },
        )
