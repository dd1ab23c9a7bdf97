"""The page of a ``convergence`` study: predicted against actual steps (paper, Proposition A.9, Figure 11)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.figure import Figure

from probe.metrics.interval import on_side
from probe.report.figures.convergence import convergence_figure
from probe.report.study.page import Page, by_axis
from probe.report.study.schema import Claim, Convergence, DatasetReport, Point
from probe.results.study import Found, StudyResults
from probe.studies.sweeps.convergence import correlation, gain

HEADS = {
    "share_used": "used",
    "attractors": "attractors",
    "correlation": "correlation",
    "rank_correlation": "rank correlation",
    "ratio": "actual / predicted",
    "error": "log error",
    "null_error": "of a constant",
}
NOTE = (
    "Mean and standard deviation over seeds. Used: share of the Gaussian starts that ended in a certified attractor, "
    "from which there is a prediction; all else is over these. Attractors: how many. Correlation: of predicted and "
    "actual steps (Pearson's), and of their ranks (Spearman's). Actual / predicted: median. Log error: mean of "
    "|log((1 + predicted) / (1 + actual))|; of a constant: the same of the median of the model's own steps, the best "
    "that a constant can do."
)
RULES = {
    "order": (
        "That the prediction tells which starts take longer holds if the 95 % bootstrap interval of Pearson's "
        "correlation of predicted and actual steps lies above 0, where predictions dealt to the starts at random would "
        "be; it does not hold if it lies below, and is undecided otherwise. Attractors are drawn, each with all of its "
        "starts; where there are fewer than 3 attractors, starts are drawn, and the interval says less. The verdict is "
        "over all models of a data set, with that of each k beside it."
    ),
    "error": (
        "That the prediction is nearer to the steps taken than a constant holds if the interval of the mean difference "
        "of the two log errors lies below 0, by the same resampling."
    ),
}


def _points(found: Sequence[Found[Convergence]]) -> list[Point]:
    return by_axis(found, lambda model: int(model.k), _columns)


def _columns(model: Convergence) -> dict[str, float | None]:
    return {
        "share_used": model.used / model.starts,
        "attractors": model.attractors,
        "correlation": model.correlation.mean if model.correlation else None,
        "rank_correlation": model.rank_correlation,
        "ratio": model.ratio["median"] if model.ratio else None,
        "error": model.error,
        "null_error": model.null_error,
    }


def _claims(found: Sequence[Found[Convergence]]) -> list[Claim]:
    ks = sorted({one.model.k for one in found})
    pooled = {k: _pooled([one for one in found if one.model.k == k]) for k in ks}
    every = _pooled(found)
    return [_order(every, pooled), _error(every, pooled)]


def _pooled(found: Sequence[Found[Convergence]]) -> dict[str, Any]:
    """The starts of several models; an attractor of one is none of another."""
    names = ("predicted", "actual", "radius", "error", "null_error")
    rows: dict[str, Any] = {
        name: np.concatenate([one.arrays[name].astype(np.float64) for one in found]) for name in names
    }
    number = np.concatenate([np.stack([np.full(len(a), i), a]) for i, a in enumerate(_attractors(found))], axis=1)
    rows["attractor"] = np.unique(number, axis=1, return_inverse=True)[1].reshape(-1)
    return rows


def _attractors(found: Sequence[Found[Convergence]]) -> list[Any]:
    return [one.arrays["attractor"] for one in found]


def _correlation(rows: dict[str, Any]) -> dict[str, Any] | None:
    return correlation(rows["predicted"], rows["actual"], rows["attractor"])


def _gain(rows: dict[str, Any]) -> dict[str, Any] | None:
    return gain(torch.from_numpy(rows["error"]), torch.from_numpy(rows["null_error"]), rows["attractor"])


def _order(every: dict[str, Any], pooled: Mapping[int, dict[str, Any]]) -> Claim:
    return _claim(
        "order",
        "the predicted steps tell which starts take longer",
        1,
        every,
        _correlation(every),
        {k: _correlation(rows) for k, rows in pooled.items()},
    )


def _error(every: dict[str, Any], pooled: Mapping[int, dict[str, Any]]) -> Claim:
    claim = _claim(
        "error",
        "the predicted steps are nearer to the steps taken than a constant is",
        -1,
        every,
        _gain(every),
        {k: _gain(rows) for k, rows in pooled.items()},
    )
    there = len(every["error"])
    claim.levels = {
        "prediction": float(every["error"].mean()) if there else None,
        "constant": float(every["null_error"].mean()) if there else None,
    }
    return claim


def _claim(
    rule: Literal["order", "error"],
    claim: str,
    side: int,
    every: dict[str, Any],
    found: dict[str, Any] | None,
    by_k: Mapping[int, dict[str, Any] | None],
) -> Claim:
    over = found["over"] if found else "starts"
    return Claim(
        name=rule,
        claim=claim,
        result=on_side(found["ci95"] if found else None, side),
        rule=rule,
        statistic=found["mean"] if found else None,
        ci95=found["ci95"] if found else None,
        n=len(np.unique(every["attractor"])) if over == "attractors" else len(every["attractor"]),
        over=over,
        by_value={str(k): on_side(one["ci95"] if one else None, side) for k, one in by_k.items()},
    )


def _figures(
    name: str, data: DatasetReport, found: Sequence[Found[Convergence]], results: StudyResults
) -> Mapping[str, Figure | None]:
    rows = _pooled(found)
    record = {
        **{key: rows[key].tolist() for key in ("predicted", "actual", "radius")},
        "used": len(rows["actual"]),
        "attractors": len(np.unique(rows["attractor"])),
        "correlation": _correlation(rows),
    }
    return {name: convergence_figure(record, f"{name}, all models") if record["used"] else None}


def _warnings(found: Sequence[Found[Convergence]]) -> list[str]:
    warnings = []
    few = [one.model for one in found if one.model.used < one.model.starts / 2]
    if few:
        warnings.append(
            f"in {len(few)} of {len(found)} models less than half of the starts ended in a certified attractor; of the "
            "others nothing is predicted."
        )
    lone = [one.model for one in found if 0 < one.model.attractors < 3]
    if lone:
        warnings.append(f"{len(lone)} of {len(found)} models have fewer than 3 attractors; their intervals say little.")
    return warnings


PAGE = Page(
    axis="k",
    model=Convergence,
    heads=HEADS,
    brief=tuple(HEADS),
    note=NOTE,
    rules=RULES,
    points=_points,
    claims=_claims,
    figures=_figures,
    warnings=_warnings,
)
