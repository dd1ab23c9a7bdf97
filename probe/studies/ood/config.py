"""The configuration of an OOD detection experiment (paper, Section 4.2)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from probe.config import (
    LARGEST_SIDE,
    MOST,
    DatasetConfig,
    ModelConfig,
    Name,
    Strict,
    Tracked,
    file_names,
    read_yaml,
    validated,
)
from probe.studies.sweeps.config import Natural
from probe.studies.sweeps.datasets import Positive, StudyImages
from probe.studies.sweeps.measures import StudySolverConfig
from probe.training.config import TrainConfig

NOISE = "noise"
Score = Literal[
    "trajectory", "trajectory_unit", "end_point", "start", "steps", "field", "knn", "mahalanobis", "reconstruction"
]
SCORES: tuple[Score, ...] = get_args(Score)
MEANINGS = {
    "trajectory": "mean over the trajectory of the distance to the nearest training attractor (the paper's score)",
    "trajectory_unit": "the same with every point, and every attractor, at unit norm",
    "end_point": "distance of the trajectory's end to the nearest training attractor",
    "start": "distance of the latent itself to the nearest training attractor: no step of f",
    "steps": "steps until ||f(z) - z||^2 is below the tolerance; the limit where it never is",
    "field": "norm of the vector field at the latent, ||f(z) - z||",
    "knn": "distance to the K-th nearest training latent",
    "mahalanobis": "Mahalanobis distance to the training latents (Ledoit and Wolf's covariance)",
    "reconstruction": "squared error of D(E(x)), mean over pixels and channels, in [0, 1]",
}
"""What each score is; all are higher for what is more out of distribution."""
Group = Literal["near", "far"]


class OodTraining(TrainConfig):
    """Train the paper's convolutional autoencoder on all in-distribution training images first.

    k: the bottleneck. seed: of the initial weights and of the order of the images.
    """

    k: int = Field(ge=1, le=10**8)
    seed: Natural = 0
    device: Literal["auto", "cpu"] = "auto"


class OodSolver(StudySolverConfig):
    """The iteration, as in a study; the defaults are those of the paper's Section 4.2.

    starts: training images, the first ones, whose latents are the baselines' features and whose end points are the
        training attractors; all, where there are fewer.
    accelerate, far_precision: for the attractors only; trajectories are always plain.
    """

    starts: int = Field(2000, ge=1, le=10**8)
    max_steps: int = Field(500, ge=1, le=MOST)
    tolerance: float = Field(1e-5, gt=0, le=1e6)


class Inside(Strict):
    """In-distribution images: to train on, and to be told from others; test images must be none of the former."""

    train: StudyImages
    test: StudyImages

    @model_validator(mode="after")
    def _apart(self) -> "Inside":
        first, second = (images.dataset(part).model_copy(update={"n": 1}) for part, images in self.parts().items())
        if first == second:
            raise ValueError("train and test are the same source, and so the same images; give two, or two splits")
        return self

    def parts(self) -> dict[Literal["train", "test"], StudyImages]:
        """Both, by what they are for."""
        return {"train": self.train, "test": self.test}


class Outside(StudyImages):
    """OOD images; ``source: noise`` are images of independent pixels, uniform in [0, 1), at the same resolution.

    group: near or far, by which sets stand together in the report.
    """

    group: Group = "far"

    def dataset(self, part: Literal["train", "test"], more: int = 0) -> DatasetConfig:
        """As of ``StudyImages``."""
        return StudyImages(**self.model_dump(exclude={"group"})).dataset(part, more)

    @model_validator(mode="after")
    def _bare_noise(self) -> "Outside":
        given = [name for name in ("config", "split", "column", "revision") if getattr(self, name) is not None]
        if self.source == NOISE and given:
            raise ValueError(f"{given[0]} means nothing to noise; remove it")
        return self


class OodConfig(Tracked):
    """One model, one in-distribution set, and OOD sets.

    model: a pretrained autoencoder; or train: one to train first.
    resolution: at which all images are drawn; a model that takes larger ones gets them in a black frame (28 in 32).
    scores: which of ``MEANINGS``; each is the higher, the more out of distribution.
    neighbours: K of the K-nearest-neighbour baselines; the number of starts where that is smaller.
    reencoded: in-distribution test images, the first ones, that are encoded like each OOD set's files for a control;
        0 for none.
    resamples, seed: of the bootstrap; the seed is also that of noise images.
    """

    model: ModelConfig | None = None
    train: OodTraining | None = None
    resolution: int = Field(32, ge=1, le=LARGEST_SIDE)
    inside: Inside
    outside: dict[Name, Outside] = Field(min_length=1, max_length=1000)
    solver: OodSolver = OodSolver()
    scores: tuple[Score, ...] = Field(SCORES, min_length=1, max_length=100)
    neighbours: tuple[Positive, ...] = Field((2000, 10), min_length=1, max_length=1000)
    reencoded: int = Field(500, ge=0, le=MOST)
    resamples: int = Field(1000, ge=100, le=10**7)
    seed: Natural = 0

    @field_validator("outside")
    @classmethod
    def _file_names(cls, value: dict[str, Outside]) -> dict[str, Outside]:
        if taken := {"train", "test"} & set(value):
            raise ValueError(f"an OOD set cannot be named {min(taken)}; rename it")
        return file_names(value)

    @field_validator("scores", "neighbours")
    @classmethod
    def _distinct(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(value)) < len(value):
            raise ValueError("name each once")
        return value

    @model_validator(mode="after")
    def _one_model(self) -> "OodConfig":
        if (self.model is None) == (self.train is None):
            raise ValueError("give either model, which autoencoder it is, or train, to train one first")
        return self

    @property
    def device(self) -> str:
        """Where the model is put."""
        return self.model.device if self.model else self.train.device if self.train else "auto"


def load_ood_config(path: str | Path | None, overrides: Iterable[str] = ()) -> OodConfig:
    """Read a YAML file and apply ``dotted.key=value`` overrides; errors as ``probe.config.load_config``."""
    return parse_ood_config(read_yaml(path, overrides))


def parse_ood_config(data: dict[str, Any]) -> OodConfig:
    """Validate a mapping."""
    return validated(OodConfig, data)
