"""The page of an ``across_training`` study: every measure at every checkpoint (paper, Figure 3)."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from probe.metrics.interval import on_side
from probe.metrics.separation import fpr95
from probe.report.figures.checkpoints import film_strip, number_at, training_figure
from probe.report.study.page import Page, first_seed, spread
from probe.report.study.schema import Checkpoints, Claim, DatasetReport, Point, Spread
from probe.report.study.verdicts import RESAMPLES, Values, difference_interval, means, over_seeds
from probe.results.study import Found, StudyResults

PATHS = {
    "distinct_train": ("end apart: train", ("distinct", "train", "cosine")),
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
"""Heads of the table, and where a checkpoint's record has the number."""
NOTE = (
    "A row a checkpoint; epoch 0 is the untrained network. End apart: distinct end points (cosine) as a share of the "
    "starts. mem: largest cosine of D(z*), of training starts, and a training image; behind it the same of unseen test "
    "images and of noise images. Chamfer: cosine similarity of the end points from noise and those from training "
    "images. FPR95: share of the noise trajectories that pass for training trajectories, by their mean distance to the "
    "nearest end point of a training start. Norm of J: spectral norm of the Jacobian of f at the starts. Noise is "
    "z ~ N(0, I) or, apart, the latent of an image of uniform noise. Intervals are over starts, images, or end points; "
    "with several seeds, mean and standard deviation over seeds."
)
RULES = {
    "change": (
        "A measure falls if the 95 % bootstrap interval of its value at the last checkpoint minus that at the first "
        "one after the untrained network lies below 0 (rises: above); the claim does not hold if it lies on the other "
        "side, and is undecided otherwise. Seeds are resampled, and in each seed the starts, images or end points of "
        "both checkpoints; the end points that were found are taken as given. With one seed the interval is about that "
        "training only; where it has one end point at a checkpoint, a mean over end points has no interval there. An "
        "interval within 1e-6 of 0 is rounding, and includes 0. Beside it: the levels, and the same verdict on the "
        "change from the untrained network."
    ),
    "null": (
        "mem is above a null level if the 95 % interval of the difference of means at the last checkpoint lies above "
        "0, by the same resampling; the claim does not hold if it lies below, and is undecided otherwise."
    ),
}
ROUNDING = 1e-6
"""Of float32: where starts end in one point, similarities differ by this."""
Samples = Mapping[str, Values]
Change = Callable[[Samples, np.random.Generator | None], Values]
"""A statistic of a checkpoint's samples (1,), or its resamples (RESAMPLES,) where there is a generator."""


def _mean(values: Values, rng: np.random.Generator | None) -> Values:
    return np.array([values.mean()]) if rng is None else means(values, rng)


def _mean_of(name: str) -> Change:
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


CHANGES: dict[str, tuple[str, int, tuple[str, ...], Change]] = {
    "distinct_gap": (
        "the shares of distinct end points from noise and from training images come together",
        -1,
        ("share_noise", "share_train"),
        _gap,
    ),
    "mem": ("memorization of the attractors falls", -1, ("mem",), _mean_of("mem")),
    "test_error": ("the test error falls", -1, ("test_error",), _mean_of("test_error")),
    "chamfer_noise": (
        "the Chamfer similarity of end points from noise and from training images rises",
        1,
        ("to_noise", "from_noise"),
        _chamfer,
    ),
    "fpr95_noise": (
        "FPR95 of noise trajectories against training trajectories falls",
        -1,
        ("score_train", "score_noise"),
        _fpr95,
    ),
}
"""The claim, its side, the samples that it needs, and the statistic."""
NULLS = {"null_unseen": "unseen test images", "null_noise": "images of uniform noise"}


def _claims(found: Sequence[Found[Checkpoints]]) -> list[Claim]:
    epochs = _epochs(found)
    samples = {epoch: [_samples(one, epoch) for one in found] for epoch in epochs}
    return [
        *(_change(name, samples, epochs) for name in CHANGES),
        *(_above(name, samples[epochs[-1]], epochs[-1]) for name in NULLS),
    ]


