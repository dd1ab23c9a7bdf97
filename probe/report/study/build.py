"""From the results of a study to its report."""

from collections.abc import Sequence
from typing import Any

from probe.errors import UserError
from probe.report.page.text import count, listed, number
from probe.report.run.build import finite
from probe.report.study.pages import PAGES
from probe.report.study.schema import Claim, DatasetReport, StudyReport
from probe.results.study import Found, StudyResults
from probe.training import fitted

EVERYTHING = "random weights"
"""The one section of a study that has no data sets."""
WHAT = {
    "trend": "rho",
    "null": "difference",
    "change": "difference",
    "order": "correlation",
    "error": "difference",
    "ratio": "largest ratio",
}
"""What a claim's statistic is, by its rule."""


def sections(results: StudyResults) -> dict[str, list[Found[Any]]]:
    """The result files of each data set, in the order of the grid."""
    names = list(results.config.data)
    if not names:
        return {EVERYTHING: results.found}
    return {name: [one for one in results.found if one.model.dataset == name] for name in names}


def study_report(results: StudyResults) -> StudyReport:
    """The report.

    Raises:
        UserError: the results have not the agreed content.
    """
    page = PAGES[results.config.study]
    try:
        parts = sections(results)
        datasets = {name: _dataset(name, found, results) for name, found in parts.items()}
        warnings = [f"{name}: {one}" for name, found in parts.items() for one in page.warnings(found)]
        return StudyReport(
            study=results.config.study,
            axis=page.axis,
            datasets=datasets,
            models=[one.model for one in results.found],
            rules=dict(page.rules),
            warnings=_notes(results) + warnings + _padded(datasets),
            provenance=_provenance(results),
        )
    except (KeyError, ValueError) as error:
        raise UserError(f"the study has not the agreed content ({error!r}); remove it and run it again.") from error


def dump(report: StudyReport) -> dict[str, Any]:
    """Plain JSON values, free of NaN and infinity."""
    plain: dict[str, Any] = finite(report.model_dump(mode="json"))
    return plain


def _dataset(name: str, found: Sequence[Found[Any]], results: StudyResults) -> DatasetReport:
    page = PAGES[results.config.study]
    claims = page.claims(found)
    return DatasetReport(
        **(_images(name, results.manifest["data"][name]) if name in results.config.data else {}),
        points=page.points(found),
        claims=claims,
        verdicts_in_words=[in_words(claim) for claim in claims],
    )


def _images(name: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "n_train": facts["train"]["n_used"],
        "n_test": facts["test"]["n_used"],
        "channels": facts["channels"],
        "side": facts["side"],
        "padded_to": fitted(facts["side"], name),
        "source": {part: facts[part]["source"]["source"] for part in ("train", "test")},
    }


def _notes(results: StudyResults) -> list[str]:
    """What is odd about the images of each data set."""
    return [
        f"{name}/{part}: {note}"
        for name in results.config.data
        for part in ("train", "test")
        for note in results.manifest["data"][name][part].get("notes", [])
    ]


def in_words(claim: Claim) -> str:
    """``the test error falls with k: holds (rho -0.9 [-0.97, -0.7], 12 models)``."""
    shown = f"{WHAT[claim.rule]} {number(claim.statistic)}"
    if claim.ci95:
        shown += f" [{number(claim.ci95[0])}, {number(claim.ci95[1])}]"
    else:
        shown += ", no interval"
    shown += f", {count(claim.n, claim.over.removesuffix('s'))}"
    if claim.levels:
        shown += "; " + ", ".join(f"{name} {number(level)}" for name, level in claim.levels.items())
    return f"{claim.claim}: {claim.result} ({shown}){_beside(claim)}"


def _beside(claim: Claim) -> str:
    """The verdict at each value of the axis: where all are alike, and many, how many; else which."""
    at = claim.by_value or {}
    if len(at) < 2:
        return ""
    if claim.rule == "change":  # the verdict itself is on the first value
        return "; " + ", ".join(f"from {value}: {result}" for value, result in list(at.items())[1:])
    parts = []
    for result in ("holds", "undecided", "does not hold"):
        which = [value for value, one in at.items() if one == result]
        if which:
            all_alike = claim.over == "architectures" and result == "holds"
            parts.append(f"{result} {f'of {len(which)}' if all_alike else f'at {listed(which)}'}")
    return f"; over all values: {', '.join(parts)}"


def _padded(datasets: dict[str, DatasetReport]) -> list[str]:
    return [
        f"{name}: images of side {one.side} are padded with black to {one.padded_to}."
        for name, one in datasets.items()
        if one.padded_to != one.side
    ]


def _provenance(results: StudyResults) -> dict[str, Any]:
    keys = ("command", "git_revision", "versions", "platform", "device", "dtype", "world_size", "started", "finished")
    facts = {key: results.manifest.get(key) for key in keys}
    images = {name: data["sha256"] for name, data in results.manifest["data"].items()}
    return {**facts, "images_sha256": images, "config": results.config.settings()}
