"""The page of an ``across_training`` study: every measure at every checkpoint (paper, Figure 3)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from pydantic import Field

from probe.metrics.interval import on_side
from probe.metrics.separation import fpr95
from probe.report.figures.across_training import film_strip, number_at, training_figure
from probe.report.study.page import Rule, StudyPage, first_seed, seed_spread
from probe.report.study.schema import Point, SeedSpread, StudyClaim, StudySection, TrainedModel
from probe.report.study.verdicts import RESAMPLES, Values, claimed, difference_interval, means, over_seeds
from probe.results.study import Found, StudyResults


class AcrossTraining(TrainedModel):
    """One model of an ``across_training`` study."""

    checkpoints: dict[str, dict[str, Any]] = Field(
        description="by epoch (0: the untrained network), as ``sweeps.across_training.measure_checkpoint`` returns"
    )


PATHS = {
    "distinct_train": ("distinct: train", ("distinct", "train", "cosine")),
    "distinct_test": ("test", ("distinct", "test", "cosine")),
    "distinct_noise": ("noise", ("distinct", "noise", "cosine")),
    "distinct_noise_images": ("noise images", ("distinct", "noise_images", "cosine")),
    "mem": ("mem", ("mem",)),
    "null_unseen": ("test images", ("nulls", "unseen")),
    "null_noise": ("noise images", ("nulls", "noise")),
    "test_error": ("test MSE", ("test_error",)),
    "train_error": ("train MSE", ("train_error",)),
    "chamfer_noise": ("Chamfer: noise", ("chamfer", "noise")),
    "chamfer_noise_images": ("noise images", ("chamfer", "noise_images")),
    "fpr95_noise": ("FPR95: noise", ("separation", "noise", "fpr95_train")),
    "fpr95_noise_images": ("noise images", ("separation", "noise_images", "fpr95_train")),
    "norm_train": ("norm of J: train", ("spectral_norm", "train")),
    "norm_test": ("test", ("spectral_norm", "test")),
    "norm_noise": ("noise", ("spectral_norm", "noise")),
}
"""Column heads, and the path to the number in a checkpoint's record."""
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
Statistic = Callable[[Samples, np.random.Generator | None], Values]
"""Of a checkpoint's samples: its value (1,), or with a generator its resamples (RESAMPLES,)."""


@dataclass(frozen=True)
class Change:
    """A claim that a statistic falls (side -1) or rises (side 1), and the samples that it needs."""

    claim: str
    side: int
    needed: tuple[str, ...]
    statistic: Statistic


def _mean(values: Values, rng: np.random.Generator | None) -> Values:
    return np.array([values.mean()]) if rng is None else means(values, rng)


def mean_of(name: str) -> Statistic:
    """The mean of one sample."""
    return lambda samples, rng: _mean(samples[name], rng)


def _gap(samples: Samples, rng: np.random.Generator | None) -> Values:
    return np.abs(_mean(samples["share_noise"], rng) - _mean(samples["share_train"], rng))


def _chamfer(samples: Samples, rng: np.random.Generator | None) -> Values:
    return (_mean(samples["to_noise"], rng) + _mean(samples["from_noise"], rng)) / 2


def _fpr95(samples: Samples, rng: np.random.Generator | None) -> Values:
    inside, outside = samples["score_train"], samples["score_noise"]
    if rng is None:
        return np.array([fpr95(inside, outside, higher="out")])
    drawn = ((rng.choice(inside, len(inside)), rng.choice(outside, len(outside))) for _ in range(RESAMPLES))
    return np.array([fpr95(a, b, higher="out") for a, b in drawn])


CHANGES = {
    "distinct_gap": Change(
        "the shares of distinct end points from noise and from training images approach each other",
        -1,
        ("share_noise", "share_train"),
        _gap,
    ),
    "mem": Change("memorization of the attractors falls", -1, ("mem",), mean_of("mem")),
    "test_error": Change("the test error falls", -1, ("test_error",), mean_of("test_error")),
    "chamfer_noise": Change(
        "the Chamfer similarity of end points from noise and from training images rises",
        1,
        ("to_noise", "from_noise"),
        _chamfer,
    ),
    "fpr95_noise": Change(
        "FPR95 of noise trajectories against training trajectories falls", -1, ("score_train", "score_noise"), _fpr95
    ),
}
NULLS = {"null_unseen": "unseen test images", "null_noise": "images of uniform noise"}


def _claims(found: Sequence[Found[AcrossTraining]]) -> list[StudyClaim]:
    epochs = _epochs(found)
    samples = {epoch: [_samples(one, epoch) for one in found] for epoch in epochs}
    return [
        *(_change(name, change, samples, epochs) for name, change in CHANGES.items()),
        *(_above(name, samples[epochs[-1]], epochs[-1]) for name in NULLS),
    ]


