"""compare.json, key by key. ``null`` stands where a number does not exist.

| symbol | meaning |
|---|---|
| first | the run named first; every difference is to it |
| z, z', x, x' | as in probe/report/schema.py: latent and image, and their reconstructions from a run's dictionary |
"""

from typing import Literal

from pydantic import Field

from probe.report.model import ReportModel
from probe.report.run.schema import Mean

Measure = Literal["pixel_mse", "latent_mse", "latent_ratio", "pixel_ratio", "floor_ratio"]
MEASURES: dict[Measure, str] = {
    "pixel_mse": "pixel MSE",
    "latent_mse": "latent MSE",
    "latent_ratio": "latent MSE / random orthogonal",
    "pixel_ratio": "pixel MSE / random orthogonal",
    "floor_ratio": "pixel MSE / autoencoder alone",
}
"""Of the run's dictionary; ratios are ratios of means over images, to the run's own control or autoencoder."""

Counted = Literal["images alone", "images and draws of starts"]
Direction = Literal["lower", "higher", "undecided"]
RULE = (
    "A run's error at 5 % of d is lower (higher) than that of the first run if the 95 % interval of the difference, "
    "this run minus the first, lies below (above) 0; otherwise it is undecided. The intervals of latent MSE and of its "
    "ratio at 5 % of d count two reasons why a number could have been another: other images (percentile bootstrap; if "
    "both runs used the same images, by SHA-256, the difference is paired by image, otherwise each run's images are "
    "resampled independently), and another draw of the starts (delete-a-group jackknife over blocks of starts, "
    "Student's t). Their half-widths are added as squares. Draws of starts are independent between runs, unless both "
    "have the same seed and latents of one shape: then start i is the same noise in both, and the same blocks are left "
    "out of both. All other intervals are over images alone: they are too short for a claim about another draw, and "
    "give no verdict. Ratios are ratios of means over images, to the run's own random orthogonal basis (the mean of "
    "all bases, image by image) or autoencoder. They have no unit and can be compared across models. Intervals are not "
    "corrected for the number of comparisons."
)


class ComparedError(ReportModel):
    value: Mean = Field(description="with its 95 % interval by ``rule``; null where it does not exist")
    difference: Mean | None = Field(
        description="this run minus the first; null for the first run, or if either value is missing"
    )
    over_images: tuple[float, float] | None = Field(
        None, description="the interval of the difference over images alone; null where there is no difference"
    )
    over_starts: bool = Field(
        False, description="whether the intervals count the draw of the starts, of both runs in a difference"
    )
    intervals_over: Counted = Field("images alone", description="the same in words")
    verdict: Direction | None = Field(description="by ``rule``; null where the intervals are over images alone")


class RunValues(ReportModel):
    run: str
    atoms: int = Field(description="atoms allowed in each image's sparse code")
    measures: dict[Measure, ComparedError] = Field(
        description="latent_mse is absent if the runs' latents are not in one space"
    )


class LevelComparison(ReportModel):
    fraction: float = Field(description="of d; the level nearest to 5 % is 0.05")
    runs: list[RunValues]


class DatasetComparison(ReportModel):
    n: dict[str, int] = Field(description="images by run")
    sha256: dict[str, str | None] = Field(description="of the images, by run")
    paired: dict[str, bool] = Field(description="by run: whether the images are those of the first run")
    draws: dict[str, bool] = Field(
        {}, description="by run: whether intervals count the draw of its starts; runs of older versions have no numbers"
    )
    levels: list[LevelComparison]


class RunFacts(ReportModel):
    """What the solver found, from the run's report.json."""

    name: str
    path: str
    model: str
    weights_sha256: str | None
    latent_shape: tuple[int, ...]
    d: int
    starts: int
    outcomes: dict[str, int]
    steps: float | None = Field(description="median over starts")
    evaluations: float | None = Field(description="evaluations of f per start, median")
    atoms: int
    certified: int = Field(description="atoms that are certified attractors")
    undecided: int = Field(description="atoms not examined (solver.certificates) or too close to 1 to decide")
    borrowed: int | None = Field(
        None, description="atoms of the dictionary that images were coded in, where it was another run's"
    )
    share: float | None = Field(description="share of the starts that converged to a certified attractor")
    rule: str = Field(description="of the dictionary")


class Setting(ReportModel):
    key: str
    values: list[str] = Field(description="by run, as text")


class Similarity(ReportModel):
    """Two dictionaries in one latent space."""

    a: str
    b: str
    a_in_b: Mean = Field(description="mean over atoms of a of the largest cosine to an atom of b, interval over atoms")
    b_in_a: Mean = Field(description="likewise, over atoms of b")
    chamfer: float = Field(description="mean of a_in_b and b_in_a: Chamfer cosine similarity")
    chamfer_null: float = Field(description="the same for random dictionaries of the same sizes, mean of draws")
    overlap: float = Field(description="||A B^T||^2 / (||A A^T|| ||B B^T||), in [0, 1]; see probe/metrics/overlap.py")
    overlap_null: float = Field(description="its expectation under a random rotation of b")


class ComparisonReport(ReportModel):
    schema_version: Literal[1] = 1
    verdict: str = Field("", description="what the runs' ratios at 5 % of d say, in one sentence")
    runs: list[RunFacts]
    differs: list[Setting] = Field(description="settings, weights and versions in which the runs differ")
    notes: list[str] = Field(description="what to know before believing a number")
    levels_left_out: list[float] = Field(description="fractions of d that not all runs have")
    datasets_left_out: list[str] = Field([], description="data sets that not all runs have")
    rule: str = RULE
    datasets: dict[str, DatasetComparison]
    similarities: list[Similarity] = Field(description="of every pair of runs with latents in one space")
