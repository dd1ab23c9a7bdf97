"""From measures of every image and cycle to means, medians and differences.

| symbol | meaning | shape |
|---|---|---|
| v | a measure of n images after cycles 0..T; NaN where there is none | (n, T + 1) |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe.dynamics import Outcome
from probe.measures import IDENTITY, MARKS, MEASURES
from probe.metrics.images import LOSSLESS, for_means
from probe.metrics.interval import Interval, mean_interval, mean_intervals
from probe.report.roundtrip.schema import Curve, Difference, Extreme, RfidAfter, Series, Settled, Spectrum, Until
from probe.report.run.schema import Mean
from probe.results.roundtrip import TripResults

Array = NDArray[np.float64]
LATENT = ("norm", "moved", "from_start")
"""Measures that are divided by ||z_0||, image by image, so that models can be compared."""
COMPARED = ("psnr", "ssim", "lpips", "ciede2000")
"""Measures whose differences are reported."""
ATTRACTOR, NO_ATTRACTOR, NOT_EXAMINED = 1, 0, -2


@dataclass(frozen=True)
class Measured:
    """A model, what happens between cycles, and images: of one data set, or of all of them.

    Attributes:
        images: data set, position and id of every image.
        values: by measure, v.
        places: distinct fixed points and cycles; None for several data sets.
        arrays: by name the tensors that have a row per image, see ``layout.TRIP_TENSORS``.
        rfid: of the whole set, as in the file; None if it was not measured, and for several data sets.
    """

    model: str
    between: str
    images: list[tuple[str, int, str]]
    values: dict[str, Array]
    places: int | None
    arrays: dict[str, NDArray[Any]]
    rfid: list[dict[str, Any]] | None = None

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Which pictures there are (n, T + 1): an image that has diverged has none."""
        return ~np.isnan(self.values["psnr"])


def measured(found: TripResults) -> Measured:
    """The results of a data set as arrays."""
    values = {}
    for one in MEASURES:
        curve = found.curve(one.name)
        if curve is not None:
            values[one.name] = curve.to_numpy(np.float64)
    if "norm" in values:
        start = values["norm"][:, :1]
        values |= {name: values[name] / np.where(start > 0, start, np.nan) for name in LATENT}
    first = found.rows[found.rows["cycle"] == 0].sort_values("image")
    names = [(found.trip.dataset, int(row.image), str(row.id)) for row in first.itertuples()]
    n = len(names)
    film = ("film", "film_images", "film_cycles", "bands")
    arrays = {key: one.numpy() for key, one in found.tensors.items() if key not in film and len(one) == n}
    about = found.about
    return Measured(found.trip.model, found.trip.between, names, values, about["places"], arrays, about.get("rfid"))


def joined(parts: Sequence[Measured]) -> Measured:
    """All data sets of a model and setting as one; what one of them lacks is left out."""
    if len(parts) == 1:
        return parts[0]
    names = [name for name in parts[0].values if all(name in one.values for one in parts)]
    keys = [key for key in parts[0].arrays if all(key in one.arrays for one in parts)]
    return Measured(
        parts[0].model,
        parts[0].between,
        [image for one in parts for image in one.images],
        {name: np.concatenate([one.values[name] for one in parts]) for name in names},
        None,
        {key: np.concatenate([one.arrays[key] for one in parts]) for key in keys},
    )


def series(found: Measured, drawn: Sequence[int], shown: Sequence[int], seed: int) -> Series:
    """Everything that the report says of it."""
    psnr = found.values["psnr"]
    last = np.where(found.finite[:, -1], psnr[:, -1], -np.inf)
    values, lossless = _for_means(found.values)
    known = {name: (~np.isnan(one[:, list(drawn)])).sum(axis=0).tolist() for name, one in values.items()}
    curves = {name: _curve(one, known[name]) for name, one in _means(values, drawn, seed).items()}
    if lossless[list(drawn)].any():
        curves["psnr"].lossless = lossless[list(drawn)].tolist()
    arrays = found.arrays
    return Series(
        model=found.model,
        between=found.between,
        n=len(psnr),
        not_finite=int((~found.finite[:, -1]).sum()),
        lossless=bool(np.isposinf(psnr).all()),
        curves={name: one for name, one in curves.items() if any(mean is not None for mean in one.mean)},
        until={mark.name: until(arrays[f"until/{mark.name}"]) for mark in MARKS},
        settled=_settled(found),
        spectra=_spectra(found, shown),
        worst=_extreme(found, int(last.argmin())),
        best=_extreme(found, int(last.argmax())),
        rfid=None if found.rfid is None else [RfidAfter.model_validate(one) for one in found.rfid],
    )


