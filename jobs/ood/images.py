"""Stage ``images`` of an OOD experiment: the sets that something missing needs. It uses no GPU."""

from typing import Any

from jobs.ood.directory import OodDirectory
from jobs.ood.training import shape
from jobs.ood.work import OodWork, data_file, score_file
from jobs.stage import Counts
from probe.studies.inputs import note_overlap
from probe.studies.ood.images import Drawn, control_name, draw_control, draw_set, must_fit
from probe.training import build


def draw(work: OodWork) -> None:
    """Draw the sets that something missing needs.

    Raises:
        UserError: a source cannot be read or has changed, or a set is in colour and the model takes grey images.
    """
    work.begin()
    todo = work.missing(["train", "test", *work.config.outside], lambda name: _is_settled(work, name))
    for name, meter in work.share("images", "sets", todo):
        meter.note = name
        _draw(work, name)
    if work.leads:
        names = [one for name in todo for one in (name, control_name(name))]
        drawn = {name: about["data"] for name in names if (about := work.directory.checked(data_file(name)))}
        _note_shared(work, drawn)
        work.directory.update_manifest(data=drawn)
        if work.config.train:  # what cannot be trained is refused here
            channels, side = shape(work)
            must_fit(channels, work.data)
            build(channels, side, work.config.train.k, work.config.train, 0)
    work.barrier()


def count(ood: OodDirectory) -> Counts:
    """Sets that are drawn, controls aside."""
    sources = {"train", "test", *ood.config.outside}
    return len(sources & set(ood.manifest.get("data", {}))), len(sources)


def _draw(work: OodWork, name: str) -> None:
    drawn = draw_set(work.config, name)
    _keep(work, name, drawn)
    if name in work.config.outside and drawn.encodings and work.config.reencoded:
        _keep(work, control_name(name), draw_control(work.config, drawn.encodings))


def _keep(work: OodWork, name: str, drawn: Drawn) -> None:
    work.check_same_images(f"set {name!r}", drawn.facts, work.data.get(name))
    work.directory.save(data_file(name), {"images": drawn.images}, data=drawn.facts, ids=drawn.ids)


def _note_shared(work: OodWork, drawn: dict[str, dict[str, Any]]) -> None:
    """Add to the facts of test and OOD sets how many of their images are also training images."""
    if work.directory.checked(data_file("train")) is None:
        return  # used up: the sets were compared when they were drawn first
    train = work.images("train")
    for name, facts in drawn.items():
        if name in ("test", *work.config.outside):
            note_overlap(name, train, work.images(name), facts)


def _is_settled(work: OodWork, name: str) -> bool:
    """Whether the images of a set and of its control are there, or nothing needs them any more."""
    known = [one for one in (name, control_name(name)) if one in work.data]
    return name in known and all(work.directory.checked(data_file(one)) or _is_used_up(work, one) for one in known)


def _is_used_up(work: OodWork, name: str) -> bool:
    if work.references_sha256 is None:
        return False
    return name == "train" or work.directory.checked(score_file(name), **work.source(name)) is not None
