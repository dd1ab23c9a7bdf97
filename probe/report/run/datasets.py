"""The errors of one data set: means, paired differences and ratios, comparisons and the verdict."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from probe.methods import AUTOENCODER, BASELINE, OURS, SANITY, default_controls, methods, metrics
from probe.report.run import schema
from probe.report.run.decomposition import decomposition
from probe.report.run.sample import Column, Key, Sample
from probe.report.run.starts import starts_report
from probe.report.run.verdict import JUDGED, against_bases, controls, result, strongest, verdict
from probe.results.run import Reconstructions


def dataset_report(
    data: Reconstructions, manifest: dict[str, Any], asked: Iterable[str], subject: str, confidence: float
) -> schema.DatasetErrors:
    """Everything that a report says about one data set.

    Args:
        manifest: its entry in the manifest.
        asked: names in ``sparse.controls``.
        subject: what to call the dictionary's atoms.
        confidence: of simultaneous intervals.
    """
    sample = Sample(_columns(data.rows), _single_bases(data.bases), confidence)
    levels = _levels(data.rows, sample)
    at_five = next((level for level in levels if level.atoms == data.facts["five_percent"]), None)
    comparisons = _comparisons(sample, at_five)
    verdicts: dict[str, str] = {metric: verdict(subject, metric, at_five, comparisons) for metric in JUDGED}
    return schema.DatasetErrors(
        **{key: manifest[key] for key in ("source", "n_planned", "n_used", "n_heldout")},
        sha256=manifest.get("sha256"),
        unreadable=[str(name) for name in manifest["unreadable"]],
        notes=manifest.get("notes", []),
        five_percent=data.facts["five_percent"],
        method_atoms=data.facts["method_atoms"],
        absent=_absent(data, set(asked)),
        autoencoder_floor=_floor(sample),
        sanity=_sanity(sample, at_five, manifest),
        verdict=verdicts["latent_mse"],
        verdicts=verdicts,
        comparisons=comparisons,
        decomposition=decomposition(sample, data.facts["five_percent"], subject),
        levels=levels,
        perception=data.facts.get("perception"),
        starts=starts_report(
            data.subsets, sample, data.facts["five_percent"], data.facts["method_atoms"].get(BASELINE)
        ),
    )


def _columns(rows: pd.DataFrame) -> dict[Key, Column]:
    # Sorted by image, rows of different methods stand side by side: that is what makes differences paired.
    return {
        Key(metric, method, int(atoms)): found[metric].to_numpy(np.float64)
        for (method, atoms), found in rows.sort_values("image").groupby(["method", "atoms"])
        for metric in metrics()
    }


def _single_bases(rows: pd.DataFrame) -> dict[Key, list[Column]]:
    """The same for each random basis, in order."""
    found: dict[Key, list[Column]] = {}
    for _, one in rows.groupby("basis"):
        for key, column in _columns(one).items():
            found.setdefault(key, []).append(column)
    return found


def _levels(rows: pd.DataFrame, sample: Sample) -> list[schema.LevelReport]:
    known = methods()
    rows = rows[rows["method"].isin(known)]
    used = rows.groupby(["method", "atoms"])["atoms_used"].max()
    levels = []
    for atoms, fraction in rows.groupby("atoms")["fraction"].first().items():
        present = [name for name in known if Key("latent_mse", name, atoms) in sample]
        best = strongest({name: sample.mean(Key("latent_mse", name, atoms)).mean for name in present})
        errors = {name: _errors(sample, name, atoms, int(used[name, atoms]), best) for name in present}
        levels.append(schema.LevelReport(atoms=atoms, fraction=float(fraction), strongest=best, methods=errors))
    return levels


def _errors(sample: Sample, method: str, atoms: int, used: int, best: str | None) -> schema.MethodErrors:
    own = {metric: Key(metric, method, atoms) for metric in metrics()}
    return schema.MethodErrors(
        atoms_used=used,
        floor_ratio=sample.plain_ratio(own["pixel_mse"], _alone(sample).get("pixel_mse")),
        difference=_difference(sample, own, BASELINE),
        difference_strongest=_difference(sample, own, best) if best and method == OURS else None,
        bases={metric: _spread(sample.bases[key]) for metric, key in own.items()} if method == BASELINE else None,
        **{metric: sample.mean(key) for metric, key in own.items()},
    )


def _difference(sample: Sample, own: dict[str, Key], to: str) -> schema.Difference | None:
    latent, pixel = ((own[metric], own[metric]._replace(method=to)) for metric in ("latent_mse", "pixel_mse"))
    if to == latent[0].method or latent[1] not in sample:
        return None
    return schema.Difference(
        to=to,
        latent_mse=sample.difference(*latent),
        pixel_mse=sample.difference(*pixel),
        latent_ratio=sample.ratio(*latent),
        pixel_ratio=sample.ratio(*pixel),
    )


def _spread(columns: Sequence[Column]) -> schema.Bases:
    means = np.array([column.mean() for column in columns])
    if not np.isfinite(means).all():
        return schema.Bases(n=len(means), min=None, max=None, sd=None)
    return schema.Bases(
        n=len(means), min=means.min(), max=means.max(), sd=means.std(ddof=1) if len(means) > 1 else None
    )


def _comparisons(sample: Sample, level: schema.LevelReport | None) -> list[schema.ControlComparison]:
    if level is None or OURS not in level.methods:
        return []
    pairs = [(metric, name) for metric in JUDGED for name in controls() if name in level.methods]
    return [_comparison(sample, level, metric, name) for metric, name in pairs]


def _comparison(sample: Sample, level: schema.LevelReport, metric: schema.Judged, to: str) -> schema.ControlComparison:
    mine, other = Key(metric, OURS, level.atoms), Key(metric, to, level.atoms)
    difference = sample.difference(mine, other)
    said = schema.ControlComparison(
        to=to,
        metric=metric,
        attractors=level.methods[OURS].of(metric).mean,
        other=level.methods[to].of(metric).mean,
        difference=difference,
        ratio=sample.ratio(mine, other),
        result=result(difference.mean, difference.simultaneous, len(sample)),
    )
    if to == BASELINE:
        singles = [sample.simultaneous(sample.columns[mine], one) for one in sample.bases[other]]
        said.result, said.bases_beaten = against_bases(said.result, singles)
        said.bases = len(singles)
    return said


def _alone(sample: Sample) -> dict[str, Key]:
    """The columns of the autoencoder alone, by metric."""
    return {key.metric: key for key in sample.columns if key.method == AUTOENCODER.name}


def _floor(sample: Sample) -> schema.Floor:
    floors = {metric: sample.mean(key) for metric, key in _alone(sample).items()}
    return schema.Floor(**{metric: floors.get(metric, schema.NONE) for metric in metrics() if metric != "latent_mse"})


def _sanity(sample: Sample, level: schema.LevelReport | None, manifest: dict[str, Any]) -> dict[str, schema.Sanity]:
    """Rows without a code, and how the dictionary and the autoencoder compare with them in pixels."""
    n, heldout = manifest["n_used"], manifest["n_heldout"]
    of = f"{heldout} held-out images" if heldout else f"{n} test images themselves"
    own, alone = Key("pixel_mse", OURS, level.atoms) if level else None, _alone(sample).get("pixel_mse")
    return {
        one.name: schema.Sanity(
            explanation=one.explanation.format(of=of),
            attractors_ratio=sample.plain_ratio(own, Key("pixel_mse", one.name, 0)),
            autoencoder_ratio=sample.plain_ratio(alone, Key("pixel_mse", one.name, 0)),
            **{metric: sample.mean(Key(metric, one.name, 0)) for metric in metrics()},
        )
        for one in SANITY
        if Key("pixel_mse", one.name, 0) in sample
    }


def _absent(data: Reconstructions, controls: set[str]) -> dict[str, str]:
    """Methods without rows, with the reason; a plug-in's control counts only if the configuration names it."""
    stated, present = data.facts.get("absent", {}), set(data.rows["method"])
    wanted = {OURS, *controls}
    return {
        name: stated.get(name, "no rows in the results" if name in wanted else "left out of sparse.controls")
        for name in methods()
        if name in {*wanted, *default_controls()} - present
    }
