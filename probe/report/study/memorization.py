"""The pages of ``bottleneck`` and ``training_size`` studies: memorization against k or the training-set size.

| symbol | meaning |
|---|---|
| z* | distinct end point (by relative Euclidean distance) of the iteration from a training image's latent |
| mem | largest cosine between an image, as a vector of pixels, and a training image of the same model |
| rho | Spearman's rank correlation |
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator, NullFormatter, NullLocator
from pydantic import Field

from probe.report.figures.drawing import canvas, picture_rows
from probe.report.study.page import Figures, Rule, StudyKind, StudyPage, by_axis, counted, first_seed
from probe.report.study.schema import StudyClaim, StudySection, TrainedModel
from probe.report.study.verdicts import TREND, Values, above_null, difference_interval, trend
from probe.results.study import Found, StudyResults
from probe.studies.sweeps.memorization import measure


class Memorization(TrainedModel):
    """One model of a ``bottleneck`` or ``training_size`` study."""

    starts: int = Field(description="training images whose latents were iterated")
    outcomes: dict[str, int] = Field(description="starts by outcome, as in a run's report")
    steps: float = Field(description="median number of steps of the starts; the step limit if it was reached")
    steps_converged: float | None = Field(description="the same for converged starts; null if there are none")
    distinct_cosine: int = Field(description="distinct end points by cosine of the latents, without diverged starts")
    distinct_euclidean: int = Field(description="distinct end points z* by relative Euclidean distance")
    examined: int = Field(description="converged z*, largest basins first, that were examined for a certificate")
    certified: int = Field(description="attractors among these: residual below tolerance, spectral radius below 1")
    not_attractors: int
    undecided: int
    mem: float | None = Field(description="mean over z* of mem(D(z*))")
    mem_certified: float | None = Field(description="the same over certified z*; null if there are none")
    null_test: float | None = Field(description="mean mem of unseen test images")
    null_reconstructed: float | None = Field(description="mean mem of D(E(x)) of these test images")
    null_mean: float | None = Field(description="mem of the mean training image, which a trivial model outputs")
    null_noise: float | None = Field(description="mean mem of images of uniform noise")
    null_untrained: float | None = Field(description="mean mem(D(z*)) of the same network before training")
    test_error: float | None = Field(description="mean over test images of the mean squared error of their own pixels")
    train_error: float | None = Field(description="the same over the images that were iterated")
    rank: int = Field(description="principal directions that hold 90 % (measure.variance) of the variance of D(z*)")

    @property
    def share_converged(self) -> float:
        """Share of the starts that converged."""
        return self.outcomes["converged"] / self.starts

    @property
    def share_certified(self) -> float | None:
        """Certified share of the examined end points; None if none was examined."""
        return self.certified / self.examined if self.examined else None


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
BRIEF = ("mem", "null_test", "null_noise", "test_error", "distinct_euclidean", "rank", "steps", "share_certified")
NOTE = (
    "Mean and standard deviation over seeds. mem: largest cosine between a decoded attractor and a training image; the "
    "next columns are the same for certified attractors and for five null levels. Distinct: end points from latents of "
    "training images, merged by cosine and by relative Euclidean distance; all other columns use the latter. Rank: "
    "principal directions that hold 90 % (measure.variance) of the variance of the decoded attractors. Converged: "
    "share of the starts; certified: share of the examined attractors."
)
RULES = {
    "trend": TREND,
    "null": Rule(
        "mem is above a null level at a value of the axis if the 95 % bootstrap interval of the difference of means "
        "(mem of the model's attractors minus the null) lies above 0. The claim does not hold if the interval lies "
        "below 0, and is undecided otherwise. Seeds are resampled, and within each seed attractors and null images. "
        "With one seed the interval is about that model only. A single attractor, or a single image, is not resampled. "
        "The paper claims memorization for the strongest regularisation or the least data: the verdict is that at the "
        "smallest value, and the other values are listed with it.",
        statistic="difference",
    ),
}
TRENDS = {
    "mem": (-1, "memorization of the attractors falls"),
    "test_error": (-1, "the test error falls"),
    "rank": (1, "the rank of the decoded attractors grows"),
    "distinct_euclidean": (1, "the number of distinct attractors grows"),
}
NULLS = {
    "null_test": "unseen test images",
    "null_reconstructed": "reconstructions of unseen test images",
    "null_mean": "the mean training image",
    "null_noise": "uniform noise",
    "null_untrained": "attractors of the untrained network",
}
AXES = {"k": ("k", "k = {}"), "size": ("the number of training images", "{} training images")}
"""How claims name the axis, and one value of it."""


def _claims(found: Sequence[Found[Memorization]], axis: str) -> list[StudyClaim]:
    groups, value = by_axis(found, axis), attrgetter(axis)
    trends = [
        trend(
            name, f"{what} with {AXES[axis][0]}", side, [(value(one.model), getattr(one.model, name)) for one in found]
        )
        for name, (side, what) in TRENDS.items()
    ]
    mem = {name: {value: [_samples(one, name) for one in group] for value, group in groups.items()} for name in NULLS}
    return [*trends, *(null(name, axis, at) for name, at in mem.items())]


def _samples(one: Found[Memorization], null_level: str) -> tuple[Values, Values]:
    return one.arrays["mem"].astype(np.float64), one.arrays[null_level].astype(np.float64)


def null(name: str, axis: str, at: Mapping[int, Sequence[Any]]) -> StudyClaim:
    """The claim that mem exceeds a null level.

    Args:
        at: for each value of the axis and each seed, mem per attractor and the null per image.
    """
    found = {value: difference_interval(seeds) for value, seeds in sorted(at.items())}
    smallest = min(found)
    where = AXES[axis][1].format(smallest)
    return above_null(where, NULLS[name], found[smallest], found, name=name, n=len(at[smallest]))


LABELS = {"k": "bottleneck k", "size": "training images"}
# Okabe and Ito's palette; marks distinguish the lines in grey print.
LINES: dict[str, dict[str, tuple[str, str, str]]] = {
    "memorization": {
        "mem": ("attractors", "#D55E00", "o"),
        "null_test": ("unseen test images", "#0072B2", "s"),
        "null_reconstructed": ("reconstructed test images", "#56B4E9", "v"),
        "null_mean": ("mean training image", "#009E73", "P"),
        "null_noise": ("noise", "#4D4D4D", "^"),
        "null_untrained": ("untrained network", "#CC79A7", "D"),
    },
    "mean squared error": {"test_error": ("test", "#0072B2", "s"), "train_error": ("train", "#009E73", "o")},
    "distinct attractors": {
        "distinct_euclidean": ("relative Euclid", "#D55E00", "o"),
        "distinct_cosine": ("cosine", "#0072B2", "s"),
    },
    "rank at 90 % of the variance": {"rank": ("decoded attractors", "#D55E00", "o")},
    "median steps": {"steps": ("all starts", "#4D4D4D", "o")},
    "share": {
        "share_converged": ("starts that converged", "#009E73", "o"),
        "share_certified": ("attractors certified", "#D55E00", "s"),
    },
}
LOGARITHMIC = ("distinct attractors", "median steps")


def sweep(name: str, axis: str, data: StudySection, variance: float) -> Figure:
    """All measures against the axis: means over seeds, bars of one standard deviation."""
    with canvas(11, 7.4) as figure:
        for axes, (title, lines) in zip(figure.subplots(2, 3).flat, LINES.items(), strict=True):
            for column, (label, colour, mark) in lines.items():
                _line(axes, data, column, label, colour, mark)
            _x_axis(axes, [int(point.value) for point in data.points], LABELS[axis])
            _y_axis(axes, title)
            axes.set_title(title.replace("90", f"{100 * variance:g}"), loc="left", fontsize=11)
            if len(lines) > 1:
                axes.legend(fontsize=8, ncol=2, loc="upper left", bbox_to_anchor=(-0.05, -0.17))  # below: hides no line
        figure.suptitle(name, x=0.01, ha="left", fontsize=12)
    return figure


def _y_axis(axes: Axes, title: str) -> None:
    if title in LOGARITHMIC:
        axes.set_yscale("log")
        for formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            formatter(LogFormatter(minor_thresholds=(2, 0.5)))  # 60 instead of 6 x 10^1
    elif title == "share":
        axes.set_ylim(-0.03, 1.03)
    elif title == "mean squared error":
        axes.set_ylim(bottom=0)
    elif title.startswith("rank"):
        axes.set_ylim(0, max(axes.get_ylim()[1], 1))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _line(axes: Axes, data: StudySection, column: str, label: str, colour: str, mark: str) -> None:
    points = [(p.value, p.columns[column]) for p in data.points if p.columns[column].mean is not None]
    x, y = [value for value, _ in points], [spread.mean or 0.0 for _, spread in points]
    bars = [spread.std or 0.0 for _, spread in points]
    first = column == "mem"
    axes.errorbar(
        x, y, yerr=bars, label=label, color=colour, ls="--" if mark == "s" else "-", marker=mark, markersize=4.5,
        lw=2.2 if first else 1.4, capsize=2, zorder=3 if first else 2,
    )  # fmt: skip


def _x_axis(axes: Axes, values: Sequence[int], label: str) -> None:
    axes.set_xscale("log")
    axes.set_xticks(values, [str(value) for value in values])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)


def losses(axis: str, found: Sequence[Found[Any]]) -> Figure:
    """Training loss against epoch, one line for each value of the axis; ``found`` are models of one seed."""
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(found)))
    with canvas(11, 3.8) as figure:
        axes = figure.subplots()
        for one, colour in zip(found, colours, strict=True):
            epochs = range(1, len(one.model.loss) + 1)
            axes.plot(epochs, one.model.loss, color=colour, lw=1.4, label=f"{axis} = {getattr(one.model, axis)}")
        axes.set_xscale("log")  # small training sets take many epochs, and most happens in the first
        axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_title(f"training loss, seed {found[0].model.seed}", loc="left", fontsize=11)
        axes.legend(fontsize=8, ncol=2)
    return figure


def gallery(axis: str, found: Sequence[Found[Any]]) -> Figure | None:
    """Decoded attractors, largest basins first, a row for each value of the axis; None if none were kept."""
    chosen = [(one.model, one.arrays["gallery"]) for one in found if len(one.arrays["gallery"])]
    if not chosen:
        return None
    rows = {f"{axis} = {getattr(one, axis)}\n{one.distinct_euclidean} in all": images for one, images in chosen}
    width, height = max(0.85 * max(map(len, rows.values())) + 1.4, 3.2), 0.85 * len(rows) + 0.5
    return picture_rows(rows, f"decoded attractors, seed {found[0].model.seed}", width, height)


def _figures(
    name: str, data: StudySection, found: Sequence[Found[Memorization]], results: StudyResults, axis: str
) -> Figures:
    variance: float = results.config.measure.variance  # type: ignore[attr-defined]  # this kind has one
    return {
        name: sweep(name, axis, data, variance),
        f"{name}_attractors": gallery(axis, first_seed(found)),
        f"{name}_loss": losses(axis, first_seed(found)),
    }


WARNINGS: dict[str, Callable[[Memorization], bool]] = {
    "in {few} of {all} models less than half of the starts converged; most of their 'attractors' are points where the "
    "iteration stopped.": lambda model: model.share_converged < 0.5,
    "{few} of {all} models have only one attractor, so their rank is 0.": lambda model: model.distinct_euclidean == 1,
}


def _warnings(found: Sequence[Found[Memorization]]) -> list[str]:
    lone = ["one seed only; intervals of the null levels are about single models."]
    return lone * (len({one.model.seed for one in found}) == 1) + counted([one.model for one in found], WARNINGS)


def _page(axis: str) -> StudyPage:
    return StudyPage(
        axis=axis,
        model=Memorization,
        columns={name: (head, attrgetter(name)) for name, head in HEADS.items()},
        brief=BRIEF,
        note=NOTE,
        rules=RULES,
        claims=partial(_claims, axis=axis),
        figures=partial(_figures, axis=axis),
        warnings=_warnings,
    )


BOTTLENECK = StudyKind("bottleneck", measure, _page("k"))
TRAINING_SIZE = StudyKind("training_size", measure, _page("size"))
