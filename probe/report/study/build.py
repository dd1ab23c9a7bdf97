"""From the results of a study to its report."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from probe.errors import UserError
from probe.report.build import finite
from probe.report.study.read import Arrays, StudyResults
from probe.report.study.schema import Claim, DatasetReport, Model, Point, Spread, StudyReport
from probe.report.study.verdicts import NULLS, RULES, TRENDS, null, trend
from probe.report.words import listed, number
from probe.training import fitted

COLUMNS = (
    *("mem", "mem_certified", "null_test", "null_reconstructed", "null_mean", "null_noise", "null_untrained"),
    *("test_error", "train_error", "distinct_cosine", "distinct_euclidean", "rank", "steps"),
    *("share_converged", "share_certified"),
)
AXES = {"bottleneck": "k", "training_size": "size"}


def study_report(results: StudyResults) -> StudyReport:
    """The report.

    Raises:
        UserError: the results have not the agreed content.
    """
    try:
        axis = AXES[results.config.study]
        report = StudyReport(
            study=results.config.study,
            axis=axis,
            datasets={name: _dataset(name, axis, results) for name in results.config.datasets},
            models=results.models,
            rules=RULES,
            warnings=[],
            provenance=_provenance(results),
        )
    except (KeyError, ValueError) as error:
        raise UserError(f"the study has not the agreed content ({error!r}); remove it and run it again.") from error
    report.warnings = _warnings(report)
    return report


def dump(report: StudyReport) -> dict[str, Any]:
    """Plain JSON values, free of NaN and infinity."""
    plain: dict[str, Any] = finite(report.model_dump(mode="json"))
    return plain


def share_converged(model: Model) -> float:
    """Of the starts."""
    return model.outcomes["converged"] / model.starts


def share_certified(model: Model) -> float | None:
    """Of the distinct end points for which a certificate was tried; None where there was none."""
    return model.certified / model.examined if model.examined else None


def column(model: Model, name: str) -> float | None:
    """A column of the table, for one model."""
    match name:
        case "share_converged":
            return share_converged(model)
        case "share_certified":
            return share_certified(model)
    value: float | None = getattr(model, name)
    return value


def _dataset(name: str, axis: str, results: StudyResults) -> DatasetReport:
    mine = [(m, a) for m, a in zip(results.models, results.arrays, strict=True) if m.dataset == name]
    models = [model for model, _ in mine]
    claims = [trend(measure, axis, models) for measure in TRENDS]
    claims += [null(level, axis, _against(level, axis, mine)) for level in NULLS]
    facts = results.manifest["data"][name]
    values = sorted({getattr(model, axis) for model in models})
    return DatasetReport(
        n_train=facts["train"]["n_used"],
        n_test=facts["test"]["n_used"],
        channels=facts["channels"],
        side=facts["side"],
        padded_to=fitted(facts["side"], name),
        source={part: facts[part]["source"]["source"] for part in ("train", "test")},
        points=[_point(value, [m for m in models if getattr(m, axis) == value]) for value in values],
        claims=claims,
        verdicts_in_words=[in_words(claim) for claim in claims],
    )


def _against(level: str, axis: str, mine: Sequence[tuple[Model, Arrays]]) -> dict[int, list[Any]]:
    at: dict[int, list[Any]] = {}
    for model, arrays in mine:
        pair = (arrays["mem"].astype(np.float64), arrays[level].astype(np.float64))
        at.setdefault(getattr(model, axis), []).append(pair)
    return at


def _point(value: int, models: Sequence[Model]) -> Point:
    return Point(value=value, columns={name: _spread([column(model, name) for model in models]) for name in COLUMNS})


def _spread(values: Sequence[float | None]) -> Spread:
    there = [value for value in values if value is not None]
    if len(there) < len(values):
        return Spread(mean=None, std=None, n=len(values))
    return Spread(mean=statistics.fmean(there), std=statistics.stdev(there) if len(there) > 1 else None, n=len(values))


def in_words(claim: Claim) -> str:
    """``test error falls with k: holds (rho -0.9 [-0.97, -0.7], 12 models)``."""
    what = "rho" if claim.rule == "trend" else "difference"
    shown = f"{what} {number(claim.statistic)}"
    if claim.ci95:
        shown += f" [{number(claim.ci95[0])}, {number(claim.ci95[1])}]"
    else:
        shown += ", no interval"
    unit = "model" if claim.rule == "trend" else "seed"
    shown += f", {claim.n} {unit}{'s' * (claim.n != 1)}"
    beside = ""
    if claim.by_value and len(claim.by_value) > 1:
        parts = [
            f"{result} at {listed([value for value, one in claim.by_value.items() if one == result])}"
            for result in ("holds", "undecided", "does not hold")
            if result in claim.by_value.values()
        ]
        beside = f"; over all values: {', '.join(parts)}"
    return f"{claim.claim}: {claim.result} ({shown}){beside}"


def _warnings(report: StudyReport) -> list[str]:
    found = []
    for name, data in report.datasets.items():
        models = [model for model in report.models if model.dataset == name]
        if len({model.seed for model in models}) == 1:
            found.append(f"{name}: one seed only; intervals of the null levels are about single models.")
        few = [model for model in models if share_converged(model) < 0.5]
        if few:
            found.append(
                f"{name}: in {len(few)} of {len(models)} models less than half of the starts converged; what is "
                "called attractors there are mostly points where the iteration stopped."
            )
        lone = [model for model in models if model.distinct_euclidean == 1]
        if lone:
            found.append(f"{name}: {len(lone)} of {len(models)} models have one attractor only, and so a rank of 0.")
        if data.padded_to != data.side:
            found.append(f"{name}: images of side {data.side} are padded with black to {data.padded_to}.")
    return found


def _provenance(results: StudyResults) -> dict[str, Any]:
    keys = ("command", "git_revision", "versions", "platform", "device", "dtype", "world_size", "started", "finished")
    facts = {key: results.manifest.get(key) for key in keys}
    images = {name: data["sha256"] for name, data in results.manifest["data"].items()}
    return {**facts, "images_sha256": images, "config": results.config.model_dump(mode="json")}