def _change(name: str, samples: Mapping[int, list[Samples]], epochs: Sequence[int]) -> Claim:
    claim, side, needed, statistic = CHANGES[name]
    untrained, first, last = epochs[0], epochs[1], epochs[-1]
    levels = {epoch: _level(samples[epoch], needed, statistic) for epoch in (untrained, first, last)}
    change, ci95 = _difference(samples[last], samples[first], needed, statistic)
    _, from_untrained = _difference(samples[last], samples[untrained], needed, statistic)
    return Claim(
        name=name,
        claim=claim,
        result=on_side(ci95, side),
        rule="change",
        statistic=change,
        ci95=ci95,
        n=len(samples[last]),
        over="seeds",
        by_value={f"epoch {first}": on_side(ci95, side), "the untrained network": on_side(from_untrained, side)},
        levels={"untrained": levels[untrained], f"epoch {first}": levels[first], f"epoch {last}": levels[last]},
    )


def _level(seeds: Sequence[Samples], needed: Sequence[str], statistic: Change) -> float | None:
    there = all(len(one[name]) for one in seeds for name in needed)
    return float(np.mean([statistic(one, None)[0] for one in seeds])) if there else None


def _difference(
    last: Sequence[Samples], first: Sequence[Samples], needed: Sequence[str], statistic: Change
) -> tuple[float | None, tuple[float, float] | None]:
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


def _above(name: str, last: Sequence[Samples], epoch: int) -> Claim:
    difference, ci95 = difference_interval([(one["mem"], one[name]) for one in last])
    return Claim(
        name=name,
        claim=f"at epoch {epoch}, mem of the attractors exceeds that of {NULLS[name]}",
        result=on_side(ci95, 1),
        rule="null",
        statistic=difference,
        ci95=ci95,
        n=len(last),
        over="seeds",
    )


def _epochs(found: Sequence[Found[Checkpoints]]) -> list[int]:
    return sorted(int(epoch) for epoch in found[0].model.checkpoints)


def _samples(one: Found[Checkpoints], epoch: int) -> Samples:
    start = f"{epoch}."
    return {name.removeprefix(start): values for name, values in one.arrays.items() if name.startswith(start)}


def _points(found: Sequence[Found[Checkpoints]]) -> list[Point]:
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


def _column(numbers: Sequence[tuple[float, float, float] | None]) -> Spread:
    over = spread([None if number is None else number[0] for number in numbers])
    if len(numbers) == 1 and numbers[0] is not None and numbers[0][1] < numbers[0][2]:
        over.ci95 = numbers[0][1:]
    return over


def _figures(
    name: str, data: DatasetReport, found: Sequence[Found[Checkpoints]], results: StudyResults
) -> Mapping[str, Figure | None]:
    made: dict[str, Figure | None] = {}
    for one in found:
        records = {str(epoch): one.model.checkpoints[str(epoch)] for epoch in _epochs(found)}
        title = f"{name}, k = {one.model.k}, seed {one.model.seed}, by epoch; 0 is the untrained network"
        made[f"{name}_seed{one.model.seed}"] = training_figure(records, title)
    (one, *_) = first_seed(found)
    films = {f"epoch {epoch}": one.arrays[f"{epoch}.film"] for epoch in _epochs(found)}
    return {**made, f"{name}_film": film_strip(one.arrays["images"], films)}


def _warnings(found: Sequence[Found[Checkpoints]]) -> list[str]:
    warnings = []
    if len(found) == 1:
        warnings.append("one seed only; intervals are about one training.")
    last = str(_epochs(found)[-1])
    for kind in SOURCES:
        outcomes = [one.model.checkpoints[last]["distinct"][kind]["outcomes"] for one in found]
        converged, starts = (sum(one["converged"] for one in outcomes), sum(sum(one.values()) for one in outcomes))
        if converged < starts / 2:
            warnings.append(
                f"at the last checkpoint {converged} of {starts} starts from {SOURCES[kind]} converged; the other "
                "end points are where the iteration stopped."
            )
    return warnings


SOURCES = {"train": "training images", "noise": "N(0, I)", "noise_images": "noise images"}
PAGE = Page(
    axis="epoch",
    model=Checkpoints,
    heads={name: head for name, (head, _) in PATHS.items()},
    brief=("distinct_train", "distinct_noise", "mem", "null_unseen", "test_error", "chamfer_noise", "fpr95_noise"),
    note=NOTE,
    rules=RULES,
    points=_points,
    claims=_claims,
    figures=_figures,
    warnings=_warnings,
)
