"""The images of a study, as its configuration names them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from probe.config import LARGEST_SIDE, MOST, DatasetConfig, Name, Strict, Text

Positive = Annotated[int, Field(ge=1, le=10**8)]


class StudyImages(Strict):
    """Where images come from, as in ``DatasetConfig``; the first n in an order drawn with seed 0.

    split: of a hub data set; absent: ``train`` or ``test``, by what the images are for.
    """

    source: Text
    config: Text | None = None
    split: Text | None = None
    column: Text | None = None
    revision: Text | None = None
    n: int = Field(ge=1, le=MOST)

    def dataset(self, part: Literal["train", "test"], more: int = 0) -> DatasetConfig:
        """The same for ``load_images``, with so many further images held out."""
        given = self.model_dump(exclude_none=True)
        if self.source.startswith(("hub:", "urls:")):
            given = {"split": part, **given}
        return DatasetConfig(**given, holdout=more)


class StudyDataset(Strict):
    """Images to train on and images that no model sees.

    test: a source of its own, or a number: so many further images of the training source.
    side: at which they are drawn; for the network they are padded to a multiple of 16 (28 to 32).
    classes: of these classes only.
    """

    train: StudyImages
    test: StudyImages | Positive
    side: int = Field(32, ge=1, le=LARGEST_SIDE)
    classes: Annotated[tuple[Name, ...], Field(max_length=100_000)] | None = None

    @model_validator(mode="after")
    def _apart(self) -> "StudyDataset":
        if isinstance(self.test, StudyImages) and self.train.dataset("train") == self.test.dataset("test").model_copy(
            update={"n": self.train.n}
        ):
            raise ValueError("train and test are the same images; give test a number, for images left out of training")
        return self
