"""The page of a ``convergence`` study: predicted against actual steps (paper, Proposition A.9, Figure 11)."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from probe.report.figures.convergence import convergence_figure
from probe.report.run.schema import Mean
from probe.report.study.page import Column, Figures, Rule, StudyKind, StudyPage, by_axis, counted
from probe.report.study.schema import StudyClaim, StudySection, TrainedModel
from probe.report.study.verdicts import Estimated, claimed
from probe.results.study import Found, StudyResults
from probe.studies.sweeps.convergence import FEWEST, Starts, correlation, gain, measure


class GroupedMean(Mean):
    over: Literal["attractors", "starts"] = Field(
        description="what the interval is over; starts if there are few attractors"
    )


class Convergence(TrainedModel):
    """One model of a ``convergence`` study; steps are those of starts that ended in a certified attractor."""

    starts: int = Field(description="Gaussian starts that were iterated")
    used: int = Field(description="starts that ended in a certified attractor and therefore have a prediction")
    attractors: int = Field(description="the number of these attractors")
    correlation: GroupedMean | None = Field(description="Pearson's, of predicted and actual steps")
    rank_correlation: float | None = Field(description="Spearman's, of the same")
    ratio: dict[str, float] | None = Field(description="actual / predicted: median, q05, q95")
    error: float | None = Field(description="mean of |log((1 + predicted) / (1 + actual))|")
    null_error: float | None = Field(description="the same for the best constant, the median of the actual steps")
    error_difference: GroupedMean | None = Field(description="mean over starts of error minus null error")


COLUMNS: dict[str, Column] = {
    "share_used": ("used", lambda model: model.used / model.starts),
    "attractors": ("attractors", lambda model: model.attractors),
    "correlation": ("correlation", lambda model: model.correlation.mean if model.correlation else None),
    "rank_correlation": ("rank correlation", lambda model: model.rank_correlation),
    "ratio": ("actual / predicted", lambda model: model.ratio["median"] if model.ratio else None),
    "error": ("log error", lambda model: model.error),
    "null_error": ("of a constant", lambda model: model.null_error),
}
NOTE = (
    "Mean and standard deviation over seeds. Used: share of the Gaussian starts that ended in a certified attractor "
    "and therefore have a prediction; all other columns are over these. Attractors: how many. Correlation: of "
    "predicted and actual steps (Pearson's), and of their ranks (Spearman's). Actual / predicted: median. Log error: "
    "mean of |log((1 + predicted) / (1 + actual))|; of a constant: the same for the median of the model's own steps, "
    "the best that a constant can do."
)
RULES = {
    "order": Rule(
        "The prediction tells which starts take longer if the 95 % bootstrap interval of Pearson's correlation between "
        "predicted and actual steps lies above 0, the correlation of shuffled predictions. The claim does not hold if "
        "the interval lies below 0, and is undecided otherwise. Attractors are resampled, each with all of its starts. "
        "With fewer than 3 attractors, starts are resampled, and the interval says less. The verdict is over all "
        "models of a data set; that of each k is listed with it.",
        statistic="correlation",
    ),
    "error": Rule(
        "The prediction is closer to the actual steps than a constant if the interval of the mean difference of the "
        "two log errors lies below 0, by the same resampling.",
        statistic="difference",
    ),
}


Estimate = Callable[[Starts], dict[str, Any] | None]


def _claims(found: Sequence[Found[Convergence]]) -> list[StudyClaim]:
    every, by_k = _pooled(found), {k: _pooled(group) for k, group in by_axis(found, "k").items()}

    def claim(rule: str, text: str, side: int, estimate: Estimate, **levels: float | None) -> StudyClaim:
        here = estimate(every)
        over = here["over"] if here else "starts"
        n = len(np.unique(every["attractor"])) if over == "attractors" else len(every["attractor"])
        at = {k: _known(estimate(rows)) for k, rows in by_k.items()}
        return claimed(_known(here), side, at, name=rule, claim=text, rule=rule, n=n, over=over, levels=levels or None)

    prediction, constant = (float(every[name].mean()) if len(every[name]) else None for name in ("error", "null_error"))
    closer = "the predicted steps are closer to the actual steps than a constant"
    return [
        claim("order", "the predicted steps tell which starts take longer", 1, correlation),
        claim("error", closer, -1, gain, prediction=prediction, constant=constant),
    ]


def _known(found: dict[str, Any] | None) -> Estimated:
    return (found["mean"], found["ci95"]) if found else (None, None)


def _pooled(found: Sequence[Found[Convergence]]) -> Starts:
    """The starts of several models; models share no attractors."""
    names = ("predicted", "actual", "radius", "error", "null_error")
    rows = {name: np.concatenate([one.arrays[name].astype(np.float64) for one in found]) for name in names}
    labels = [one.arrays["attractor"] for one in found]
    number = np.concatenate([np.stack([np.full(len(a), i), a]) for i, a in enumerate(labels)], axis=1)
    return {**rows, "attractor": np.unique(number, axis=1, return_inverse=True)[1].reshape(-1)}


def _figures(name: str, data: StudySection, found: Sequence[Found[Convergence]], results: StudyResults) -> Figures:
    rows = _pooled(found)
    used, attractors = len(rows["actual"]), len(np.unique(rows["attractor"]))
    record = {**rows, "used": used, "attractors": attractors, "correlation": correlation(rows)}
    return {name: convergence_figure(record, f"{name}, all models") if used else None}


WARNINGS: dict[str, Callable[[Convergence], bool]] = {
    "in {few} of {all} models less than half of the starts ended in a certified attractor; nothing is predicted for "
    "the other starts.": lambda model: model.used < model.starts / 2,
    "{few} of {all} models have fewer than 3 attractors; their intervals say little.": lambda model: (
        0 < model.attractors < FEWEST
    ),
}
PAGE = StudyPage(
    axis="k",
    model=Convergence,
    columns=COLUMNS,
    note=NOTE,
    rules=RULES,
    claims=_claims,
    figures=_figures,
    warnings=lambda found: counted([one.model for one in found], WARNINGS),
)
KIND = StudyKind("convergence", measure, PAGE)
