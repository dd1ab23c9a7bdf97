"""Stage ``images``: the test images of every data set, drawn once and kept until the reconstructions are there."""

from typing import Any

from jobs.run.directory import WORK
from jobs.run.job import Job
from jobs.run.tables import has_table
from probe.data import ImageSet, is_remote, load_images


def draw(job: Job) -> None:
    """Draw what is missing. Sources on this machine are read again and compared, so that a changed one is refused."""
    _ = job.model  # a resolution that does not suit the model is found before anything is downloaded
    todo = job.absent(list(job.config.datasets), lambda name: _is_settled(job, name))
    known = job.on_rank_0(lambda: job.run.manifest["data"])
    for name, meter in job.share_out("images", "data sets", todo, size=lambda name: 1, before=0):
        meter.note = name
        images = read_again(job, name, known)
        about = _describe(images)
        tensors = {"images": images.images, "heldout": images.heldout}
        there = job.run.claimed(image_file(name))
        if there is None or there["data"]["sha256"] != about["sha256"]:
            job.run.save(image_file(name), tensors, ids=images.ids, data=about)
    if job.world.rank == 0:
        known = job.run.manifest["data"]
        new = [name for name in job.config.datasets if name in todo or name not in known]
        drawn = {name: job.run.load(image_file(name), "images")[1]["data"] for name in new}
        job.run.update_manifest(data=drawn)
        for name in todo:
            if has_table(job, name):  # they were drawn for the comparison only
                (job.run.path / image_file(name)).unlink()
    job.world.meet()


def read_again(job: Job, name: str, known: dict[str, Any]) -> ImageSet:
    """A data set's images from their source, the same as those in the manifest's ``data``, if it is known there.

    Raises:
        UserError: they have changed, or cannot be had.
    """
    images = load_images(name, job.config.datasets[name], resolution=job.config.resolution)
    about = _describe(images)
    job.must_be_the_images(
        f"data set {name!r}", about, known.get(name), ("n_used", "n_heldout", "unreadable", "repeated", "source")
    )
    return images


def image_file(name: str) -> str:
    """Where a data set's images are kept."""
    return f"{WORK}/images/{name}.safetensors"


def _is_settled(job: Job, name: str) -> bool:
    there = job.run.checked(image_file(name)) is not None or has_table(job, name)
    return there and is_remote(job.config.datasets[name].source)


def _describe(images: ImageSet) -> dict[str, Any]:
    return {
        "sha256": images.sha256,
        "n_planned": images.n_planned,
        "n_used": len(images.images),
        "n_heldout": len(images.heldout),
        "unreadable": images.unreadable,
        "repeated": images.repeated,
        "notes": list(images.notes),
        "source": images.source,
    }
