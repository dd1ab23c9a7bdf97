"""The page of an ``across_training`` study: every measure at every checkpoint (paper, Figure 3)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field

from probe.metrics.separation import fpr95
from probe.report.figures.drawing import canvas, picture_rows
from probe.report.page.content import Table
from probe.report.page.markdown import table as markdown_table
from probe.report.page.write import drawn, write
from probe.report.study.page import Column, Figures, Rows, Rule, StudyKind, StudyPage, points, table
from probe.report.study.schema import SeedSpread, StudyClaim, StudySection, TrainedModel
from probe.report.study.verdicts import (
    RESAMPLES,
    Estimated,
    Values,
    above_null,
    claimed,
    difference_interval,
    means,
    over_seeds,
)
from probe.results.study import Arrays, Found, StudyResults
from probe.studies.sweeps.across_training import measure


class AcrossTraining(TrainedModel):
    """One model of an ``across_training`` study."""

    checkpoints: dict[str, dict[str, Any]] = Field(
        description="by epoch (0: the untrained network), as ``sweeps.across_training.measure_checkpoint`` returns"
    )


def _number_at(record: dict[str, Any], path: tuple[str, ...]) -> SeedSpread | None:
    """The number at a path of keys, with its interval; None if nothing was measured."""
    found: Any = record
    for key in path:
        found = None if found is None else found[key]
    if not isinstance(found, dict):
        return None if found is None else SeedSpread(mean=found, std=None, n=1)
    low, high = found["ci95"] or (0.0, 0.0)
    return SeedSpread(mean=found["mean"], std=None, n=1, ci95=(low, high) if low < high else None)


def _column(head: str, *path: str) -> Column:
    return head, partial(_number_at, path=path)


COLUMNS = {
    "distinct_train": _column("distinct: train", "distinct", "train", "cosine"),
    "distinct_test": _column("test", "distinct", "test", "cosine"),
    "distinct_noise": _column("noise", "distinct", "noise", "cosine"),
    "distinct_noise_images": _column("noise images", "distinct", "noise_images", "cosine"),
    "mem": _column("mem", "mem"),
    "null_unseen": _column("test images", "nulls", "unseen"),
    "null_noise": _column("noise images", "nulls", "noise"),
    "test_error": _column("test MSE", "test_error"),
    "train_error": _column("train MSE", "train_error"),
    "chamfer_noise": _column("Chamfer: noise", "chamfer", "noise"),
    "chamfer_noise_images": _column("noise images", "chamfer", "noise_images"),
    "fpr95_noise": _column("FPR95: noise", "separation", "noise", "fpr95_train"),
    "fpr95_noise_images": _column("noise images", "separation", "noise_images", "fpr95_train"),
    "norm_train": _column("norm of J: train", "spectral_norm", "train"),
    "norm_test": _column("test", "spectral_norm", "test"),
    "norm_noise": _column("noise", "spectral_norm", "noise"),
}
BRIEF = ("distinct_train", "distinct_noise", "mem", "null_unseen", "test_error", "chamfer_noise", "fpr95_noise")
NOTE = (
    "One row per checkpoint; epoch 0 is the untrained network. Distinct: distinct end points (cosine) as a share of "
    "the starts. mem: largest cosine between D(z*), from training starts, and a training image; the next columns are "
    "the same for unseen test images and for noise images. Chamfer: cosine similarity between end points from noise "
    "and from training images. FPR95: share of the noise trajectories that are accepted as training trajectories, by "
    "their mean distance to the nearest end point of a training start. Norm of J: spectral norm of the Jacobian of f "
    "at the starts. Noise is z ~ N(0, I), or the latent of an image of uniform noise (noise images). Intervals are "
    "over starts, images, or end points; with several seeds, mean and standard deviation over seeds."
)
RULES = {
    "change": Rule(
        "A measure falls if the 95 % bootstrap interval of its value at the last checkpoint minus that at the first "
        "checkpoint after the untrained network lies below 0 (rises: above 0). The claim does not hold if the interval "
        "lies on the other side, and is undecided otherwise. Seeds are resampled, and within each seed the starts, "
        "images or end points of both checkpoints; the end points that were found are taken as given. With one seed "
        "the interval is about that training only, and a mean over a single end point has no interval. An interval "
        "within 1e-6 of 0 is rounding error and includes 0. The levels, and the verdict on the change from the "
        "untrained network, are listed with it.",
        statistic="difference",
        from_baselines=True,
    ),
    "null": Rule(
        "mem is above a null level if the 95 % interval of the difference of means at the last checkpoint lies above "
        "0, by the same resampling. The claim does not hold if it lies below 0, and is undecided otherwise.",
        statistic="difference",
    ),
}
ROUNDING = 1e-6
"""Of float32: if all starts end in one point, similarities differ by this much."""
Samples = Mapping[str, Values]


@dataclass(frozen=True)
class Change:
    """The claim that a statistic falls (side -1) or rises (side 1).

    Attributes:
        samples: the names of a checkpoint's samples that it needs.
        statistic: its value (1,) from these samples, or with a generator its resamples (RESAMPLES,).
    """

    claim: str
    side: int
    samples: tuple[str, ...]
    statistic: Callable[..., Values]

    def of(self, checkpoint: Samples, rng: np.random.Generator | None = None) -> Values:
        """The statistic of a checkpoint."""
        return self.statistic(rng, *(checkpoint[name] for name in self.samples))


def _mean(rng: np.random.Generator | None, values: Values) -> Values:
    return np.array([values.mean()]) if rng is None else means(values, rng)


def _fpr95(rng: np.random.Generator | None, inside: Values, outside: Values) -> Values:
    if rng is None:
        return np.array([fpr95(inside, outside, higher="out")])
    drawn = ((rng.choice(inside, len(inside)), rng.choice(outside, len(outside))) for _ in range(RESAMPLES))
    return np.array([fpr95(a, b, higher="out") for a, b in drawn])


CHANGES = {
    "distinct_gap": Change(
        "the shares of distinct end points from noise and from training images approach each other",
        -1,
        ("share_noise", "share_train"),
        lambda rng, noise, train: np.abs(_mean(rng, noise) - _mean(rng, train)),
    ),
    "mem": Change("memorization of the attractors falls", -1, ("mem",), _mean),
    "test_error": Change("the test error falls", -1, ("test_error",), _mean),
    "chamfer_noise": Change(
        "the Chamfer similarity of end points from noise and from training images rises",
        1,
        ("to_noise", "from_noise"),
        lambda rng, there, back: (_mean(rng, there) + _mean(rng, back)) / 2,
    ),
    "fpr95_noise": Change(
        "FPR95 of noise trajectories against training trajectories falls", -1, ("score_train", "score_noise"), _fpr95
    ),
}
NULLS = {"null_unseen": "unseen test images", "null_noise": "images of uniform noise"}


def _claims(found: Sequence[Found[AcrossTraining]]) -> list[StudyClaim]:
    epochs = _epochs(found)
    samples = {epoch: [_samples(one, epoch) for one in found] for epoch in epochs}
    where, last = f"epoch {epochs[-1]}", samples[epochs[-1]]
    over_null = {name: difference_interval([(one["mem"], one[name]) for one in last]) for name in NULLS}
    return [
        *(_change(name, change, samples, epochs) for name, change in CHANGES.items()),
        *(above_null(where, NULLS[name], one, name=name, n=len(last)) for name, one in over_null.items()),
    ]


def _change(name: str, change: Change, samples: Mapping[int, Sequence[Samples]], epochs: Sequence[int]) -> StudyClaim:
    untrained, first, last = epochs[0], epochs[1], epochs[-1]
    found = difference(samples[last], samples[first], change)
    from_untrained = difference(samples[last], samples[untrained], change)
    named = {"untrained": untrained, f"epoch {first}": first, f"epoch {last}": last}
    return claimed(
        found,
        change.side,
        {f"epoch {first}": found, "the untrained network": from_untrained},
        name=name,
        claim=change.claim,
        rule="change",
        n=len(samples[last]),
        over="seeds",
        levels={label: _level(samples[epoch], change) for label, epoch in named.items()},
    )


def _level(seeds: Sequence[Samples], change: Change) -> float | None:
    there = all(len(one[name]) for one in seeds for name in change.samples)
    return float(np.mean([change.of(one)[0] for one in seeds])) if there else None


def difference(last: Sequence[Samples], first: Sequence[Samples], change: Change) -> Estimated:
    """The change of a statistic between two checkpoints, given the samples of each seed, and its interval by ``RULES``;
    None if they do not exist."""
    after, before = _level(last, change), _level(first, change)
    if after is None or before is None:
        return None, None
    if len(last) == 1 and any(len(one[name]) < 2 for one in (last[0], first[0]) for name in change.samples):
        return after - before, None
    rng = np.random.default_rng(0)
    resampled = [change.of(a, rng) - change.of(b, rng) for a, b in zip(last, first, strict=True)]
    low, high = over_seeds(np.stack(resampled), rng)
    return (0.0, (0.0, 0.0)) if max(-low, high) < ROUNDING else (after - before, (low, high))


def _epochs(found: Sequence[Found[AcrossTraining]]) -> list[int]:
    return sorted(int(epoch) for epoch in found[0].model.checkpoints)


def _samples(one: Found[AcrossTraining], epoch: int) -> Samples:
    start = f"{epoch}."
    return {name.removeprefix(start): values for name, values in one.arrays.items() if name.startswith(start)}


def _rows(found: Sequence[Found[AcrossTraining]]) -> Rows:
    return {epoch: [one.model.checkpoints[str(epoch)] for one in found] for epoch in _epochs(found)}


# Okabe and Ito's palette, one colour and mark for each kind of start.
STARTS = {
    "train": ("training images", "#D55E00", "o"),
    "test": ("test images", "#0072B2", "s"),
    "noise": ("noise, z ~ N(0, I)", "#4D4D4D", "^"),
    "noise_images": ("noise images", "#CC79A7", "v"),
}
Line = tuple[str, str, str, tuple[str, ...]]
"""Label, colour, mark, and the path to the value in a record."""


def training_figure(records: Mapping[str, dict[str, Any]], title: str) -> Figure:
    """Every measure against the checkpoint, with 95 % intervals if known."""
    with canvas(12, 7) as figure:
        for axes, (name, lines) in zip(figure.subplots(2, 3).flat, _panels().items(), strict=True):
            for line in lines:
                _draw(axes, list(records.values()), line)
            axes.set_xticks(range(len(records)), list(records), rotation=45 if len(records) > 8 else 0)
            axes.set_title(name, loc="left", fontsize=11)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=8)
            if not name.startswith(("squared error", "spectral norm")):
                axes.set_ylim(-0.03, 1.03)
            elif np.isfinite(axes.dataLim.minposy):  # dead units can leave a Jacobian of zeros
                axes.set_yscale("log")
            if name.startswith("spectral norm"):
                axes.axhline(1, color="#222222", ls=":", lw=1.2)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def _panels() -> dict[str, list[Line]]:
    others = ("test", "noise", "noise_images")
    return {
        "starts with distinct end points (cosine)": [(*STARTS[kind], ("distinct", kind, "cosine")) for kind in STARTS],
        "mem(z*) and its null levels": [
            ("attractors", "#D55E00", "o", ("mem",)),
            ("unseen test images", "#0072B2", "s", ("nulls", "unseen")),
            ("noise images", "#4D4D4D", "^", ("nulls", "noise")),
        ],
        "squared error": [(*STARTS[kind], (f"{kind}_error",)) for kind in ("train", "test")],
        "Chamfer cosine with training attractors": [(*STARTS[kind], ("chamfer", kind)) for kind in others],
        "FPR95 of noise (lower: separated)": [
            (f"{STARTS[noise][0]} | {inside}", STARTS[noise][1], mark, ("separation", noise, f"fpr95_{inside}"))
            for noise in ("noise", "noise_images")
            for inside, mark in (("train", "o"), ("test", "s"))
        ],
        "spectral norm of J, mean": [(*STARTS[kind], ("spectral_norm", kind)) for kind in STARTS],
    }


def _draw(axes: Axes, records: Sequence[dict[str, Any]], line: Line) -> None:
    label, colour, mark, path = line
    found = [(place, _number_at(record, path)) for place, record in enumerate(records)]
    points = [(place, one.mean, *(one.ci95 or (one.mean, one.mean))) for place, one in found if one]
    if points:
        x, y, low, high = np.array(points, dtype=np.float64).T
        bars = np.maximum([y - low, high - y], 0)
        axes.errorbar(x, y, yerr=bars, label=label, color=colour, marker=mark, markersize=4, lw=1.4, capsize=2)


def film_strip(images: NDArray[np.uint8], films: Mapping[str, NDArray[np.uint8]]) -> Figure:
    """Decoded end points of the same training starts, a row for each checkpoint, below the images themselves.

    Args:
        images: of the starts, (n, c, s, s). films: the decoded end points at each checkpoint, likewise.
    """
    rows = {"training\nimage": images, **films}
    title = "D(z*) of the end points of these images' latents"
    return picture_rows(rows, title, max(0.8 * len(images) + 1.6, 3.2), 0.8 * len(rows) + 0.5)


def _figures(name: str, data: StudySection, found: Sequence[Found[AcrossTraining]], results: StudyResults) -> Figures:
    epochs = [str(epoch) for epoch in _epochs(found)]
    made = {
        f"{name}_seed{one.model.seed}": training_figure(
            {epoch: one.model.checkpoints[epoch] for epoch in epochs},
            f"{name}, k = {one.model.k}, seed {one.model.seed}, by epoch; 0 is the untrained network",
        )
        for one in found
    }
    films = {f"epoch {epoch}": found[0].arrays[f"{epoch}.film"] for epoch in epochs}
    return {**made, f"{name}_film": film_strip(found[0].arrays["images"], films)}


def write_checkpoints(out: Path, content: Mapping[str, Any], arrays: Arrays, title: str) -> Table:
    """For ``probe checkpoints``: checkpoints.json (``content``), checkpoints.md, and the figures checkpoints and film.

    Args:
        arrays: as in a study's result, see ``probe.studies.sweeps.across_training``.

    Returns:
        The main columns; checkpoints.md has all.
    """
    records = content["checkpoints"]
    rows = points(COLUMNS, {name: [record] for name, record in records.items()})
    whole = table("checkpoint", COLUMNS, rows)
    film = film_strip(arrays["images"], {name: arrays[f"{name}.film"] for name in records})
    figures = {"checkpoints": training_figure(records, title), "film": film}
    markdown = {"checkpoints.md": markdown_table(whole.head, whole.rows) + "\n"}
    write(out, {**drawn(figures), **markdown}, "checkpoints", content)
    return table("checkpoint", COLUMNS, rows, BRIEF)


def _warnings(found: Sequence[Found[AcrossTraining]]) -> list[str]:
    warnings = ["one seed only; intervals are about one training."] if len(found) == 1 else []
    last = str(_epochs(found)[-1])
    for kind, source in SOURCES.items():
        outcomes = [one.model.checkpoints[last]["distinct"][kind]["outcomes"] for one in found]
        converged, starts = (sum(one["converged"] for one in outcomes), sum(sum(one.values()) for one in outcomes))
        if converged < starts / 2:
            warnings.append(
                f"at the last checkpoint {converged} of {starts} starts from {source} converged; the other end points "
                "are where the iteration stopped."
            )
    return warnings


SOURCES = {"train": "training images", "noise": "N(0, I)", "noise_images": "noise images"}
PAGE = StudyPage(
    axis="epoch",
    model=AcrossTraining,
    columns=COLUMNS,
    note=NOTE,
    rules=RULES,
    claims=_claims,
    figures=_figures,
    rows=_rows,
    brief=BRIEF,
    warnings=_warnings,
)
KIND = StudyKind("across_training", measure, PAGE)
