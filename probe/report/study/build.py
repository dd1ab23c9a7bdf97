"""From the results of a study to its report."""

from collections.abc import Mapping, Sequence
from typing import Any

from probe.errors import UserError
from probe.metrics.interval import Verdict
from probe.report.page.text import count, listed, number
from probe.report.run.build import provenance
from probe.report.study.kinds import study_kind
from probe.report.study.page import Rule, StudyPage
from probe.report.study.schema import StudyClaim, StudyReport, StudySection
from probe.results.study import Found, StudyResults
from probe.training import fitted

EVERYTHING = "random weights"
"""The one section of a study that has no data sets."""


def sections(results: StudyResults) -> dict[str, list[Found[Any]]]:
    """The result files of each data set, in the order of the grid."""
    names = list(results.config.data)
    if not names:
        return {EVERYTHING: results.found}
    return {name: [one for one in results.found if one.model.dataset == name] for name in names}


def study_report(results: StudyResults) -> StudyReport:
    """The report.

    Raises:
        UserError: the results are not in the expected format.
    """
    page = study_kind(results.config.study).page
    try:
        parts = sections(results)
        datasets = {name: _dataset(name, found, results, page) for name, found in parts.items()}
        warnings = [f"{name}: {one}" for name, found in parts.items() for one in page.warnings(found)]
        return StudyReport(
            study=results.config.study,
            axis=page.axis,
            datasets=datasets,
            models=[one.model for one in results.found],
            rules={name: rule.text for name, rule in page.rules.items()},
            warnings=_notes(results) + warnings + _padded(datasets),
            provenance=provenance(results.manifest, results.config),
        )
    except (KeyError, ValueError) as error:
        raise UserError(
            f"the results of the study are not in the expected format ({error!r}); remove the study and run it again."
        ) from error


def _dataset(name: str, found: Sequence[Found[Any]], results: StudyResults, page: StudyPage) -> StudySection:
    claims = page.claims(found)
    return StudySection(
        **(_images(name, results.manifest["data"][name]) if name in results.config.data else {}),
        points=page.points(found),
        claims=claims,
        verdicts_in_words=[in_words(claim, page.rules[claim.rule]) for claim in claims],
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
    """What is unusual about the images of each data set."""
    return [
        f"{name}/{part}: {note}"
        for name in results.config.data
        for part in ("train", "test")
        for note in results.manifest["data"][name][part].get("notes", [])
    ]


def in_words(claim: StudyClaim, rule: Rule) -> str:
    """``the test error falls with k: holds (rho -0.9 [-0.97, -0.7], 12 models)``."""
    interval = f" [{number(claim.ci95[0])}, {number(claim.ci95[1])}]" if claim.ci95 else ", no interval"
    levels = ", ".join(f"{name} {number(level)}" for name, level in (claim.levels or {}).items())
    n = count(claim.n, claim.over.removesuffix("s"))
    shown = f"{rule.statistic} {number(claim.statistic)}{interval}, {n}{levels and f'; {levels}'}"
    return f"{claim.claim}: {claim.result} ({shown}){_by_value(claim.by_value or {}, rule)}"


def _by_value(results: Mapping[str, Verdict], rule: Rule) -> str:
    """The verdicts at the values of the axis, or from other baselines."""
    if len(results) < 2:
        return ""
    if rule.from_baselines:
        return "; " + ", ".join(f"from {value}: {result}" for value, result in list(results.items())[1:])
    parts = []
    for result in ("holds", "undecided", "does not hold"):
        which = [value for value, one in results.items() if one == result]
        if which:
            many = rule.counted and result == "holds"
            parts.append(f"{result} {f'for {len(which)}' if many else f'at {listed(which)}'}")
    return f"; over all values: {', '.join(parts)}"


def _padded(datasets: dict[str, StudySection]) -> list[str]:
    return [
        f"{name}: images of side {one.side} are padded with black to {one.padded_to}."
        for name, one in datasets.items()
        if one.padded_to != one.side
    ]
