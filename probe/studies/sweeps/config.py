"""The configurations of studies (paper, Section 3): models to train or to build, and what is measured of each."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from probe.config import LARGEST_SEED, Name, Tracked, file_names, read_yaml, validated
from probe.errors import UserError
from probe.reading import short
from probe.studies.sweeps.datasets import Positive, StudyDataset
from probe.studies.sweeps.measures import (
    CheckpointsMeasureConfig,
    CheckpointsSolverConfig,
    ConvergenceMeasureConfig,
    ConvergenceSolverConfig,
    MeasureConfig,
    StudySolverConfig,
)
from probe.training.config import TrainConfig

Natural = Annotated[int, Field(ge=0, le=LARGEST_SEED)]


class StudyConfig(Tracked):
    """What all studies have; ``study`` says which of the kinds below it is.

    seeds: of the weights, and of all else that is drawn for a model.
    """

    study: Name
    seeds: tuple[Natural, ...] = Field((0, 1, 2), min_length=1, max_length=10_000)
    device: Literal["auto", "cpu"] = "auto"

    @field_validator("k", "sizes", "seeds", "architectures", check_fields=False)
    @classmethod
    def _distinct(cls, value: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError("name at least one value, and each once")
        return value

    @property
    def data(self) -> Mapping[str, StudyDataset]:
        """The data sets that models are trained on; none where nothing is trained."""
        return {}

    @property
    def shards(self) -> int:
        """How many models there are to train, or architectures to build."""
        raise NotImplementedError


class GridConfig(StudyConfig):
    """Every data set with every k, number of training images and seed is a model of its own.

    seeds: of the initial weights, of the order of the images, and of their choice.
    """

    datasets: dict[Name, StudyDataset] = Field(min_length=1, max_length=1000)
    k: tuple[Positive, ...] = Field(min_length=1, max_length=1000)
    training: TrainConfig = TrainConfig()

    @field_validator("datasets")
    @classmethod
    def _file_names(cls, value: dict[str, StudyDataset]) -> dict[str, StudyDataset]:
        return file_names(value)

    @property
    def data(self) -> Mapping[str, StudyDataset]:
        """The data sets that models are trained on."""
        return self.datasets

    def numbers(self, n_train: int) -> tuple[int, ...]:
        """Of how many training images there is a model, where there are ``n_train``."""
        return (n_train,)

    @property
    def shards(self) -> int:
        """How many models there are to train."""
        return len(self.datasets) * len(self.k) * len(self.numbers(1)) * len(self.seeds)


class MemorizationConfig(GridConfig):
    """study: ``bottleneck``: against k (Figures 2, 13); ``training_size``: against the number of training images
        (Figure 14). The other axis has one value.
    sizes: numbers of training images, drawn with the model's seed; absent: all of them.
    """

    study: Literal["bottleneck", "training_size"]
    sizes: Annotated[tuple[Positive, ...], Field(max_length=1000)] | None = None
    solver: StudySolverConfig = StudySolverConfig()
    measure: MeasureConfig = MeasureConfig()

    def numbers(self, n_train: int) -> tuple[int, ...]:
        """Of how many training images there is a model, where there are ``n_train``."""
        return self.sizes or super().numbers(n_train)

    @model_validator(mode="after")
    def _one_axis(self) -> "MemorizationConfig":
        if self.study == "bottleneck" and self.sizes is not None and len(self.sizes) > 1:
            raise ValueError("a bottleneck study varies k; give sizes one value, or none for all images")
        if self.study == "training_size" and (len(self.k) > 1 or self.sizes is None):
            raise ValueError("a training_size study varies sizes; list them, and give k one value")
        return self


class AcrossTrainingConfig(GridConfig):
    """The checkpoints of each model, the untrained network among them (Figure 3); k has one value."""

    study: Literal["across_training"]
    solver: CheckpointsSolverConfig = CheckpointsSolverConfig()
    measure: CheckpointsMeasureConfig = CheckpointsMeasureConfig()

    @model_validator(mode="after")
    def _checkpoints(self) -> "AcrossTrainingConfig":
        if len(self.k) > 1:
            raise ValueError("an across_training study varies the epoch; give k one value")
        if self.training.checkpoint_every is None or self.training.checkpoint_every >= self.training.epochs:
            raise ValueError("an across_training study needs training.checkpoint_every, below training.epochs")
        return self


class ConvergenceConfig(GridConfig):
    """Predicted against actual steps from Gaussian starts (Proposition A.9, Figure 11)."""

    study: Literal["convergence"]
    solver: ConvergenceSolverConfig = ConvergenceSolverConfig()
    measure: ConvergenceMeasureConfig = ConvergenceMeasureConfig()


class ContractionConfig(StudyConfig):
    """Variance ratios of random weights (Figure 6): nothing is trained, and no image is needed.

    architectures: of ``probe.studies.sweeps.contraction.backbones``; absent: all.
    seeds: of the weights and of the inputs.
    samples: inputs, and latents, of each model.
    device: these networks are small.
    """

    study: Literal["contraction"]
    architectures: Annotated[tuple[Name, ...], Field(max_length=1000)] | None = None
    seeds: tuple[Natural, ...] = Field(tuple(range(10)), min_length=1, max_length=10_000)
    samples: int = Field(64, ge=2, le=10**6)
    device: Literal["cpu"] = "cpu"

    @property
    def shards(self) -> int:
        """How many architectures there are to build."""
        from probe.studies.sweeps.contraction import backbones

        return len(self.architectures or backbones())


KINDS: dict[str, type[StudyConfig]] = {
    "bottleneck": MemorizationConfig,
    "training_size": MemorizationConfig,
    "across_training": AcrossTrainingConfig,
    "convergence": ConvergenceConfig,
    "contraction": ContractionConfig,
}


def load_study_config(path: str | Path | None, overrides: Iterable[str] = ()) -> StudyConfig:
    """Read a YAML file and apply ``dotted.key=value`` overrides; errors as ``probe.config.load_config``."""
    return parse_study_config(read_yaml(path, overrides))


def parse_study_config(data: dict[str, Any]) -> StudyConfig:
    """Validate a mapping, by the kind of study that it names: an unknown key is held against the keys of that kind."""
    kind = data.get("study")
    if kind is None:
        raise UserError(f"config key 'study' is missing: set it to one of {', '.join(KINDS)}.")
    if not isinstance(kind, str) or kind not in KINDS:
        near = difflib.get_close_matches(short(kind), KINDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}."
        raise UserError(f"config key 'study': there is no study {short(kind)}; {hint}")
    return validated(KINDS[kind], data)
