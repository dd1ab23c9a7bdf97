"""The page of a ``bottleneck`` and of a ``training_size`` study: memorization against k or the training-set size."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from probe.report.study import figures
from probe.report.study.page import Page, by_axis
from probe.report.study.schema import Claim, DatasetReport, Model, Point
from probe.report.study.verdicts import NULLS, RULES, TRENDS, null, trend
from probe.results.study import Found, StudyResults

HEADS = {
    "mem": "mem",
    "mem_certified": "of certified",
    "null_test": "test images",
    "null_reconstructed": "reconstructed",
    "null_mean": "mean image",
    "null_noise": "noise",
    "null_untrained": "untrained",
    "test_error": "test MSE",
    "train_error": "train MSE",
    "distinct_cosine": "distinct (cosine)",
    "distinct_euclidean": "distinct (Euclid)",
    "rank": "rank",
    "steps": "median steps",
    "share_converged": "converged",
    "share_certified": "certified",
}
NOTE = (
    "Mean and standard deviation over seeds. mem: largest cosine of a decoded attractor and a training image; behind "
    "it the same for attractors that are certified, and for five null levels. Distinct: end points from training "
    "images' latents, merged by cosine and by relative Euclidean distance; all else is over the latter. Rank: "
    "principal directions that hold 90 % (measure.variance) of the variance of the decoded attractors. Converged: "
    "share of the starts; certified: share of the attractors that were examined."
)
BRIEF = ("mem", "null_test", "null_noise", "test_error", "distinct_euclidean", "rank", "steps", "share_certified")


def share_converged(model: Model) -> float:
    """Of the starts."""
    return model.outcomes["converged"] / model.starts


def share_certified(model: Model) -> float | None:
    """Of the distinct end points for which a certificate was tried; None where there was none."""
    return model.certified / model.examined if model.examined else None


def _columns(model: Model) -> dict[str, float | None]:
    shares = {"share_converged": share_converged(model), "share_certified": share_certified(model)}
    return {name: shares[name] if name in shares else getattr(model, name) for name in HEADS}


def _points(found: Sequence[Found[Model]], axis: str) -> list[Point]:
    return by_axis(found, lambda model: int(getattr(model, axis)), _columns)


def _claims(found: Sequence[Found[Model]], axis: str) -> list[Claim]:
    models = [one.model for one in found]
    return [
        *(trend(measure, axis, models) for measure in TRENDS),
        *(null(level, axis, _against(level, axis, found)) for level in NULLS),
    ]


def _against(level: str, axis: str, found: Sequence[Found[Model]]) -> dict[int, list[Any]]:
    at: dict[int, list[Any]] = {}
    for one in found:
        pair = (one.arrays["mem"].astype(np.float64), one.arrays[level].astype(np.float64))
        at.setdefault(getattr(one.model, axis), []).append(pair)
    return at


def _figures(
    name: str, data: DatasetReport, found: Sequence[Found[Model]], results: StudyResults, axis: str
) -> Mapping[str, Figure | None]:
    models, arrays = [one.model for one in found], [one.arrays for one in found]
    variance: float = results.config.measure.variance  # type: ignore[attr-defined]  # this kind has one
    return {
        name: figures.sweep(name, axis, data, variance),
        f"{name}_attractors": figures.gallery(axis, models, arrays),
        f"{name}_loss": figures.losses(axis, models),
    }


def _warnings(found: Sequence[Found[Model]]) -> list[str]:
    models, warnings = [one.model for one in found], []
    if len({model.seed for model in models}) == 1:
        warnings.append("one seed only; intervals of the null levels are about single models.")
    few = [model for model in models if share_converged(model) < 0.5]
    if few:
        warnings.append(
            f"in {len(few)} of {len(models)} models less than half of the starts converged; what is called attractors "
            "there are mostly points where the iteration stopped."
        )
    lone = [model for model in models if model.distinct_euclidean == 1]
    if lone:
        warnings.append(f"{len(lone)} of {len(models)} models have one attractor only, and so a rank of 0.")
    return warnings


def page(axis: str) -> Page:
    """Against k or size."""
    return Page(
        axis=axis,
        model=Model,
        heads=HEADS,
        brief=BRIEF,
        note=NOTE,
        rules=RULES,
        points=partial(_points, axis=axis),
        claims=partial(_claims, axis=axis),
        figures=partial(_figures, axis=axis),
        warnings=_warnings,
    )
