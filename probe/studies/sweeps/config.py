"""What the configurations of studies share (paper, Section 3); the file of each kind of study adds its own keys."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from probe.config import (
    LARGEST_SEED,
    LARGEST_SIDE,
    MOST,
    ConfigModel,
    DatasetConfig,
    Name,
    SolverConfig,
    Split,
    Text,
    Tracked,
    file_names,
)
from probe.data.patterns import hub_parts
from probe.training.config import TrainConfig

Positive = Annotated[int, Field(ge=1, le=10**8)]
Part = Literal["train", "test"]
Natural = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
MNIST = {"train": {"source": "hub:ylecun/mnist", "n": 10_000}, "test": {"source": "hub:ylecun/mnist", "n": 2000}}
"""The data set in example files."""


def as_in(model: type[BaseModel], name: str) -> str | None:
    """The description of a key of another configuration, for a key of the same name and meaning."""
    return model.model_fields[name].description


class StudyImages(ConfigModel):
    """A source of images, as in ``DatasetConfig``; the first n in an order drawn with seed 0."""

    source: Text = Field(
        description="hub:ID, parquet:PATH, folder:PATH, saved:PATH, webdataset:PATH, bundled:NAME, urls:ID, or a path"
    )
    config: Text | None = Field(None, description="configuration of a hub data set")
    split: Split | None = Field(None, description="split of a hub or saved data set; default: train or test, by use")
    column: Text | None = Field(None, description="column of the images; default: the only one")
    revision: Text | None = Field(None, description="revision of a hub data set")
    balance: Text | None = Field(None, description=as_in(DatasetConfig, "balance"))
    n: int = Field(ge=1, le=MOST, description="number of images")

    def dataset(self, part: Part, more: int = 0) -> DatasetConfig:
        """The same for ``load_images``, with ``more`` further images held out."""
        given = self.model_dump(exclude_none=True, include=set(StudyImages.model_fields))
        # Files that are named on the hub have no split.
        if self.source.startswith("urls:") or (self.source.startswith("hub:") and not hub_parts(self.source[4:])[1]):
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


class StudyConfig(Tracked):
    """Keys of every study."""

    study: Name = Field(description="the kind of study")
    seeds: tuple[Natural, ...] = Field(
        (0, 1, 2), min_length=1, max_length=10_000, description="seeds of the weights and of everything else drawn"
    )
    device: Literal["auto", "cpu"] = Field("auto", description="auto: a GPU if there is one")

    @field_validator("k", "sizes", "seeds", "architectures", check_fields=False)
    @classmethod
    def _distinct(cls, value: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError("give at least one value, and each value once")
        return value

    @property
    def data(self) -> Mapping[str, StudyDataset]:
        """The data sets that models are trained on; empty if nothing is trained."""
        return {}

    @property
    def shards(self) -> int:
        """The number of models to train, or of architectures to build."""
        raise NotImplementedError


class GridConfig(StudyConfig):
    """A study that trains one model for each combination of data set, k, training-set size and seed."""

    datasets: dict[Name, StudyDataset] = Field(
        min_length=1, max_length=1000, description="data sets to train on", examples=[{"mnist": MNIST}]
    )
    k: tuple[Positive, ...] = Field(
        min_length=1, max_length=1000, description="bottleneck dimensions", examples=[[2, 8]]
    )
    training: TrainConfig = Field(TrainConfig(), description="how every model is trained")

    @field_validator("datasets")
    @classmethod
    def _file_names(cls, value: dict[str, StudyDataset]) -> dict[str, StudyDataset]:
        return file_names(value)

    @property
    def data(self) -> Mapping[str, StudyDataset]:
        return self.datasets

    def numbers(self, n_train: int) -> tuple[int, ...]:
        """The training-set sizes, given that there are ``n_train`` training images."""
        return (n_train,)

    @property
    def shards(self) -> int:
        return len(self.datasets) * len(self.k) * len(self.numbers(1)) * len(self.seeds)


class PlainSolverConfig(ConfigModel):
    """The iteration z <- f(z) of the paper's Section 3, without acceleration."""

    starts: int = Field(
        1000, ge=1, le=10**8, description="starts of each kind; at most as many as there are images to start from"
    )
    max_steps: int = Field(3000, ge=1, le=MOST, description=as_in(SolverConfig, "max_steps"))
    tolerance: float = Field(1e-6, gt=0, le=1e6, description=as_in(SolverConfig, "tolerance"))
    batch_size: Positive | Literal["auto"] = Field("auto", description=as_in(SolverConfig, "batch_size"))
    max_norm: float = Field(1e6, gt=0, le=1e18, description=as_in(SolverConfig, "max_norm"))

    def solver(self) -> SolverConfig:
        """The same settings as a ``SolverConfig``."""
        plain: dict[str, Any] = {"accelerate": False, "far_precision": "float32", "exponents": 0, "plain_checks": 0}
        return SolverConfig(**plain | self.model_dump(exclude={"starts"}))


class CertifyingSolverConfig(PlainSolverConfig):
    """The same iteration, with certificates of the end points."""

    certificates: int = Field(
        64, ge=0, le=10**8, description="distinct end points, largest basins first, that get a certificate"
    )
    products: int = Field(300, ge=24, le=10**6, description=as_in(SolverConfig, "products"))
    certificate_dtype: Literal["run", "float64"] = Field("run", description=as_in(SolverConfig, "certificate_dtype"))


class AcceleratedSolverConfig(CertifyingSolverConfig):
    """The same iteration, which may be accelerated; it is not by default."""

    accelerate: bool = Field(False, description=as_in(SolverConfig, "accelerate"))
    far_precision: Literal["auto", "float32", "tf32", "bfloat16"] = Field(
        "float32", description=as_in(SolverConfig, "far_precision")
    )


class EuclideanConfig(ConfigModel):
    """Which end points count as one attractor, by distance."""

    euclidean: float = Field(
        0.05,
        gt=0,
        le=1e6,
        description="end points closer than this share of their root mean square norm are one attractor",
    )


class MergeConfig(EuclideanConfig):
    """Which end points count as one attractor, by distance and by cosine (the paper's rule)."""

    cosine: float = Field(0.99, gt=0, lt=1, description="end points with a larger cosine are one attractor")
