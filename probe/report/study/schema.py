"""report.json of a study, key by key; ``null`` stands where a number does not exist.

| symbol | meaning |
|---|---|
| z* | distinct end point (by relative Euclidean distance) of the iteration from a training image's latent |
| mem | largest cosine of an image, as a vector of pixels, and a training image of the same model |
| rho | Spearman's rank correlation |
"""

from typing import Any, Literal

from pydantic import Field, SerializeAsAny

from probe.metrics.interval import Verdict
from probe.report.run.schema import Mean, Open


class Trained(Open):
    """One trained model."""

    dataset: str
    k: int = Field(description="bottleneck")
    size: int = Field(description="training images")
    seed: int
    epochs: int
    loss: list[float] = Field(description="mean squared error over each epoch's inputs, padding included")


class Model(Trained):
    """Of a ``bottleneck`` or ``training_size`` study."""

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


class Checkpoints(Trained):
    """Of an ``across_training`` study."""

    checkpoints: dict[str, dict[str, Any]] = Field(
        description="by epoch, 0 being the untrained network: as ``sweeps.across_training.measure`` returns"
    )


class Interval(Mean):
    over: Literal["attractors", "starts"] = Field(description="what the interval is over; starts where few attractors")


class Convergence(Trained):
    """Of a ``convergence`` study; steps are of starts that ended in a certified attractor."""

    starts: int = Field(description="Gaussian starts that were iterated")
    used: int = Field(description="of these: ended in a certified attractor, from which there is a prediction")
    attractors: int = Field(description="how many attractors these are")
    correlation: Interval | None = Field(description="Pearson's, of predicted and actual steps")
    rank_correlation: float | None = Field(description="Spearman's, of the same")
    ratio: dict[str, float] | None = Field(description="actual / predicted: median, q05, q95")
    error: float | None = Field(description="mean of |log((1 + predicted) / (1 + actual))|")
    null_error: float | None = Field(description="the same of the best constant, the median of the actual steps")
    error_difference: Interval | None = Field(description="mean over starts of the one minus the other")


class Ratios(Open):
    ratios: list[float | None] = Field(description="variance out / in, one for each seed; null: not finite")
    mean: float | None
    ci95: tuple[float, float] | None = Field(description="over seeds")
    largest: float | None
    verdict: Verdict = Field(description="on a ratio below 1, by ``rules.ratio``")


class Contraction(Open):
    """One architecture of a ``contraction`` study."""

    name: str
    d: int = Field(description="latent dimension")
    inputs: Ratios = Field(description="of D after E, on inputs of independent N(0, 1) coordinates")
    latents: Ratios = Field(description="of f = E after D, on such latents")


class Spread(Open):
    mean: float | None = Field(description="mean over seeds; null if it does not exist for one of them")
    std: float | None = Field(description="standard deviation over seeds (n - 1); null for one seed")
    n: int = Field(description="seeds")
    ci95: tuple[float, float] | None = Field(
        None,
        description="of the mean: over the seeds of an architecture; over a model's samples, where it has one seed",
    )


class Point(Open):
    """All seeds of one value of the axis."""

    value: int | str = Field(description="k, the number of training images, the epoch, or the architecture")
    columns: dict[str, Spread] = Field(description="by name; the page's table says what they are")


class Claim(Open):
    """One claim of the paper, on one data set."""

    name: str
    claim: str = Field(description="in words")
    result: Verdict = Field(description="by ``rules[rule]``")
    rule: str = Field(description="a key of ``rules``")
    statistic: float | None = Field(description="what the rule says; null where it does not exist")
    ci95: tuple[float, float] | None = Field(description="null where there is too little for an interval")
    n: int
    over: Literal["models", "seeds", "attractors", "starts", "architectures"] = Field(description="what n counts")
    by_value: dict[str, Verdict] | None = Field(None, description="the same at every value of the axis")
    levels: dict[str, float | None] | None = Field(None, description="what was compared, the null among it")


class DatasetReport(Open):
    n_train: int | None = Field(
        None, description="training images drawn; a model may have been trained on fewer. Null where none was trained"
    )
    n_test: int | None = None
    channels: int | None = Field(None, description="1 for grey images, 3 for colour")
    side: int | None = Field(None, description="of an image, as drawn")
    padded_to: int | None = Field(None, description="side of the network's input")
    source: dict[str, Any] = Field(default_factory=dict)
    points: list[Point]
    claims: list[Claim]
    verdicts_in_words: list[str]


class StudyReport(Open):
    schema_version: int = 1
    study: str = Field(description="which of ``probe.studies.sweeps.config.KINDS``")
    axis: str = Field(description="k, size, epoch or architecture")
    datasets: dict[str, DatasetReport] = Field(description="of a contraction study one: ``random weights``")
    models: list[SerializeAsAny[Open]] = Field(
        description="``Model``, ``Checkpoints``, ``Convergence`` or ``Contraction``"
    )
    rules: dict[str, str]
    warnings: list[str]
    provenance: dict[str, Any]
