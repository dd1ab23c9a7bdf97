"""The configuration of a study: a grid of models to train and probe (paper, Section 3)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from probe.config import DatasetConfig, SolverConfig, Strict, file_names, read_yaml, validated
from probe.training.config import TrainConfig

Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]


class StudyImages(Strict):
    """Where images come from, as in ``DatasetConfig``; the first n in an order drawn with seed 0.

    split: of a hub data set; absent: ``train`` or ``test``, by what the images are for.
    """

    source: str
    config: str | None = None
    split: str | None = None
    column: str | None = None
    revision: str | None = None
    n: int = Field(ge=1)

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
    side: int = Field(32, ge=1)
    classes: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _apart(self) -> "StudyDataset":
        if isinstance(self.test, StudyImages) and self.train.dataset("train") == self.test.dataset("test").model_copy(
            update={"n": self.train.n}
        ):
            raise ValueError("train and test are the same images; give test a number, for images left out of training")
        return self


class StudySolverConfig(Strict):
    """The iteration from training images' latents (paper, Section 3), as in ``SolverConfig``; plain by default, so
    that steps are applications of f.

    starts: training images whose latents are iterated; all, where the training set is smaller.
    certificates: distinct end points, largest basins first, that get a certificate.
    """

    starts: int = Field(1000, ge=1)
    max_steps: int = Field(3000, ge=1)
    tolerance: float = Field(1e-6, gt=0)
    batch_size: Positive | Literal["auto"] = "auto"
    max_norm: float = Field(1e6, gt=0)
    accelerate: bool = False
    far_precision: Literal["auto", "float32", "tf32", "bfloat16"] = "float32"
    certificates: int = Field(64, ge=0)
    products: int = Field(300, ge=24)
    certificate_dtype: Literal["run", "float64"] = "run"

    def solver(self) -> SolverConfig:
        """The same for what takes a ``SolverConfig``."""
        return SolverConfig(**self.model_dump(exclude={"starts"}), exponents=0, plain_checks=0)


class MeasureConfig(Strict):
    """What is measured of each model.

    cosine: end points of a larger cosine are one attractor (paper).
    euclidean: so are those that are nearer than this share of their root mean square norm; all averages over
        attractors are over these.
    nulls: images of each null level of mem: unseen test images, noise, reconstructions of test images.
    variance: share of the variance at which the rank of the decoded attractors is taken.
    gallery: decoded attractors, largest basins first, that are kept as pictures.
    """

    cosine: float = Field(0.99, gt=0, lt=1)
    euclidean: float = Field(0.05, gt=0)
    nulls: int = Field(1000, ge=2)
    variance: float = Field(0.9, gt=0, le=1)
    gallery: int = Field(8, ge=0)


class StudyConfig(Strict):
    """Every data set with every k, size and seed is a model of its own.

    study: ``bottleneck``: against k (Figures 2, 13); ``training_size``: against the number of training images
        (Figure 14). The other axis has one value.
    sizes: numbers of training images, drawn with the model's seed; absent: all of them.
    seeds: of the initial weights, of the order of the images, and of their choice.
    """

    study: Literal["bottleneck", "training_size"]
    datasets: dict[str, StudyDataset] = Field(min_length=1)
    k: tuple[Positive, ...] = Field(min_length=1)
    sizes: tuple[Positive, ...] | None = None
    seeds: tuple[Natural, ...] = Field((0, 1, 2), min_length=1)
    training: TrainConfig = TrainConfig()
    solver: StudySolverConfig = StudySolverConfig()
    measure: MeasureConfig = MeasureConfig()
    device: Literal["auto", "cpu"] = "auto"

    @field_validator("datasets")
    @classmethod
    def _file_names(cls, value: dict[str, StudyDataset]) -> dict[str, StudyDataset]:
        return file_names(value)

    @field_validator("k", "sizes", "seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError("name at least one value, and each once")
        return value

    @model_validator(mode="after")
    def _one_axis(self) -> "StudyConfig":
        if self.study == "bottleneck" and self.sizes is not None and len(self.sizes) > 1:
            raise ValueError("a bottleneck study varies k; give sizes one value, or none for all images")
        if self.study == "training_size" and (len(self.k) > 1 or self.sizes is None):
            raise ValueError("a training_size study varies sizes; list them, and give k one value")
        return self


def load_study_config(path: str | Path | None, overrides: Iterable[str] = ()) -> StudyConfig:
    """Read a YAML file and apply ``dotted.key=value`` overrides; errors as ``probe.config.load_config``."""
    return parse_study_config(read_yaml(path, overrides))


def parse_study_config(data: dict[str, Any]) -> StudyConfig:
    """Validate a mapping."""
    return validated(StudyConfig, data)
