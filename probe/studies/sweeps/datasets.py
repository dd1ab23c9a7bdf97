"""The images of a study: their configuration, and how they are drawn."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from torch import Tensor

from probe.config import LARGEST_SIDE, MOST, ConfigModel, DatasetConfig, Name, Text
from probe.data import ImageSet, load_images
from probe.errors import UserError
from probe.studies.inputs import image_facts, note_overlap
from probe.training.images import is_grey

Positive = Annotated[int, Field(ge=1, le=10**8)]
Part = Literal["train", "test"]


class StudyImages(ConfigModel):
    """A source of images, as in ``DatasetConfig``; the first n in an order drawn with seed 0."""

    source: Text = Field(description="hub:ID, parquet:PATH, folder:PATH, bundled:NAME, urls:ID, or a path")
    config: Text | None = Field(None, description="configuration of a hub data set")
    split: Text | None = Field(None, description="split of a hub data set; default: train or test, by use")
    column: Text | None = Field(None, description="column of the images; default: the only one")
    revision: Text | None = Field(None, description="revision of a hub data set")
    n: int = Field(ge=1, le=MOST, description="number of images")

    def dataset(self, part: Part, more: int = 0) -> DatasetConfig:
        """The same for ``load_images``, with ``more`` further images held out."""
        given = self.model_dump(exclude_none=True, include=set(StudyImages.model_fields))
        if self.source.startswith(("hub:", "urls:")):
            given = {"split": part, **given}
        return DatasetConfig(**given, holdout=more)


class StudyDataset(ConfigModel):
    """Images to train on, and test images that no model has seen."""

    train: StudyImages = Field(description="training images")
    test: StudyImages | Positive = Field(
        description="a source of its own, or a number of further images from the training source"
    )
    side: int = Field(
        32, ge=1, le=LARGEST_SIDE, description="image side in pixels; padded to a multiple of 16 for the network"
    )
    classes: Annotated[tuple[Name, ...], Field(max_length=100_000)] | None = Field(
        None, description="use these classes only"
    )

    @model_validator(mode="after")
    def _apart(self) -> "StudyDataset":
        if isinstance(self.test, StudyImages) and self.train.dataset("train") == self.test.dataset("test").model_copy(
            update={"n": self.train.n}
        ):
            raise ValueError("train and test are the same images; give test a number, for images left out of training")
        return self


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
            load(f"{name}/train", spec.train.dataset("train")),
            load(f"{name}/test", spec.test.dataset("test")),
        )
        about = _facts(test)
        note_overlap(f"{name}/test", train.images, test.images, about, "test images")
        return train, test.images, about
    train = load(name, spec.train.dataset("train", spec.test))
    if not len(train.heldout):
        raise UserError(f"data set {name!r}: no image is left for tests; lower datasets.{name}.train.n.")
    return train, train.heldout, {"n_used": len(train.heldout), "source": train.source}


def _facts(images: ImageSet) -> dict[str, Any]:
    classes = {label for label in images.labels if label is not None}
    return {**image_facts(images), "sha256": images.sha256, "classes": len(classes)}
