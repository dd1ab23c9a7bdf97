"""The configuration of ``probe roundtrip``."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from probe.config import (
    LARGEST_SIDE,
    MOST,
    ConfigModel,
    DatasetConfig,
    ModelConfig,
    Name,
    PerceptualConfig,
    SolverConfig,
    Text,
    Tracked,
    file_names,
    read_yaml,
    validated,
)
from probe.measures import IDENTITY
from probe.studies.roundtrip.between import step
from probe.studies.sweeps.config import as_in

Cycle = Annotated[int, Field(ge=0, le=100_000)]


class FilmConfig(ConfigModel):
    """Which pictures are kept for the report."""

    images: int = Field(4, ge=1, le=1000, description="images whose pictures are kept: the first ones")
    extremes: int = Field(
        2, ge=0, le=1000, description="further images: so many with the lowest, and with the highest PSNR at the end"
    )
    cycles: tuple[Cycle, ...] = Field(
        (2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100, 200, 500, 1000),
        max_length=1000,
        description="cycles whose pictures are kept, besides 0, 1 and the last; those beyond the last are left out",
    )

    side: int = Field(
        256, ge=1, le=LARGEST_SIDE, description="largest side of a picture that is kept; larger ones are reduced to it"
    )

    def at(self, cycles: int) -> list[int]:
        """The cycles whose pictures are kept, of so many."""
        return sorted({0, 1, cycles} | {one for one in self.cycles if one <= cycles})


class RoundtripSolver(ConfigModel):
    """When a picture has settled or diverged. Without rounding between cycles (none, clamp) the latent map is iterated
    on after the last cycle, with extrapolation."""

    max_steps: int = Field(200, ge=0, le=MOST, description="steps of the latent map after the last cycle (none, clamp)")
    tolerance: float = Field(
        1e-5, gt=0, le=1e6, description="a picture has settled when ||f(z) - z||^2 is below this (none, clamp)"
    )
    batch_size: Annotated[int, Field(ge=1, le=10**8)] | Literal["auto"] = Field(
        "auto", description="images encoded and decoded together; auto: by their size on a CPU, what fits on a GPU"
    )
    max_norm: float = Field(1e6, gt=0, le=1e18, description=as_in(SolverConfig, "max_norm"))
    certificates: int = Field(
        8, ge=0, le=10**8, description="fixed points to certify for each model and data set (none, clamp)"
    )


class RoundtripConfig(Tracked):
    """Models, images, and what happens between cycles."""

    models: dict[Name, ModelConfig] = Field(
        min_length=1, max_length=100, description="autoencoders by a name of your choice"
    )
    datasets: dict[Name, DatasetConfig] = Field(
        min_length=1,
        max_length=1000,
        description="image sets by name; a preset's name is enough",
    )
    resolution: int = Field(32, ge=1, le=LARGEST_SIDE, description="side of the images, in pixels")
    cycles: int = Field(50, ge=1, le=100_000, description="how often each image is encoded and decoded")
    between: tuple[Text, ...] = Field(
        ("none", "clamp", "8bit", "jpeg:75"),
        min_length=1,
        max_length=100,
        description="what happens between cycles, each in turn and also without a model: none, clamp, 8bit, png, "
        "jpeg:QUALITY, webp:QUALITY, resize:FACTOR (filter lanczos, or resize:FACTOR:FILTER)",
    )
    run: Text | None = Field(
        None,
        description="a finished run directory of one of the models; where pictures settle is compared with its atoms",
    )
    solver: RoundtripSolver = Field(RoundtripSolver(), description="where pictures settle")
    perceptual: PerceptualConfig | None = Field(
        PerceptualConfig(), description="LPIPS and rFID, where their weights are at hand; null: without them"
    )
    film: FilmConfig = Field(FilmConfig(), description="pictures kept for the report")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="seed of the bootstrap")

    @field_validator("models")
    @classmethod
    def _names(cls, value: dict[str, ModelConfig]) -> dict[str, ModelConfig]:
        if IDENTITY in {name.casefold() for name in value}:
            raise ValueError(f"a model cannot be named {IDENTITY}, which is the control; rename it")
        for name, one in value.items():
            if one.clamp:
                raise ValueError(f"{name}.clamp has no meaning here; add clamp to between")
        return file_names(value, "model")

    @field_validator("datasets")
    @classmethod
    def _images(cls, value: dict[str, DatasetConfig]) -> dict[str, DatasetConfig]:
        for name, one in value.items():
            if "holdout" in one.model_fields_set and one.holdout:
                raise ValueError(f"{name}.holdout has no meaning here; remove it")
        return file_names({name: one.model_copy(update={"holdout": 0}) for name, one in value.items()})

    @field_validator("between")
    @classmethod
    def _steps(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(step(one).name for one in value)
        if len({name.replace(":", "-") for name in names}) < len(names):
            raise ValueError("give each value once")
        return names

    @property
    def device(self) -> str:
        """``cpu`` where every model is put there, else ``auto``."""
        return "cpu" if all(one.device == "cpu" for one in self.models.values()) else "auto"


def load_roundtrip_config(path: str | Path | None, overrides: Iterable[str] = ()) -> RoundtripConfig:
    """Read a YAML file and apply ``dotted.key=value`` overrides; errors as ``probe.config.load_config``."""
    return parse_roundtrip_config(read_yaml(path, overrides))


def parse_roundtrip_config(data: dict[str, Any]) -> RoundtripConfig:
    """Validate a mapping."""
    return validated(RoundtripConfig, data)
