"""report.json of a study, key by key; ``null`` means that the number does not exist.

The page of each kind of study (``probe.report.study.kinds``) has the schema of its ``models``.
"""

from typing import Any, Literal

from pydantic import Field, SerializeAsAny

from probe.metrics.interval import Verdict
from probe.report.model import ReportModel


class TrainedModel(ReportModel):
    """One trained model; each kind of study adds its measures."""

    dataset: str
    k: int = Field(description="bottleneck")
    size: int = Field(description="training images")
    seed: int
    epochs: int
    loss: list[float] = Field(description="mean squared error over each epoch's inputs, padding included")


class SeedSpread(ReportModel):
    mean: float | None = Field(description="mean over seeds; null if one of them has no value")
    std: float | None = Field(description="standard deviation over seeds (n - 1); null for one seed")
    n: int = Field(description="seeds")
    ci95: tuple[float, float] | None = Field(
        None,
        description="of the mean: over an architecture's seeds, or over a model's samples if it has one seed",
    )


class Point(ReportModel):
    """All seeds at one value of the axis."""

    value: int | str = Field(description="k, the number of training images, the epoch, or the architecture")
    columns: dict[str, SeedSpread] = Field(description="by name; the page's table explains them")


class StudyClaim(ReportModel):
    """One claim of the paper, on one data set."""

    name: str
    claim: str = Field(description="in words")
    result: Verdict = Field(description="by ``rules[rule]``")
    rule: str = Field(description="a key of ``rules``")
    statistic: float | None = Field(description="as the rule says; null if it does not exist")
    ci95: tuple[float, float] | None = Field(description="null if there is too little data for an interval")
    n: int
    over: Literal["models", "seeds", "attractors", "starts", "architectures"] = Field(description="what n counts")
    by_value: dict[str, Verdict] | None = Field(None, description="the verdict at each value of the axis")
    levels: dict[str, float | None] | None = Field(None, description="the compared values, including the null")


class StudySection(ReportModel):
    n_train: int | None = Field(
        None, description="training images drawn; a model may be trained on fewer. Null if nothing is trained"
    )
    n_test: int | None = None
    channels: int | None = Field(None, description="1 for grey images, 3 for colour")
    side: int | None = Field(None, description="image side as drawn")
    padded_to: int | None = Field(None, description="side of the network's input")
    source: dict[str, Any] = Field(default_factory=dict)
    points: list[Point]
    claims: list[StudyClaim]
    verdicts_in_words: list[str]


class StudyReport(ReportModel):
    schema_version: int = 1
    study: str = Field(description="the kind of study, one of ``probe.report.study.kinds.KINDS``")
    axis: str = Field(description="k, size, epoch or architecture")
    datasets: dict[str, StudySection] = Field(description="a contraction study has one: ``random weights``")
    models: list[SerializeAsAny[ReportModel]] = Field(description="one per result, by the schema of the kind of study")
    rules: dict[str, str]
    warnings: list[str]
    provenance: dict[str, Any]
