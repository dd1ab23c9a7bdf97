"""From the table of scores to the report."""

from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probe.metrics.detection import MEASURES, Detection
from probe.metrics.interval import Interval, on_side
from probe.report.ood.schema import Claim, Ends, OodReport, ScoreReport, SetReport, Value
from probe.report.ood.tables import label
from probe.report.page.text import fewer, number
from probe.report.run.build import finite
from probe.results.ood import OodResults
from probe.studies.ood.config import MEANINGS

CONTROL = "reencoded-"
PAPER = "trajectory"
RULES = {
    "claim": (
        "The paper's score beats another on a set if the 95 % bootstrap interval of the difference of their AUROC, "
        "over the same resamples of the images, lies above 0; it does not hold if the interval lies below, and is "
        "undecided if it includes 0. Intervals are for one model and one draw of the images, and not corrected for the "
        "number of sets."
    ),
    "control": (
        "In-distribution test images are cropped to their central square, resized to the shorter edge of an OOD file "
        "and saved in its format, a JPEG with that file's quantisation tables and chroma subsampling, each image like "
        "the next file in turn; what happened to the file's pixels before it was last saved cannot be known. An AUROC "
        "of these against the same images untouched whose interval excludes 0.5 says that encoding alone is seen."
    ),
    "directions": (
        "Every score is the higher, the more out of distribution. FPR95 is the share of OOD images that a threshold "
        "lets pass which keeps 95 % of the in-distribution test images; 0.95 is what a useless score has."
    ),
}
Floats = NDArray[np.float64]


def ood_report(results: OodResults) -> OodReport:
    """The report of a finished experiment."""
    tables = {name: results.table[results.table["set"] == name] for name in results.table["set"].unique()}
    names = [name for name in results.table.columns if name not in ("set", "image", "id", "outcome")]
    sets = {name: _set(name, names, tables, results) for name in results.config.outside}
    starts = results.facts["starts"]
    data, manifest = results.manifest["data"], results.manifest
    report = OodReport(
        model=manifest["model"],
        training=manifest.get("training"),
        attractors=results.facts,
        neighbours={name: min(int(name[4:]), starts) for name in names if name.startswith("knn_")},
        inside=_ends(tables["test"]),
        inside_encodings=data["test"].get("encodings"),
        sets=sets,
        groups=_groups(names, sets),
        scores={name: MEANINGS[name.partition("_")[0] if name.startswith("knn_") else name] for name in names},
        rules=RULES,
        verdicts_in_words=_headlines(sets),
        warnings=[],
        provenance=_provenance(results),
    )
    short = [fewer(name, it["n_used"], it.get("n_planned", 0)) for name, it in data.items()]  # noise is never short
    notes = [f"{name}: {note}" for name, it in data.items() for note in it.get("notes", [])]
    told = [*manifest["model"].get("warnings", []), *chain.from_iterable(short), *notes]
    report.warnings = [*told, *warnings(report)]
    return report


def dump(report: OodReport) -> dict[str, Any]:
    """Plain JSON values, free of NaN and infinity."""
    plain: dict[str, Any] = finite(report.model_dump(mode="json"))
    return plain


def _set(name: str, names: list[str], tables: dict[str, pd.DataFrame], results: OodResults) -> SetReport:
    inside, outside, control = tables["test"], tables[name], tables.get(CONTROL + name)
    settings: dict[str, Any] = {"seed": results.config.seed, "resamples": results.config.resamples}
    found = Detection(_columns(inside, names), _columns(outside, names), **settings)
    beside: dict[str, Detection] = {}
    if control is not None:
        same = inside.set_index("id").loc[control["id"]]
        beside["control"] = Detection(_columns(same, names), _columns(control, names), paired=True, **settings)
        beside["against_control"] = Detection(_columns(control, names), _columns(outside, names), **settings)
    facts = results.manifest["data"][name]
    return SetReport(
        group=results.config.outside[name].group,
        ends=_ends(outside),
        source=facts["source"]["source"],
        encodings=facts.get("encodings"),
        controls=0 if control is None else len(control),
        scores={score: _score(score, found, beside) for score in names},
        claims=[_claim(name, other, found) for other in names if other != PAPER and PAPER in names],
    )


