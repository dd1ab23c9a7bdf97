"""report.json of a study, key by key; ``null`` stands where a number does not exist.

| symbol | meaning |
|---|---|
| z* | distinct end point (by relative Euclidean distance) of the iteration from a training image's latent |
| mem | largest cosine of an image, as a vector of pixels, and a training image of the same model |
| rho | Spearman's rank correlation |
"""

from typing import Any, Literal

from pydantic import Field

from probe.report.schema import Open

Result = Literal["holds", "does not hold", "undecided"]


class Model(Open):
    """One trained model."""

    dataset: str
    k: int = Field(description="bottleneck")
    size: int = Field(description="training images")
    seed: int
    epochs: int
    loss: list[float] = Field(description="mean squared error over each epoch's inputs, padding included")
    starts: int = Field(description="training images whose latents were iterated")
    outcomes: dict[str, int] = Field(description="starts by outcome, as in a run's report")
    steps: float = Field(description="median number of steps of the starts; those at the limit count with the limit")
    steps_converged: float | None = Field(description="the same of the converged starts; null where there is none")
    distinct_cosine: int = Field(description="distinct end points by cosine of the latents, diverged starts apart")
    distinct_euclidean: int = Field(description="distinct end points z* by relative Euclidean distance")
    examined: int = Field(description="converged z*, largest basins first, for which a certificate was tried")
    certified: int = Field(description="of these: attractors; residual below tolerance, spectral radius below 1")
    not_attractors: int
    undecided: int
    mem: float | None = Field(description="mean over z* of mem(D(z*))")
    mem_certified: float | None = Field(description="the same over certified z*; null where there is none")
    null_test: float | None = Field(description="mean mem of unseen test images")
    null_reconstructed: float | None = Field(description="mean mem of D(E(x)) of these test images")
    null_mean: float | None = Field(description="mem of the mean of the training images, where a trivial model ends")
    null_noise: float | None = Field(description="mean mem of images of uniform noise")
    null_untrained: float | None = Field(description="mean mem(D(z*)) of the same network before training")
    test_error: float | None = Field(description="mean over test images of the mean squared error of their own pixels")
    train_error: float | None = Field(description="the same over the images that were iterated")
    rank: int = Field(description="principal directions that hold 90 % (measure.variance) of the variance of D(z*)")


class Spread(Open):
    mean: float | None = Field(description="mean over seeds; null if it does not exist for one of them")
    std: float | None = Field(description="standard deviation over seeds (n - 1); null for one seed")
    n: int = Field(description="seeds")


class Point(Open):
    """All seeds of one value of the axis."""

    value: int = Field(description="k, or the number of training images")
    columns: dict[str, Spread] = Field(description="by the names in ``Model``, and share_converged, share_certified")


class Claim(Open):
    """One claim of the paper, on one data set."""

    name: str
    claim: str = Field(description="in words")
    result: Result = Field(description="by ``rules[rule]``")
    rule: Literal["trend", "null"]
    statistic: float | None = Field(description="rho, or the difference of means; null where it does not exist")
    ci95: tuple[float, float] | None = Field(description="null where there is too little for an interval")
    n: int = Field(description="models (trend), or seeds (null)")
    by_value: dict[str, Result] | None = Field(None, description="of a null: the same at every value of the axis")


class DatasetReport(Open):
    n_train: int = Field(description="training images drawn; a model may have been trained on fewer")
    n_test: int
    channels: int = Field(description="1 for grey images, 3 for colour")
    side: int = Field(description="of an image, as drawn")
    padded_to: int = Field(description="side of the network's input")
    source: dict[str, Any]
    points: list[Point]
    claims: list[Claim]
    verdicts_in_words: list[str]


class StudyReport(Open):
    schema_version: int = 1
    study: Literal["bottleneck", "training_size"]
    axis: str = Field(description="k or size")
    datasets: dict[str, DatasetReport]
    models: list[Model]
    rules: dict[str, str]
    warnings: list[str]
    provenance: dict[str, Any]
