"""Errors of one data set: means, paired differences, comparisons and the verdict."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probe.metrics.interval import Interval, mean_intervals
from probe.report.methods import METHODS, METRICS
from probe.report.read import Reconstructions
from probe.report.schema import BASELINE, Comparison, DatasetReport, Difference, Floor, LevelReport, Mean, MethodErrors
from probe.report.verdict import opponents, result, verdict


class Key(NamedTuple):
    """One column of numbers over images: a method's error, or its difference to another method's."""

    metric: str
    method: str
    atoms: int
    to: str | None = None


Means = dict[Key, Mean]


def dataset_report(
    data: Reconstructions, manifest: dict[str, Any], controls: Iterable[str], subject: str
) -> DatasetReport:
    """Everything that is said of one data set.

    Args:
        data: its rows and their metadata.
        manifest: its entry in the manifest.
        controls: the methods that the configuration asks for.
        subject: what the dictionary's atoms may be called.
    """
    means, used = _means(data)
    fractions = data.rows.groupby("atoms")["fraction"].first()
    levels = [
        LevelReport(atoms=atoms, fraction=float(fractions[atoms]), methods=methods)
        for atoms in sorted({key.atoms for key in means})
        if (methods := _methods(means, used, atoms))
    ]
    five = data.facts["five_percent"]
    at_five = next((level for level in levels if level.atoms == five), None)
    comparisons = _comparisons(means, at_five)
    return DatasetReport(
        source=manifest["source"],
        sha256=manifest.get("sha256"),
        n_planned=manifest["n_planned"],
        n_used=manifest["n_used"],
        n_heldout=manifest["n_heldout"],
        unreadable=[str(name) for name in manifest["unreadable"]],
        five_percent=five,
        method_atoms=data.facts["method_atoms"],
        absent=_absent(data, set(controls)),
        autoencoder_floor=_floor(means),
        verdict=verdict(subject, at_five, comparisons),
        comparisons=comparisons,
        levels=levels,
    )


def _means(data: Reconstructions) -> tuple[Means, dict[tuple[str, int], int]]:
    """Means with intervals of every column, all from the same resamples; and the atoms used by (method, level)."""
    values: dict[Key, NDArray[np.float64]] = {}
    used = {}
    # Sorted by image, rows of different methods stand side by side: that is what makes differences paired.
    for (method, atoms), rows in data.rows.sort_values("image").groupby(["method", "atoms"]):
        used[method, atoms] = int(rows["atoms_used"].max())
        for metric in METRICS:
            values[Key(metric, method, int(atoms))] = rows[metric].to_numpy(np.float64)
    for key, column in list(values.items()):
        for to in METHODS:
            other = values.get(key._replace(method=to))
            # Every method against the baseline; at every level the dictionary also against every control.
            if other is not None and to != key.method and (to == BASELINE or key.method == "attractors"):
                both = np.isfinite(column) & np.isfinite(other)
                values[key._replace(to=to)] = np.where(both, column, np.nan) - np.where(both, other, 0.0)
    intervals = mean_intervals(np.stack(list(values.values()), axis=1))
    return {key: mean_of(interval) for key, interval in zip(values, intervals, strict=True)}, used


def mean_of(interval: Interval) -> Mean:
    """As the schema has it: null where a number does not exist."""
    mean = interval.mean if np.isfinite(interval.mean) else None
    return Mean(mean=mean, ci95=interval.ci95)


def _methods(means: Means, used: dict[tuple[str, int], int], atoms: int) -> dict[str, MethodErrors]:
    methods = {}
    for name in METHODS:
        if Key("latent_mse", name, atoms) not in means:
            continue
        difference = None
        if Key("latent_mse", name, atoms, BASELINE) in means:
            latent, pixel = (means[Key(metric, name, atoms, BASELINE)] for metric in ("latent_mse", "pixel_mse"))
            difference = Difference(to=BASELINE, latent_mse=latent, pixel_mse=pixel)
        own = {metric: means[Key(metric, name, atoms)] for metric in METRICS}
        methods[name] = MethodErrors(atoms_used=used[name, atoms], difference=difference, **own)
    return methods


def _comparisons(means: Means, level: LevelReport | None) -> list[Comparison]:
    if level is None or "attractors" not in level.methods:
        return []
    comparisons = []
    for to in opponents(level):
        difference = means[Key("latent_mse", "attractors", level.atoms, to)]
        comparisons.append(
            Comparison(
                to=to,
                attractors=level.methods["attractors"].latent_mse.mean,
                other=level.methods[to].latent_mse.mean,
                difference=difference,
                result=result(difference),
            )
        )
    return comparisons


def _floor(means: Means) -> Floor:
    floors = {key.metric: mean for key, mean in means.items() if key.method == "autoencoder"}
    none = Mean(mean=None, ci95=None)
    return Floor(**{metric: floors.get(metric, none) for metric in METRICS if metric != "latent_mse"})


def _absent(data: Reconstructions, controls: set[str]) -> dict[str, str]:
    stated = data.facts.get("absent", {})
    missing = [name for name in METHODS if name not in set(data.rows["method"])]
    left_out = {name: "left out of sparse.controls" for name in METHODS[1:] if name not in controls}
    return {name: stated.get(name, left_out.get(name, "no rows in the results")) for name in missing}