def _headlines(sets: dict[str, SetReport]) -> list[str]:
    """What the paper claims, against KNN, and what it takes for granted, that the steps add to the start."""
    chosen = [claim for one in sets.values() for claim in one.claims]
    return [claim.in_words for claim in chosen if claim.other == "start" or claim.other.startswith("knn_")]


def _columns(table: pd.DataFrame, names: list[str]) -> dict[str, Floats]:
    return {name: table[name].to_numpy(np.float64) for name in names}


def _score(score: str, found: Detection, beside: dict[str, Detection]) -> ScoreReport:
    more = {name: _value(beside[name].interval(score, "auroc")) for name in beside}
    values: dict[str, Any] = {measure: _value(found.interval(score, measure)) for measure in MEASURES}
    return ScoreReport(**values, **{"control": None, "against_control": None, **more})


def _value(found: Interval) -> Value:
    return Value(value=found.mean, ci95=found.ci95)


def _claim(name: str, other: str, found: Detection) -> Claim:
    difference = _value(found.difference(PAPER, other))
    result = on_side(difference.ci95, 1)
    shown = f"difference of AUROC {number(difference.value)}"
    if difference.ci95:
        shown += f" [{number(difference.ci95[0])}, {number(difference.ci95[1])}]"
    in_words = f"the trajectory score beats {label(other)} on {name}: {result} ({shown})"
    return Claim(other=other, result=result, difference=difference, in_words=in_words)


def _ends(table: pd.DataFrame) -> Ends:
    median = float(table["steps"].median()) if "steps" in table else None
    return Ends(n=len(table), outcomes=table["outcome"].value_counts().to_dict(), median_steps=median)


def _groups(names: list[str], sets: dict[str, SetReport]) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for group in ("near", "far"):
        mine = [one.scores for one in sets.values() if one.group == group]
        if mine:
            found[group] = {
                name: {
                    measure: float(np.mean([getattr(scores[name], measure).value for scores in mine]))
                    for measure in ("auroc", "fpr95")
                }
                for name in names
            }
    return found


def warnings(report: OodReport) -> list[str]:
    """What to know before believing a number."""
    facts, found = report.attractors, []
    starts, converged = facts["starts"], facts["outcomes"]["converged"]
    if converged < starts / 2:
        found.append(
            f"{converged} of {starts} training starts converged; what is called attractors is mostly where the "
            "iteration stopped."
        )
    if facts["certified"] < facts["examined"]:
        found.append(f"{facts['certified']} of {facts['examined']} distinct converged end points are certified.")
    if converged and facts["distinct_converged"] == 1:
        found.append(
            "All training starts that converged did so to one attractor: scores are distances to a single point, and "
            "those of end points are what is left of the way to it."
        )
    for name, k in report.neighbours.items():
        if k == starts:
            found.append(f"{label(name)}: of {starts} training latents this is the distance to the farthest one.")
    for name, one in report.sets.items():
        score = one.scores.get(PAPER)
        if score and score.control and score.control.ci95 and not score.control.ci95[0] <= 0.5 <= score.control.ci95[1]:
            found.append(
                f"{name}: the trajectory score sees its encoding alone (AUROC {number(score.control.value)} "
                f"[{number(score.control.ci95[0])}, {number(score.control.ci95[1])}] of re-encoded test images)."
            )
        stopped = one.ends.n - one.ends.outcomes.get("converged", 0)
        if stopped > one.ends.n / 2:
            found.append(f"{name}: {stopped} of {one.ends.n} trajectories did not converge.")
    return found


def _provenance(results: OodResults) -> dict[str, Any]:
    keys = ("command", "git_revision", "versions", "platform", "device", "dtype", "world_size", "started", "finished")
    facts = {key: results.manifest.get(key) for key in keys}
    images = {name: data["sha256"] for name, data in results.manifest["data"].items()}
    return {**facts, "images_sha256": images, "config": results.config.settings()}
