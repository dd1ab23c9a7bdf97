"""Stage ``images`` of a study: the data sets that some missing model needs. It uses no GPU."""

import logging

from jobs.stage import Counts
from jobs.study.directory import StudyDirectory
from jobs.study.work import StudyWork, data_file
from probe.files import tensors_sha256
from probe.studies.sweeps.datasets import draw as draw_images
from probe.training import fitted

log = logging.getLogger("probe")


def draw(work: StudyWork) -> None:
    """Draw the data sets that some missing model needs; a grid that cannot be trained is refused here.

    Raises:
        UserError: a source cannot be read or has changed, or a k or size does not fit it.
    """
    work.begin()
    todo = work.missing(list(work.config.data), lambda name: _is_settled(work, name))
    for name, meter in work.share("images", "data sets", todo):
        meter.note = name
        _draw(work, name)
    if work.leads:
        drawn = {name: work.directory.load(data_file(name), "test")[1]["data"] for name in todo}
        work.directory.update_manifest(data=drawn)
        work.grid()
    work.barrier()


def count(study: StudyDirectory) -> Counts:
    """Data sets that are drawn."""
    return len(study.manifest.get("data", {})), len(study.config.data)


def summary(work: StudyWork) -> dict[str, int]:
    """Training images by data set."""
    return {name: facts["train"]["n_used"] for name, facts in work.data.items()}


def _is_settled(work: StudyWork, name: str) -> bool:
    """Whether a data set's images are there, or no model needs them any more."""
    if name not in work.data:
        return False
    return bool(work.directory.checked(data_file(name))) or all(map(work.is_there, work.grid(name)))


def _draw(work: StudyWork, name: str) -> None:
    spec = work.config.data[name]
    images = draw_images(name, spec)
    facts = {**images.facts, "sha256": tensors_sha256([("train", images.train), ("test", images.test)])}
    work.check_same_images(f"data set {name!r}", facts, work.data.get(name))
    side = fitted(spec.side, name)
    if side != spec.side:
        log.info(f"{name}: images of side {spec.side} are padded to {side} for the network")
    work.directory.save(data_file(name), {"train": images.train, "test": images.test}, data=facts)
