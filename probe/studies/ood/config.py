"""The configuration of an OOD detection experiment (paper, Section 4.2)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from probe.config import (
    LARGEST_SIDE,
    MOST,
    ConfigModel,
    ModelConfig,
    Name,
    SolverConfig,
    Tracked,
    file_names,
    read_yaml,
    validated,
)
from probe.scores import SCORES
from probe.studies.sweeps.config import AcceleratedSolverConfig, Natural, Part, Positive, StudyImages, as_in
from probe.training.config import TrainConfig

NOISE = "noise"
Group = Literal["near", "far"]


def _known_score(name: str) -> str:
    if name not in (known := [one.name for one in SCORES]):
        raise ValueError(f"unknown score; scores are {', '.join(known)}")
    return name


ScoreName = Annotated[Name, AfterValidator(_known_score)]
"""The name of a score in ``probe.scores``."""


class OodTraining(TrainConfig):
    """Train the paper's convolutional autoencoder on all in-distribution training images first."""

    k: int = Field(ge=1, le=10**8, description="bottleneck dimension")
    seed: Natural = Field(0, description="seed of the initial weights and of the order of the images")
    device: Literal["auto", "cpu"] = Field("auto", description="auto: a GPU if there is one")


class OodSolver(AcceleratedSolverConfig):
    """The iteration, with the defaults of the paper's Section 4.2. Only the attractors' iteration may be accelerated;
    trajectories never are."""

    starts: int = Field(
        2000,
        ge=1,
        le=10**8,
        description="training images (the first ones, at most all) for the baselines' features and the attractors",
    )
    max_steps: int = Field(500, ge=1, le=MOST, description=as_in(SolverConfig, "max_steps"))
    tolerance: float = Field(1e-5, gt=0, le=1e6, description=as_in(SolverConfig, "tolerance"))


class Inside(ConfigModel):
    """In-distribution images; training and test images must not overlap."""

    train: StudyImages = Field(description="images for training, attractors and baselines")
    test: StudyImages = Field(description="images that are compared with the OOD sets")

    @model_validator(mode="after")
    def _apart(self) -> "Inside":
        first, second = (images.dataset(part).model_copy(update={"n": 1}) for part, images in self.parts().items())
        if first == second:
            raise ValueError(
                "train and test are the same source, so they hold the same images; give two, or two splits"
            )
        return self

    def parts(self) -> dict[Part, StudyImages]:
        """Both, by their use."""
        return {"train": self.train, "test": self.test}


class Outside(StudyImages):
    """OOD images; ``source: noise`` is images of independent pixels, uniform in [0, 1), at the same resolution."""

    group: Group = Field("far", description="near or far OOD; the report groups sets by it")

    @model_validator(mode="after")
    def _bare_noise(self) -> "Outside":
        given = [
            name for name in ("config", "split", "column", "revision", "balance") if getattr(self, name) is not None
        ]
        if self.source == NOISE and given:
            raise ValueError(f"{given[0]} has no meaning for noise; remove it")
        return self


class OodConfig(Tracked):
    """One model, one in-distribution set, and OOD sets."""

    model: ModelConfig | None = Field(None, description="a pretrained autoencoder; give this or train")
    train: OodTraining | None = Field(None, description="an autoencoder to train first; give this or model")
    resolution: int = Field(
        32, ge=1, le=LARGEST_SIDE, description="of all images; padded with black for a model that takes larger ones"
    )
    inside: Inside = Field(description="in-distribution images")
    outside: dict[Name, Outside] = Field(min_length=1, max_length=1000, description="OOD sets by name")
    solver: OodSolver = Field(OodSolver(), description="the iteration")
    scores: tuple[ScoreName, ...] = Field(
        tuple(one.name for one in SCORES),
        min_length=1,
        max_length=100,
        description="scores to compute; higher means more out-of-distribution",
    )
    neighbours: tuple[Positive, ...] = Field(
        (2000, 10),
        min_length=1,
        max_length=1000,
        description="K of the nearest-neighbour baselines; at most the number of starts",
    )
    reencoded: int = Field(
        500,
        ge=0,
        le=MOST,
        description="test images (the first ones) re-encoded like each OOD set's files, as a control; 0: none",
    )
    resamples: int = Field(1000, ge=100, le=10**7, description="bootstrap resamples")
    seed: Natural = Field(0, description="seed of the bootstrap, of noise images and of noise latents")

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
            raise ValueError("give each value once")
        return value

    @model_validator(mode="after")
    def _one_model(self) -> "OodConfig":
        if (self.model is None) == (self.train is None):
            raise ValueError("give either model, a pretrained autoencoder, or train, to train one first")
        return self

    @property
    def device(self) -> str:
        """The device of the model."""
        return self.model.device if self.model else self.train.device if self.train else "auto"


def load_ood_config(path: str | Path | None, overrides: Iterable[str] = ()) -> OodConfig:
    """Read a YAML file and apply ``dotted.key=value`` overrides; errors as ``probe.config.load_config``."""
    return parse_ood_config(read_yaml(path, overrides))


def parse_ood_config(data: dict[str, Any]) -> OodConfig:
    """Validate a mapping."""
    return validated(OodConfig, data)


def control_name(outside: str) -> str:
    """Name of the control set: in-distribution images re-encoded like those of an OOD set."""
    return f"reencoded-{outside}"
