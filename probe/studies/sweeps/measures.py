"""How a study iterates, and what it measures of each model: the parts of its configuration under those names."""

from typing import Any, Literal

from pydantic import Field

from probe.config import MOST, DictionaryConfig, SolverConfig, Strict
from probe.studies.sweeps.datasets import Positive


class CheckpointsSolverConfig(Strict):
    """The iteration of the paper's Section 3, as in ``SolverConfig``; plain, so that steps are applications of f.

    starts: starts of a kind (training images, where they are latents of these; all, where there are fewer).
    """

    starts: int = Field(1000, ge=1, le=10**8)
    max_steps: int = Field(3000, ge=1, le=MOST)
    tolerance: float = Field(1e-6, gt=0, le=1e6)
    batch_size: Positive | Literal["auto"] = "auto"
    max_norm: float = Field(1e6, gt=0, le=1e18)

    def solver(self) -> SolverConfig:
        """The same for what takes a ``SolverConfig``."""
        given: dict[str, Any] = self.model_dump(exclude={"starts"})
        plain = {"accelerate": False, "far_precision": "float32"}
        return SolverConfig(**{**plain, **given}, exponents=0, plain_checks=0)


class ConvergenceSolverConfig(CheckpointsSolverConfig):
    """certificates: distinct end points, largest basins first, that get a certificate."""

    certificates: int = Field(64, ge=0, le=10**8)
    products: int = Field(300, ge=24, le=10**6)
    certificate_dtype: Literal["run", "float64"] = "run"


class StudySolverConfig(ConvergenceSolverConfig):
    """From training images' latents; plain by default."""

    accelerate: bool = False
    far_precision: Literal["auto", "float32", "tf32", "bfloat16"] = "float32"


class ConvergenceMeasureConfig(Strict):
    """euclidean: end points that are nearer than this share of their root mean square norm are one attractor; all
    averages over attractors are over these.
    """

    euclidean: float = Field(0.05, gt=0, le=1e6)


class _MergeConfig(ConvergenceMeasureConfig):
    """cosine: end points of a larger cosine are one attractor (paper)."""

    cosine: float = Field(0.99, gt=0, lt=1)

    def dictionary(self) -> DictionaryConfig:
        """The same for what takes a ``DictionaryConfig``."""
        return DictionaryConfig(cosine=self.cosine, euclidean=self.euclidean)


class MeasureConfig(_MergeConfig):
    """What a study of memorization measures of each model.

    nulls: images of each null level of mem: unseen test images, noise, reconstructions of test images.
    variance: share of the variance at which the rank of the decoded attractors is taken.
    gallery: decoded attractors, largest basins first, that are kept as pictures.
    """

    nulls: int = Field(1000, ge=2, le=10**8)
    variance: float = Field(0.9, gt=0, le=1)
    gallery: int = Field(8, ge=0, le=10_000)


class CheckpointsMeasureConfig(_MergeConfig):
    """What is measured of each checkpoint.

    points: starts of each kind at which the spectral norm of J_f is taken.
    film: training images whose decoded end points are kept as pictures.
    """

    points: int = Field(64, ge=1, le=10**8)
    film: int = Field(10, ge=1, le=10_000)
