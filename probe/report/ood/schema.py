"""report.json of an OOD experiment, key by key; ``null`` stands where a number does not exist.

Every score is the higher, the more out of distribution. Intervals are 95 % percentile bootstrap intervals over images
of both sets, for one model.
"""

from typing import Any, Literal

from pydantic import Field

from probe.metrics.interval import Verdict
from probe.report.run.schema import Open


class Value(Open):
    value: float
    ci95: tuple[float, float] | None = Field(description="null where a set has one image only")


class ScoreReport(Open):
    """How one score tells an OOD set from the in-distribution test images."""

    auroc: Value = Field(description="probability that an OOD image has the higher score, ties counting half")
    fpr95: Value = Field(
        description="share of OOD images below the threshold that keeps 95 % of the in-distribution test images"
    )
    aupr_out: Value = Field(description="average precision with OOD images as positives; chance: their share")
    aupr_in: Value = Field(description="average precision with in-distribution images as positives, from low scores")
    control: Value | None = Field(
        description="AUROC of test images encoded like the OOD files against the same images untouched, resampled in "
        "pairs; chance, 0.5, where encoding does nothing; null without control"
    )
    against_control: Value | None = Field(description="AUROC of the OOD images against those test images")


class Claim(Open):
    """The paper's score has the higher AUROC than another on one set."""

    other: str
    result: Verdict
    difference: Value = Field(description="AUROC of the trajectory score minus that of the other, paired by image")
    in_words: str


class Ends(Open):
    """How the trajectories of a set end."""

    n: int
    outcomes: dict[str, int]
    median_steps: float | None = Field(description="those at the limit count with it; null where not scored")


class SetReport(Open):
    group: Literal["near", "far"]
    ends: Ends
    source: str
    encodings: dict[str, int] | None = Field(description="the most frequent encodings of its files; null for noise")
    controls: int = Field(description="test images encoded like its files")
    scores: dict[str, ScoreReport]
    claims: list[Claim]


class OodReport(Open):
    schema_version: int = 1
    model: dict[str, Any]
    training: dict[str, Any] | None = Field(description="epochs and loss of each; null for a pretrained model")
    attractors: dict[str, Any] = Field(
        description="starts, outcomes, median steps; attractors (end points that did not diverge, unmerged), "
        "distinct_converged (by distance), distinct_cosine, examined and certified of the former"
    )
    neighbours: dict[str, int] = Field(description="K that was used by each knn score: at most the number of starts")
    inside: Ends
    inside_encodings: dict[str, int] | None
    sets: dict[str, SetReport]
    groups: dict[str, dict[str, dict[str, float]]] = Field(description="mean AUROC and FPR95 over the sets of a group")
    scores: dict[str, str] = Field(description="what each score is")
    rules: dict[str, str]
    verdicts_in_words: list[str] = Field(description="the claims against KNN and against the start; all: in the sets")
    warnings: list[str]
    provenance: dict[str, Any]
