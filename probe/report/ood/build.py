"""From the table of scores to the report."""

from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field, ValidationError

from probe.errors import UserError
from probe.metrics.interval import Interval, on_side
from probe.metrics.separation import MEASURES, Detection
from probe.report.model import provenance
from probe.report.ood.schema import Ends, Measured, OodReport, ScoreClaim, ScoreReport, SetReport
from probe.report.page.text import number, of_images
from probe.results.ood import OodResults
from probe.scores import label, of_column

CONTROL = "reencoded-"
PAPER = "trajectory"
RULES = {
    "claim": (
        "The paper's score beats another score on a set if the 95 % bootstrap interval of the difference in AUROC, "
        "both computed on the same resamples of the images, lies above 0. The claim does not hold if the interval "
        "lies below 0, and is undecided otherwise. Intervals are for one model and one draw of the images, and are "
        "not corrected for the number of sets."
    ),
    "control": (
        "In-distribution test images are cropped to their central square, resized to the shorter side of an OOD file "
        "and saved in its format; a JPEG gets that file's quantisation tables and chroma subsampling. The OOD files "
        "are used in turn. What happened to their pixels before they were last saved is unknown. If the AUROC of "
        "these images against the same images unchanged has an interval that excludes 0.5, the score responds to the "
        "encoding alone."
    ),
    "directions": (
        "Higher scores mean more out-of-distribution. FPR95 is the share of OOD images that pass a threshold which "
        "keeps 95 % of the in-distribution test images; for a score at chance level it is 0.95."
    ),
}


class _Source(BaseModel):
    source: str


class _Images(BaseModel):
    n_used: int
    n_planned: int = 0
    source: _Source
    encodings: dict[str, int] | None = None
    unreadable: list[str | int] = []
    notes: list[str] = []

    def warnings(self, name: str) -> list[str]:
        return of_images(name, self.n_used, self.n_planned, [str(one) for one in self.unreadable], self.notes)


class _Model(BaseModel):
    source: str
    class_: str = Field(alias="class")
    warnings: list[str] = []


class _Manifest(BaseModel):
    """What the report needs of manifest.json."""

    model: _Model
    data: dict[str, _Images]
    training: dict[str, Any] | None = None


def ood_report(results: OodResults) -> OodReport:
    """The report of a finished experiment.

    Raises:
        UserError: the results lack something.
    """
    try:
        report = _assemble(results, made := _Manifest.model_validate(results.manifest))
    except (KeyError, ValueError) as error:  # a ValidationError is a ValueError
        at = ".".join(map(str, error.errors()[0]["loc"])) if isinstance(error, ValidationError) else error
        raise UserError(
            f"the results of the OOD experiment have unexpected content (at {at}); remove the experiment and run it "
            "again."
        ) from error
    report.warnings = [
        *made.model.warnings,
        *(text for name, one in made.data.items() for text in one.warnings(name)),
        *warnings(report),
    ]
    return report


def _assemble(results: OodResults, made: _Manifest) -> OodReport:
    tables = dict(list(results.table.groupby("set", sort=False)))
    names = [name for name in results.table.columns if name not in ("set", "image", "id", "outcome")]
    sets = {name: _set(name, names, tables, results, made.data[name]) for name in results.config.outside}
    claims = [claim for one in sets.values() for claim in one.claims]
    return OodReport(
        model=results.manifest["model"],
        training=made.training,
        attractors=results.facts,
        neighbours={name: min(int(name[4:]), results.facts["starts"]) for name in names if name.startswith("knn_")},
        inside=_ends(tables["test"]),
        inside_encodings=made.data["test"].encodings,
        sets=sets,
        groups={group: mean for group in ("near", "far") if (mean := _mean_of(group, names, sets))},
        scores={name: of_column(name).meaning for name in names},
        rules=RULES,
        # The claim against KNN is the paper's; that the steps add to the start, the paper takes for granted.
        verdicts_in_words=[one.in_words for one in claims if one.other == "start" or one.other.startswith("knn_")],
        warnings=[],
        provenance=provenance(results.manifest, results.config),
    )