def _change(name: str, change: Change, samples: Mapping[int, Sequence[Samples]], epochs: Sequence[int]) -> StudyClaim:
    untrained, first, last = epochs[0], epochs[1], epochs[-1]
    needed, statistic, side = change.needed, change.statistic, change.side
    found = difference(samples[last], samples[first], needed, statistic)
    _, from_untrained = difference(samples[last], samples[untrained], needed, statistic)
    verdicts = {f"epoch {first}": on_side(found[1], side), "the untrained network": on_side(from_untrained, side)}
    named = {"untrained": untrained, f"epoch {first}": first, f"epoch {last}": last}
    levels = {label: _level(samples[epoch], needed, statistic) for label, epoch in named.items()}
    about = {"n": len(samples[last]), "over": "seeds", "by_value": verdicts, "levels": levels}
    return claimed(name, change.claim, side, "change", found, **about)


def _level(seeds: Sequence[Samples], needed: Sequence[str], statistic: Statistic) -> float | None:
    there = all(len(one[name]) for one in seeds for name in needed)
    return float(np.mean([statistic(one, None)[0] for one in seeds])) if there else None


def difference(
    last: Sequence[Samples], first: Sequence[Samples], needed: Sequence[str], statistic: Statistic
) -> tuple[float | None, tuple[float, float] | None]:
    """The change of a statistic between two checkpoints and its interval by ``RULES``; None if they do not exist.

    Args:
        last, first: the samples of each seed.
        needed: names of the samples that the statistic uses.
    """
    levels = _level(last, needed, statistic), _level(first, needed, statistic)
    if levels[0] is None or levels[1] is None:
        return None, None
    change = levels[0] - levels[1]
    if len(last) == 1 and any(len(one[name]) < 2 for one in (last[0], first[0]) for name in needed):
        return change, None
    rng = np.random.default_rng(0)
    resampled = [statistic(a, rng) - statistic(b, rng) for a, b in zip(last, first, strict=True)]
    low, high = over_seeds(np.stack(resampled), rng)
    return (0.0, (0.0, 0.0)) if max(-low, high) < ROUNDING else (change, (low, high))


def _above(name: str, last: Sequence[Samples], epoch: int) -> StudyClaim:
    claim = f"at epoch {epoch}, mem of the attractors exceeds that of {NULLS[name]}"
    found = difference_interval([(one["mem"], one[name]) for one in last])
    return claimed(name, claim, 1, "null", found, n=len(last), over="seeds")


def _epochs(found: Sequence[Found[AcrossTraining]]) -> list[int]:
    return sorted(int(epoch) for epoch in found[0].model.checkpoints)


def _samples(one: Found[AcrossTraining], epoch: int) -> Samples:
    start = f"{epoch}."
    return {name.removeprefix(start): values for name, values in one.arrays.items() if name.startswith(start)}


def _points(found: Sequence[Found[AcrossTraining]]) -> list[Point]:
    return [
        Point(
            value=epoch,
            columns={
                name: _column([number_at(one.model.checkpoints[str(epoch)], path) for one in found])
                for name, (_, path) in PATHS.items()
            },
        )
        for epoch in _epochs(found)
    ]


def _column(numbers: Sequence[tuple[float, float, float] | None]) -> SeedSpread:
    spread = seed_spread([None if number is None else number[0] for number in numbers])
    if len(numbers) == 1 and numbers[0] is not None and numbers[0][1] < numbers[0][2]:
        spread.ci95 = numbers[0][1:]
    return spread


def _figures(
    name: str, data: StudySection, found: Sequence[Found[AcrossTraining]], results: StudyResults
) -> Mapping[str, Figure | None]:
    made: dict[str, Figure | None] = {}
    for one in found:
        records = {str(epoch): one.model.checkpoints[str(epoch)] for epoch in _epochs(found)}
        title = f"{name}, k = {one.model.k}, seed {one.model.seed}, by epoch; 0 is the untrained network"
        made[f"{name}_seed{one.model.seed}"] = training_figure(records, title)
    (one, *_) = first_seed(found)
    films = {f"epoch {epoch}": one.arrays[f"{epoch}.film"] for epoch in _epochs(found)}
    return {**made, f"{name}_film": film_strip(one.arrays["images"], films)}


def _warnings(found: Sequence[Found[AcrossTraining]]) -> list[str]:
    warnings = []
    if len(found) == 1:
        warnings.append("one seed only; intervals are about one training.")
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
    heads={name: head for name, (head, _) in PATHS.items()},
    brief=("distinct_train", "distinct_noise", "mem", "null_unseen", "test_error", "chamfer_noise", "fpr95_noise"),
    note=NOTE,
    rules=RULES,
    points=_points,
    claims=_claims,
    figures=_figures,
    warnings=_warnings,
)
