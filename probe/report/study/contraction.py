"""The page of a ``contraction`` study: variance ratios of random weights (paper, Figure 6)."""

from collections.abc import Sequence
from operator import attrgetter

from matplotlib.figure import Figure
from pydantic import Field

from probe.metrics.interval import Verdict
from probe.report.figures.drawing import canvas
from probe.report.model import ReportModel
from probe.report.study.page import Column, Figures, Rule, StudyKind, StudyPage, seed_spread
from probe.report.study.schema import SeedSpread, StudyClaim, StudySection
from probe.results.study import Found, StudyResults
from probe.studies.sweeps.contraction import architectures, measure


class Ratios(ReportModel):
    ratios: list[float | None] = Field(description="variance out / in, one per seed; null if not finite")
    mean: float | None
    ci95: tuple[float, float] | None = Field(description="over seeds")
    largest: float | None
    verdict: Verdict = Field(description="on a ratio below 1, by ``rules.ratio``")


class Contraction(ReportModel):
    """One architecture of a ``contraction`` study."""

    name: str
    d: int = Field(description="latent dimension")
    inputs: Ratios = Field(description="of D after E, on inputs of independent N(0, 1) coordinates")
    latents: Ratios = Field(description="of f = E after D, on such latents")


def _ratios(side: Ratios) -> SeedSpread:
    return seed_spread(side.ratios).model_copy(update={"ci95": side.ci95})


COLUMNS: dict[str, Column] = {
    "d": ("d", attrgetter("d")),
    "inputs": ("D(E(x))", lambda model: _ratios(model.inputs)),
    "latents": ("f(z) = E(D(z))", lambda model: _ratios(model.latents)),
}
CLAIMS = {"inputs": "D(E(x)) varies less than x", "latents": "f(z) varies less than z"}
MARKS = {"inputs": ("D(E(x)), inputs", "#0072B2", "s"), "latents": ("f(z) = E(D(z)), latents", "#D55E00", "o")}
NOTE = (
    "Variance out / variance in over independent N(0, 1) inputs or latents, per coordinate, of untrained networks: "
    "mean over seeds with its interval. Null: the identity has a ratio of 1. Each class of autoencoder is built small, "
    "with the weights that its constructor draws."
)
RULES = {
    "ratio": Rule(
        "For one architecture, the ratio is below 1 if the 95 % bootstrap interval of its mean over seeds lies below "
        "1. The claim does not hold if the interval lies above 1, and is undecided if it includes 1 or a ratio is not "
        "finite. Over all architectures the claim holds if it holds for each, does not hold if it does not hold for "
        "at least one, and is undecided otherwise. The number shown is the largest mean.",
        statistic="largest ratio",
        counted=True,
    )
}


def _claims(found: Sequence[Found[Contraction]]) -> list[StudyClaim]:
    return [_claim(side, [one.model for one in found]) for side in CLAIMS]


def _claim(side: str, models: Sequence[Contraction]) -> StudyClaim:
    results: dict[str, Verdict] = {model.name: getattr(model, side).verdict for model in models}
    known = [getattr(model, side) for model in models if getattr(model, side).mean is not None]
    largest = max(known, key=lambda ratios: ratios.mean) if known else None
    given = set(results.values())
    return StudyClaim(
        name=side,
        claim=f"with random weights, {CLAIMS[side]}",
        result="does not hold" if "does not hold" in given else "undecided" if "undecided" in given else "holds",
        rule="ratio",
        statistic=largest.mean if largest else None,
        ci95=largest.ci95 if largest else None,
        n=len(models),
        over="architectures",
        by_value=results,
    )


def ratios_figure(models: Sequence[Contraction]) -> Figure:
    """The ratios of all seeds, a row for each architecture; variance shrinks to the left of the line."""
    with canvas(8, 0.24 * len(models) + 1.6) as figure:
        axes = figure.subplots()
        for key, (label, colour, mark) in MARKS.items():
            shift = -0.16 if key == "inputs" else 0.16
            marks = [
                (r, row + shift) for row, one in enumerate(models) for r in getattr(one, key).ratios if r is not None
            ]
            x, y = zip(*marks, strict=True) if marks else ((), ())
            axes.plot(x, y, linestyle="none", marker=mark, color=colour, markersize=3.5, alpha=0.7, label=label)
        axes.axvline(1, color="#222222", ls=":", lw=1.4)
        axes.set_xscale("log")
        axes.set_yticks(range(len(models)), [f"{one.name} (d = {one.d})" for one in models])
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.tick_params(axis="y", labelsize=8)
        axes.set_xlabel("variance out / variance in, random weights, one mark per seed")
        figure.legend(loc="outside upper right", ncol=2, fontsize=9)
    return figure


def _figures(name: str, data: StudySection, found: Sequence[Found[Contraction]], results: StudyResults) -> Figures:
    return {"contraction": ratios_figure([one.model for one in found])}


PAGE = StudyPage(
    axis="architecture",
    model=Contraction,
    columns=COLUMNS,
    note=NOTE,
    rules=RULES,
    claims=_claims,
    figures=_figures,
    rows=lambda found: {one.model.name: [one.model] for one in found},
)
KIND = StudyKind("contraction", measure, PAGE, architectures)
