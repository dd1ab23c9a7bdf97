"""The page of a ``contraction`` study: variance ratios of random weights (paper, Figure 6)."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from probe.metrics.interval import Verdict
from probe.report.figures.contraction import contraction_figure
from probe.report.study.page import Page, spread
from probe.report.study.schema import Claim, Contraction, DatasetReport, Point, Ratios, Spread
from probe.results.study import Found, StudyResults

HEADS = {"d": "d", "inputs": "D(E(x))", "latents": "f(z) = E(D(z))"}
WHAT = {"inputs": "D(E(x)) varies less than x", "latents": "f(z) varies less than z"}
NOTE = (
    "Variance out / variance in over independent N(0, 1) inputs or latents, coordinate by coordinate, of untrained "
    "networks: mean over seeds with its interval. Null: the identity, whose ratio is 1. Each class of autoencoder is "
    "built small, with the weights that its constructor draws."
)
RULES = {
    "ratio": (
        "Of one architecture, that the ratio is below 1 holds if the 95 % bootstrap interval of its mean over seeds "
        "lies below 1, does not hold if it lies above, and is undecided if it includes 1 or a ratio is not finite. "
        "Of all architectures the claim holds if it holds of each, does not hold if there is one of which it does not, "
        "and is undecided otherwise; the number shown is the largest mean."
    )
}


def _points(found: Sequence[Found[Contraction]]) -> list[Point]:
    return [
        Point(
            value=one.model.name,
            columns={
                "d": spread([one.model.d]),
                "inputs": _spread(one.model.inputs),
                "latents": _spread(one.model.latents),
            },
        )
        for one in found
    ]


def _spread(side: Ratios) -> Spread:
    over = spread(side.ratios)
    over.ci95 = side.ci95
    return over


def _claims(found: Sequence[Found[Contraction]]) -> list[Claim]:
    return [_claim(side, [one.model for one in found]) for side in WHAT]


def _claim(side: str, models: Sequence[Contraction]) -> Claim:
    results: dict[str, Verdict] = {model.name: getattr(model, side).verdict for model in models}
    known = [getattr(model, side) for model in models if getattr(model, side).mean is not None]
    largest = max(known, key=lambda ratios: ratios.mean) if known else None
    given = set(results.values())
    return Claim(
        name=side,
        claim=f"with random weights, {WHAT[side]}",
        result="does not hold" if "does not hold" in given else "undecided" if "undecided" in given else "holds",
        rule="ratio",
        statistic=largest.mean if largest else None,
        ci95=largest.ci95 if largest else None,
        n=len(models),
        over="architectures",
        by_value=results,
    )


def _figures(
    name: str, data: DatasetReport, found: Sequence[Found[Contraction]], results: StudyResults
) -> Mapping[str, Figure | None]:
    return {"contraction": contraction_figure([one.model.model_dump() for one in found])}


PAGE = Page(
    axis="architecture",
    model=Contraction,
    heads=HEADS,
    brief=tuple(HEADS),
    note=NOTE,
    rules=RULES,
    points=_points,
    claims=_claims,
    figures=_figures,
)