def until(first: NDArray[np.int64]) -> Until:
    """From the first cycle (n,) of every image, -1 for never: the lower median, with a distribution-free interval."""
    from scipy.stats import quantile_test

    late = np.sort(np.where(first < 0, np.inf, first).astype(float))
    ends = quantile_test(late, q=0, p=0.5).confidence_interval(0.95) if len(late) > 1 else (np.nan, np.nan)
    median, low, high = (int(x) if np.isfinite(x) else None for x in (late[(len(late) - 1) // 2], *ends))
    return Until(median=median, low=low, high=high, never=int((first < 0).sum()))


def differences(sets: Sequence[Measured], shown: Sequence[int], seed: int) -> list[Difference]:
    """Each model against the first one, and each setting against the first one, on the same images."""
    models = list(dict.fromkeys(one.model for one in sets if one.model != IDENTITY))
    betweens = list(dict.fromkeys(one.between for one in sets))
    of = {(one.model, one.between): one for one in sets}
    pairs = [((model, b), (models[0], b)) for model in models[1:] for b in betweens]
    pairs += [((model, b), (model, betweens[0])) for model in models for b in betweens[1:]]
    return [_difference(of[mine], of[other], shown, seed) for mine, other in pairs]


def _difference(mine: Measured, other: Measured, shown: Sequence[int], seed: int) -> Difference:
    both = [name for name in COMPARED if name in mine.values and name in other.values]
    (left, _), (right, _) = _for_means(mine.values), _for_means(other.values)
    gaps = {name: left[name] - right[name] for name in both}
    lossless = [int((mine.finite & other.finite & np.isnan(gaps["psnr"]))[:, cycle].sum()) for cycle in shown]
    known = {name: gap for name, gap in gaps.items() if not np.isnan(gap).all()}
    found = _means(known, shown, seed)
    measures = {name: [Mean(mean=one.mean, ci95=one.ci95) for one in of_it] for name, of_it in found.items()}
    return Difference(
        model=mine.model,
        between=mine.between,
        against_model=other.model,
        against_between=other.between,
        measures=measures,
        lossless=lossless if any(lossless) else None,
    )


def _for_means(values: Mapping[str, Array]) -> tuple[dict[str, Array], NDArray[np.int64]]:
    """The measures with PSNR as its means take it, and how many pictures are lossless after each cycle (T + 1,)."""
    psnr, lossless = for_means(values["psnr"])
    return {**values, "psnr": psnr}, lossless


def means(values: Array, seed: int) -> list[Interval]:
    """The mean of every column (n, k) over the rows that have a number there, with its interval."""
    known = ~np.isnan(values)
    whole = known.all(axis=0)
    found = [Interval(float("nan"), None, None)] * values.shape[1]
    for place, one in zip(np.flatnonzero(whole), mean_intervals(values[:, whole], seed=seed), strict=True):
        found[place] = one
    for place in np.flatnonzero(~whole & known.any(axis=0)):
        found[place] = mean_interval(values[known[:, place], place], seed=seed)
    return found


def _means(values: Mapping[str, Array], cycles: Sequence[int], seed: int) -> dict[str, list[Interval]]:
    """``means`` of every measure after these cycles, all over the same resamples, which are drawn once."""
    if not values:
        return {}
    columns = [one[:, list(cycles)] for one in values.values()]
    found = iter(means(np.concatenate(columns, axis=1), seed))
    return {name: list(islice(found, len(cycles))) for name in values}


def _curve(found: Sequence[Interval], n: list[int]) -> Curve:
    mean = [one.mean if np.isfinite(one.mean) else None for one in found]
    return Curve(mean=mean, low=[one.low for one in found], high=[one.high for one in found], n=n)


def _settled(found: Measured) -> Settled:
    arrays = found.arrays
    outcome, certificate = arrays["outcome"], arrays["certificate"]
    stays = (outcome == Outcome.CONVERGED) | (outcome == Outcome.CYCLE)
    converged = outcome == Outcome.CONVERGED
    at = arrays.get("attractor")
    return Settled(
        outcomes={one.label: int((outcome == one).sum()) for one in Outcome},
        examined=int((converged & (certificate != NOT_EXAMINED)).sum()),
        certified=int((converged & (certificate == ATTRACTOR)).sum()),
        not_attractors=int((converged & (certificate == NO_ATTRACTOR)).sum()),
        places=found.places,
        cycle=until(np.where(stays, arrays["settled"], -1)),
        at_attractors=None if at is None else int((at >= 0).sum()),
        attractors=None if at is None else len(np.unique(at[at >= 0])),
    )


def _spectra(found: Measured, shown: Sequence[int]) -> list[Spectrum]:
    """Means in dB over the pictures that are finite."""
    spectrum, spectra = found.arrays["spectrum"].astype(np.float64), []
    for cycle in shown:
        of_it = spectrum[found.finite[:, cycle], cycle]
        gain = of_it.mean(axis=0) if len(of_it) else np.full(spectrum.shape[2], np.nan)
        spectra.append(Spectrum(cycle=cycle, gain=[float(x) if np.isfinite(x) else None for x in gain]))
    return spectra


def _extreme(found: Measured, row: int) -> Extreme:
    dataset, image, name = found.images[row]
    first, last = (float(found.values["psnr"][row, cycle].clip(max=LOSSLESS)) for cycle in (1, -1))
    ends = {"first": None if np.isnan(first) else first, "last": None if np.isnan(last) else last}
    return Extreme(image=image, id=name, dataset=dataset, **ends)
