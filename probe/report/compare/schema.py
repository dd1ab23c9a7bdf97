"""compare.json, key by key. ``null`` stands where a number does not exist.

| symbol | meaning |
|---|---|
| first | the first run that was named: every difference is to it |
| z, z', x, x' | as in probe/report/schema.py: latent and image, and their reconstructions from a run's dictionary |
"""

from typing import Literal

from pydantic import Field

from probe.report.run.schema import Mean, Open

Measure = Literal["pixel_mse", "latent_mse", "latent_ratio", "pixel_ratio", "floor_ratio"]
MEASURES: dict[Measure, str] = {
    "pixel_mse": "pixel MSE",
    "latent_mse": "latent MSE",
    "latent_ratio": "latent MSE / random orthogonal",
    "pixel_ratio": "pixel MSE / random orthogonal",
    "floor_ratio": "pixel MSE / autoencoder alone",
}
"""Of the run's dictionary; ratios are ratios of means over images, to the run's own control or autoencoder."""

Verdict = Literal["lower", "higher", "undecided"]
RULE = (
    "A run's error is lower or higher than that of the first run if the 95 % bootstrap interval over images of the "
    "difference (this run minus the first) lies below or above 0, and undecided if it includes 0. Where both runs used "
    "the same images (SHA-256) the difference is paired by image; otherwise both are drawn again, each by itself. "
    "Ratios are of means over images, to the run's own random orthogonal basis or autoencoder, and so have no unit: "
    "they can be compared across models; of several random bases the mean is taken, image by image. Intervals are for "
    "one draw of the starts, and not corrected for the number of comparisons."
)


class Value(Open):
    value: Mean = Field(description="with the 95 % bootstrap interval over images; null where it does not exist")
    difference: Mean | None = Field(description="this run minus the first; null for the first, or without one of both")
    verdict: Verdict | None = Field(description="by ``rule``; null where there is no interval of the difference")


class RunValues(Open):
    run: str
    atoms: int = Field(description="atoms allowed in each image's sparse code")
    measures: dict[Measure, Value] = Field(
        description="latent_mse is absent where the runs' latents are not in one space"
    )


class LevelComparison(Open):
    fraction: float = Field(description="of d; 0.05 stands for the level nearest to 5 %")
    runs: list[RunValues]


class DatasetComparison(Open):
    n: dict[str, int] = Field(description="images by run")
    sha256: dict[str, str | None] = Field(description="of the images, by run")
    paired: dict[str, bool] = Field(description="by run: whether the images are those of the first")
    levels: list[LevelComparison]


class RunFacts(Open):
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
    evaluations: float | None = Field(description="of f for a start, median")
    atoms: int
    certified: int = Field(description="atoms that are certified attractors")
    undecided: int = Field(description="atoms that were not examined (solver.certificates), or too close to call")
    share: float | None = Field(description="starts that converged in a certified attractor's basin, over starts")
    rule: str = Field(description="of the dictionary")


class Setting(Open):
    key: str
    values: list[str] = Field(description="by run, as text")


class Similarity(Open):
    """Two dictionaries in one latent space."""

    a: str
    b: str
    a_in_b: Mean = Field(description="mean over atoms of a of the largest cosine to an atom of b, interval over atoms")
    b_in_a: Mean = Field(description="likewise, over atoms of b")
    chamfer: float = Field(description="mean of both: Chamfer cosine similarity")
    chamfer_null: float = Field(description="the same with random dictionaries of the same sizes, mean of draws")
    overlap: float = Field(description="||A B^T||^2 / (||A A^T|| ||B B^T||), in [0, 1]; see probe/metrics/overlap.py")
    overlap_null: float = Field(description="its expectation if b were turned at random")


class Comparison(Open):
    schema_version: Literal[1] = 1
    runs: list[RunFacts]
    differs: list[Setting] = Field(description="settings, weights and versions in which the runs differ")
    notes: list[str] = Field(description="what to know before believing a number; empty if nothing")
    levels_left_out: list[float] = Field(description="fractions of d that not all runs have")
    rule: str = RULE
    datasets: dict[str, DatasetComparison]
    similarities: list[Similarity] = Field(description="of every pair of runs whose latents are in one space")
