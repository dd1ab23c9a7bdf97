"""Stage ``images``: the test images of every data set, drawn once and kept until the reconstructions are there."""

from typing import Any

from jobs.run.directory import RunDirectory, image_file
from jobs.run.work import RunWork
from probe.data.load import ImageSet, load_images
from probe.data.sources import is_remote


def draw(work: RunWork) -> None:
    """Draw what is missing. Sources on this machine are read again and compared, so that a changed one is refused.

    Raises:
        UserError: a source cannot be read or has changed, or the resolution does not suit the model.
    """
    _ = work.model  # a resolution that does not suit the model is found before anything is downloaded
    run = work.directory

    def settled(name: str) -> bool:
        return _is_settled(run, name)

    todo = work.world.missing(list(run.config.datasets), settled)
    for name, meter in work.share("images", "data sets", todo, settled):
        meter.note = name
        images = read_again(run, name)
        about = _describe(images)
        there = run.claimed(image_file(name))
        if there is None or there["data"]["sha256"] != about["sha256"]:
            tensors = {"images": images.images, "heldout": images.heldout}
            run.save(image_file(name), tensors, ids=images.ids, data=about)
    if work.world.leads:
        new = [name for name in run.config.datasets if name in todo or name not in run.data]
        run.update_manifest(data={name: run.load(image_file(name), "images")[1]["data"] for name in new})
        for name in todo:
            if run.uncoded or run.has_table(name, run.checked):  # they were drawn for the comparison only
                (run.path / image_file(name)).unlink()
    work.world.barrier()


def read_again(run: RunDirectory, name: str) -> ImageSet:
    """A data set's images from their source, the same as those in the manifest, if it has them.

    Raises:
        UserError: they have changed, or are unavailable.
    """
    images = load_images(name, run.config.datasets[name], resolution=run.config.resolution)
    run.check_same_images(name, _describe(images))
    return images


def _is_settled(run: RunDirectory, name: str) -> bool:
    there = run.uncoded or run.checked(image_file(name)) is not None or run.has_table(name, run.checked)
    return bool(there) and is_remote(run.config.datasets[name].source)


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
