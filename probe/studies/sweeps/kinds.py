"""The configurations of the kinds of study, one entry each. This file imports no torch: what a kind measures is in its
own file, and what it reports in ``probe.report.study.kinds``."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from probe.config import Name, read_yaml, validated
from probe.errors import UserError
from probe.names import did_you_mean
from probe.reading import short
from probe.studies.sweeps.config import (
    AcceleratedSolverConfig,
    CertifyingSolverConfig,
    EuclideanConfig,
    GridConfig,
    MergeConfig,
    Natural,
    PlainSolverConfig,
    Positive,
    StudyConfig,
)

POINTS = 64
BOTTLENECKS = (2, 8, 32, 128, 512)
"""k of the paper's convolutional autoencoder at 32 px with its 16 channels."""


class MemorizationMeasure(MergeConfig):
    """What is measured of each model."""

    nulls: int = Field(
        1000,
        ge=2,
        le=10**8,
        description="images in each null level of mem: unseen test images, their reconstructions, and noise",
    )
    variance: float = Field(
        0.9, gt=0, le=1, description="share of the variance that defines the rank of the decoded attractors"
    )
    gallery: int = Field(8, ge=0, le=10_000, description="decoded attractors to keep as pictures, largest basins first")


class MemorizationConfig(GridConfig):
    """Memorization against k (``bottleneck``) or against the number of training images (``training_size``)."""

    study: Literal["bottleneck", "training_size"] = Field(description="the axis; the other axis has one value")
    sizes: Annotated[tuple[Positive, ...], Field(max_length=1000)] | None = Field(
        None, description="numbers of training images, drawn with the model's seed; default: all images"
    )
    solver: AcceleratedSolverConfig = Field(
        AcceleratedSolverConfig(), description="the iteration, from latents of training images"
    )
    measure: MemorizationMeasure = Field(MemorizationMeasure(), description="what is measured of each model")

    def numbers(self, n_train: int) -> tuple[int, ...]:
        """The training-set sizes, given that there are ``n_train`` training images."""
        return self.sizes or super().numbers(n_train)

    @model_validator(mode="after")
    def _one_axis(self) -> "MemorizationConfig":
        if self.study == "bottleneck" and self.sizes is not None and len(self.sizes) > 1:
            raise ValueError("a bottleneck study varies k; give sizes one value, or none to use all images")
        if self.study == "training_size" and (len(self.k) > 1 or self.sizes is None):
            raise ValueError("a training_size study varies sizes; list them, and give k one value")
        return self


class AcrossTrainingMeasure(MergeConfig):
    """What is measured of each checkpoint."""

    points: int = Field(
        POINTS, ge=1, le=10**8, description="starts of each kind at which the spectral norm of J_f is computed"
    )
    film: int = Field(10, ge=1, le=10_000, description="training images whose decoded end points are kept as pictures")


class AcrossTrainingConfig(GridConfig):
    """The checkpoints of each model, including the untrained network (Figure 3); k has one value."""

    study: Literal["across_training"] = Field(description="the kind of study")
    solver: PlainSolverConfig = Field(PlainSolverConfig(), description="the iteration, from starts of four kinds")
    measure: AcrossTrainingMeasure = Field(AcrossTrainingMeasure(), description="what is measured of each checkpoint")

    @model_validator(mode="after")
    def _checkpoints(self) -> "AcrossTrainingConfig":
        if len(self.k) > 1:
            raise ValueError("an across_training study varies the epoch; give k one value")
        if self.training.checkpoint_every is None or self.training.checkpoint_every >= self.training.epochs:
            raise ValueError("an across_training study needs training.checkpoint_every, below training.epochs")
        return self


class ConvergenceConfig(GridConfig):
    """Predicted against actual steps from Gaussian starts (Proposition A.9, Figure 11)."""

    study: Literal["convergence"] = Field(description="the kind of study")
    solver: CertifyingSolverConfig = Field(CertifyingSolverConfig(), description="the iteration, from Gaussian starts")
    measure: EuclideanConfig = Field(EuclideanConfig(), description="which end points count as one attractor")


class ContractionConfig(StudyConfig):
    """Variance ratios of random weights (Figure 6): nothing is trained, and no images are needed."""

    study: Literal["contraction"] = Field(description="the kind of study")
    architectures: Annotated[tuple[Name, ...], Field(max_length=1000)] | None = Field(
        None, description="architectures to build; default: all that are available"
    )
    seeds: tuple[Natural, ...] = Field(
        tuple(range(10)), min_length=1, max_length=10_000, description="seeds of the weights and of the inputs"
    )
    samples: int = Field(64, ge=2, le=10**6, description="inputs, and latents, for each model")
    device: Literal["cpu"] = Field("cpu", description="these networks are small")

    @property
    def shards(self) -> int:
        return len(self.architectures or backbone_names())


@cache
def backbone_names() -> tuple[str, ...]:
    """Names of ``contraction.backbones()``, without importing diffusers: the paper's architecture at several k, then
    those of small.yaml that the installed diffusers lists, and whose packages are here."""
    spec = find_spec("diffusers")
    package = Path(spec.origin).parent if spec and spec.origin else Path()
    listed = {*re.findall(r"\w+", (package / "models" / "autoencoders" / "__init__.py").read_text())}
    if find_spec("transformers") is None:
        listed.discard("AutoencoderRAE")
    small = yaml.safe_load((files("probe") / "autoencoders" / "small.yaml").read_text())
    return (*(f"ConvAutoencoder, k = {k}" for k in BOTTLENECKS), *sorted(listed & small.keys()))


@dataclass(frozen=True)
class Study:
    """What one kind of study is asked.

    Attributes:
        name: the value of ``study`` in a configuration.
        configuration: its keys.
        example: keys of its example file (``probe config --example``), beside the fields that have ``examples``.
    """

    name: str
    configuration: type[StudyConfig]
    example: Mapping[str, Any] = field(default_factory=dict)


STUDIES: tuple[Study, ...] = (
    Study("bottleneck", MemorizationConfig, {"k": [2, 4, 8, 16, 32, 64]}),
    Study("training_size", MemorizationConfig, {"k": [128], "sizes": [100, 1000, 10_000]}),
    Study("across_training", AcrossTrainingConfig, {"k": [128], "training": {"checkpoint_every": 50}}),
    Study("convergence", ConvergenceConfig),
    Study("contraction", ContractionConfig),
)


def load_study_config(path: str | Path | None, overrides: Iterable[str] = ()) -> StudyConfig:
    """Read a YAML file and apply ``dotted.key=value`` overrides; errors as ``probe.config.load_config``."""
    return parse_study_config(read_yaml(path, overrides))


def parse_study_config(data: dict[str, Any]) -> StudyConfig:
    """Validate a mapping against the configuration of the kind of study that it names.

    Raises:
        UserError: a key is wrong, or there is no such kind of study; the closest name is suggested.
    """
    name, known = data.get("study"), {study.name: study.configuration for study in STUDIES}
    if name is None:
        raise UserError(f"config key 'study' is missing: set it to one of {', '.join(known)}.")
    if not isinstance(name, str) or name not in known:
        hint = did_you_mean(short(name), known) or f"there are {', '.join(known)}."
        raise UserError(f"config key 'study': there is no study {short(name)}; {hint}")
    return validated(known[name], data)
