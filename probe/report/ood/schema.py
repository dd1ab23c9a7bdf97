"""report.json of an OOD experiment, key by key; ``null`` stands where a number does not exist.

Higher scores mean more out-of-distribution. Intervals are 95 % percentile bootstrap intervals over the images of both
sets, for one model.
"""

from typing import Any, Literal

from pydantic import Field

from probe.metrics.interval import Verdict
from probe.report.model import ReportModel


class Measured(ReportModel):
    value: float
    ci95: tuple[float, float] | None = Field(description="null where a set has a single image")


class ScoreReport(ReportModel):
    """How well one score separates an OOD set from the in-distribution test images."""

    auroc: Measured = Field(description="probability that an OOD image has the higher score, ties counting half")
    fpr95: Measured = Field(
        description="share of OOD images below the threshold that keeps 95 % of the in-distribution test images"
    )
    aupr_out: Measured = Field(description="average precision with OOD images as positives; chance: their share")
    aupr_in: Measured = Field(description="average precision with in-distribution images as positives, from low scores")
    control: Measured | None = Field(
        description="AUROC of test images encoded like the OOD files against the same images unchanged, resampled in "
        "pairs; 0.5 (chance) if encoding has no effect; null without control"
    )
    against_control: Measured | None = Field(description="AUROC of the OOD images against those test images")


class ScoreClaim(ReportModel):
    """The paper's score has a higher AUROC than another score on one set."""

    other: str
    result: Verdict
    difference: Measured = Field(description="AUROC of the trajectory score minus that of the other, paired by image")
    in_words: str


class Ends(ReportModel):
    """How the trajectories of a set end."""

    n: int
    outcomes: dict[str, int]
    median_steps: float | None = Field(description="max_steps counts as such; null if steps were not scored")


class SetReport(ReportModel):
    group: Literal["near", "far"]
    ends: Ends
    source: str
    encodings: dict[str, int] | None = Field(description="the most frequent encodings of its files; null for noise")
    controls: int = Field(description="test images encoded like its files")
    scores: dict[str, ScoreReport]
    claims: list[ScoreClaim]


class OodReport(ReportModel):
    schema_version: int = 1
    model: dict[str, Any]
    training: dict[str, Any] | None = Field(description="epochs, and the loss of each; null for a pretrained model")
    attractors: dict[str, Any] = Field(
        description="starts, outcomes, median steps; attractors (end points that did not diverge, unmerged), "
        "distinct_converged (by distance), distinct_cosine, examined and certified of distinct_converged; "
        "noise: the same of starts N(0, I), where trajectory_noise is asked for; 0 attractors: it is left out"
    )
    neighbours: dict[str, int] = Field(description="K used by each knn score: at most the number of starts")
    inside: Ends
    inside_encodings: dict[str, int] | None
    sets: dict[str, SetReport]
    groups: dict[str, dict[str, dict[str, float]]] = Field(description="mean AUROC and FPR95 over the sets of a group")
    scores: dict[str, str] = Field(description="what each score is")
    rules: dict[str, str]
    verdicts_in_words: list[str] = Field(description="the claims against KNN and the start; all claims are in the sets")
    warnings: list[str]
    provenance: dict[str, Any]

    def by_group(self) -> list[str]:
        """Names of the sets, near ones first."""
        return sorted(self.sets, key=lambda name: self.sets[name].group != "near")