def _set(
    name: str, names: list[str], tables: dict[str, pd.DataFrame], results: OodResults, images: _Images
) -> SetReport:
    inside, outside, control = tables["test"], tables[name], tables.get(CONTROL + name)

    def detection(inside: pd.DataFrame, outside: pd.DataFrame, paired: bool = False) -> Detection:
        sides = ({score: side[score].to_numpy(np.float64) for score in names} for side in (inside, outside))
        return Detection(*sides, paired=paired, seed=results.config.seed, resamples=results.config.resamples)

    found, controls = detection(inside, outside), dict[str, Detection]()
    if control is not None:
        same = inside.set_index("id").loc[control["id"]]
        controls = {"control": detection(same, control, paired=True), "against_control": detection(control, outside)}
    return SetReport(
        group=results.config.outside[name].group,
        ends=_ends(outside),
        source=images.source.source,
        encodings=images.encodings,
        controls=0 if control is None else len(control),
        scores={score: _score(score, found, controls) for score in names},
        claims=[_claim(name, other, found) for other in names if other != PAPER and PAPER in names],
    )


def _score(score: str, found: Detection, controls: dict[str, Detection]) -> ScoreReport:
    values: dict[str, Any] = {measure: _measured(found.interval(score, measure)) for measure in MEASURES}
    values |= {"control": None, "against_control": None}
    return ScoreReport(**values | {name: _measured(one.interval(score, "auroc")) for name, one in controls.items()})


def _measured(found: Interval) -> Measured:
    return Measured(value=found.mean, ci95=found.ci95)


def _claim(name: str, other: str, found: Detection) -> ScoreClaim:
    difference = _measured(found.difference(PAPER, other))
    result = on_side(difference.ci95, 1)
    about = f"{result} (difference of AUROC {_plain(difference)})"
    in_words = f"the trajectory score beats {label(other)} on {name}: {about}"
    return ScoreClaim(other=other, result=result, difference=difference, in_words=in_words)


def _plain(found: Measured) -> str:
    ends = f" [{number(found.ci95[0])}, {number(found.ci95[1])}]" if found.ci95 else ""
    return f"{number(found.value)}{ends}"


def _ends(table: pd.DataFrame) -> Ends:
    median = float(table["steps"].median()) if "steps" in table else None
    return Ends(n=len(table), outcomes=table["outcome"].value_counts().to_dict(), median_steps=median)


def _mean_of(group: str, names: list[str], sets: dict[str, SetReport]) -> dict[str, dict[str, float]]:
    """Mean AUROC and FPR95 over the sets of a group, by score; empty without sets."""
    members = [one.scores for one in sets.values() if one.group == group]

    def mean(score: str, measure: str) -> float:
        return float(np.mean([getattr(scores[score], measure).value for scores in members]))

    return {name: {measure: mean(name, measure) for measure in ("auroc", "fpr95")} for name in names if members}


def warnings(report: OodReport) -> list[str]:
    """What to know before believing a number."""
    facts, found = report.attractors, []
    starts, converged = facts["starts"], facts["outcomes"]["converged"]
    if converged < starts / 2:
        found.append(
            f"{converged} of {starts} training starts converged; most of the attractors are points where the iteration "
            "stopped."
        )
    if facts["certified"] < facts["examined"]:
        found.append(f"{facts['certified']} of {facts['examined']} distinct converged end points are certified.")
    if converged and facts["distinct_converged"] == 1:
        found.append(
            "All training starts that converged reached the same attractor: scores are distances to a single point, "
            "and those of end points are the remaining distance to it."
        )
    if (noise := facts.get("noise")) and not noise["attractors"]:
        found.append(
            f"All {noise['starts']} starts from noise diverged, so there are no attractors from noise, and the score "
            f"{label('trajectory_noise')} (trajectory_noise) is left out."
        )
    for name, k in report.neighbours.items():
        if k == starts:
            found.append(f"{label(name)}: with {starts} training latents this is the distance to the farthest one.")
    for name, one in report.sets.items():
        control = one.scores[PAPER].control if PAPER in one.scores else None
        if control and control.ci95 and not control.ci95[0] <= 0.5 <= control.ci95[1]:
            found.append(
                f"{name}: the trajectory score responds to the encoding alone (AUROC {_plain(control)} of re-encoded "
                "test images)."
            )
        paper = one.scores[PAPER].auroc if PAPER in one.scores else None
        if paper and paper.ci95 and paper.ci95[1] < 0.5:
            found.append(
                f"{name}: the trajectory score is below chance (AUROC {_plain(paper)}): these images lie nearer to the "
                "attractors than the test images do. An undertrained autoencoder does this: it has one attractor, and "
                "unfamiliar images start nearer to it."
            )
        stopped = one.ends.n - one.ends.outcomes.get("converged", 0)
        if stopped > one.ends.n / 2:
            found.append(f"{name}: {stopped} of {one.ends.n} trajectories did not converge.")
    return found
