"""The images of a study: how they are drawn."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from probe.config import DatasetConfig
from probe.data.load import ImageSet, load_images
from probe.data.saved import by_use
from probe.errors import UserError
from probe.studies.inputs import image_facts, note_overlap
from probe.studies.sweeps.config import StudyDataset
from probe.training.images import is_grey


@dataclass(frozen=True)
class StudyData:
    """A data set as drawn: uint8 images (n, c, side, side), c = 1 if all are grey, else 3.

    facts: channels and side, and for each set its source, size, checksum and unreadable files; for the manifest.
    """

    train: Tensor
    test: Tensor
    facts: dict[str, Any]


def draw(name: str, spec: StudyDataset) -> StudyData:
    """Draw a data set's images.

    Raises:
        UserError: as ``load_images``, or only the training images are grey.
    """
    train, test, about = _both(name, spec)
    grey = is_grey(train.images)
    if grey and not is_grey(test):
        raise UserError(f"data set {name!r}: the training images are grey, the test images are not; check the sources.")
    facts = {"train": _facts(train), "test": about, "channels": 1 if grey else 3, "side": spec.side}
    channels = slice(0, 1 if grey else 3)
    return StudyData(train.images[:, channels].contiguous(), test[:, channels].contiguous(), facts)


def _both(name: str, spec: StudyDataset) -> tuple[ImageSet, Tensor, dict[str, Any]]:
    def load(title: str, images: DatasetConfig) -> ImageSet:
        return load_images(title, images, resolution=spec.side, classes=spec.classes)

    if not isinstance(spec.test, int):
        train, test = (
            load(f"{name}/train", by_use(spec.train.dataset("train"), "train")),
            load(f"{name}/test", spec.test.dataset("test")),
        )
        about = _facts(test)
        note_overlap(f"{name}/test", train.images, test.images, about, "test images")
        return train, test.images, about
    train = load(name, by_use(spec.train.dataset("train", spec.test), "train"))
    if not len(train.heldout):
        raise UserError(f"data set {name!r}: no image is left for tests; lower datasets.{name}.train.n.")
    return train, train.heldout, {"n_used": len(train.heldout), "source": train.source}


def _facts(images: ImageSet) -> dict[str, Any]:
    classes = {label for label in images.labels if label is not None}
    return {**image_facts(images), "sha256": images.sha256, "classes": len(classes)}
