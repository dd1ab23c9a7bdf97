"""The report of a run, built from results."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from probe.dynamics import Outcome
from probe.errors import UserError
from probe.methods import BORROWED, subject
from probe.metrics.interval import RESAMPLES
from probe.report.model import dump, finite
from probe.report.run.basins import basins_report
from probe.report.run.datasets import dataset_report
from probe.report.run.schema import Report
from probe.report.run.summary import summary, warnings
from probe.report.run.verdict import JUDGED, comparisons_among, confidence, headline, rule
from probe.results.run import Results, read_results
from probe.semantics import MISSING

COUNTS = ("leader", "basin", "steps")
NUMBERS = ("residual", "spectral_radius", "radius_error", "spectral_norm", "predicted_steps")
CERTIFICATES = {1: "attractor", 0: "not an attractor", -1: "undecided"}


def build_report(run: Path) -> dict[str, Any]:
    """Compute the report of a run directory; writes nothing.

    Returns:
        The content of report.json (``probe.report.run.schema.Report``, key by key), free of NaN and infinity.

    Raises:
        UserError: a file of the run is missing, truncated, or contradicts another.
    """
    return dump(report_of(read_results(run), run))


def report_of(results: Results, run: Path) -> Report:
    """The report of results already read; ``run`` names the folder in errors."""
    try:
        report = _assemble(results)
    except (KeyError, ValueError) as error:  # a ValidationError is a ValueError
        key = error.errors()[0]["loc"] if isinstance(error, ValidationError) else error
        raise UserError(
            f"{run}: a result file has unexpected content (at {key}): delete the file and rerun `probe run`."
        ) from error
    report.summary, report.warnings = summary(report), warnings(report)
    found = [data.comparisons for data in report.datasets.values()]
    report.headline = {metric: headline(report.subject, metric, found) for metric in JUDGED} if found else {}
    return report


def _assemble(results: Results) -> Report:
    manifest, dictionary = results.manifest, _dictionary(results)
    own = subject(dictionary["certificates"]["certified"], dictionary["atoms"])
    name = BORROWED if results.borrowed else own
    tables = [data.rows for data in results.datasets.values()]
    m = sum(comparisons_among(rows["method"].unique(), rows["image"].nunique()) for rows in tables)
    seen = results.semantics["summary"] if results.semantics else {"missing": MISSING}
    content = {
        "summary": [],
        "warnings": [],
        "model": manifest["model"],
        "solver": _solver(results, dictionary.pop("certificates")),
        "dictionary": dictionary,
        "borrowed": results.borrowed,
        "gallery": _gallery(results),
        "basins": basins_report(results, _certified_as(results)),
        "semantics": seen if results.config.clip else None,
        "verdict_rule": rule(m),
        "uncoded": results.uncoded or None,
        "datasets": {
            key: dataset_report(data, manifest["data"][key], results.config.sparse.controls, name, confidence(m))
            for key, data in results.datasets.items()
        },
        "provenance": _provenance(results, m),
    }
    return Report.model_validate(finite(content))


def _solver(results: Results, certificates: dict[str, Any]) -> dict[str, Any]:
    starts, solver = results.starts, results.config.solver
    outcome = starts["outcome"]
    periods, counts = np.unique(starts["period"][outcome == Outcome.CYCLE], return_counts=True)
    return {
        "n": len(outcome),
        "outcomes": {o.label: int((outcome == o).sum()) for o in Outcome},
        "tolerance": solver.tolerance,
        "max_steps": solver.max_steps,
        "steps": _by_outcome(starts["steps"], outcome),
        "evaluations": quantiles(starts["evaluations"]),
        "residual": _by_outcome(starts["residual"], outcome),
        "periods": {str(p): int(c) for p, c in zip(periods, counts, strict=True)},
        "certificates": certificates,
        "wandering": _wandering(results.wandering, int((outcome == Outcome.MAX_STEPS).sum())),
    }


def _wandering(found: dict[str, NDArray[Any]], n: int) -> dict[str, Any]:
    known = np.isfinite(found["exponent"])
    exponent, error = found["exponent"][known], found["error"][known]
    examined = len(exponent)
    margin = np.maximum(2 * error, 1e-3)  # closer to 0 it is neutral, however small its standard error
    sensitive, slow = int((exponent > margin).sum()), int((exponent < -margin).sum())
    return {
        "n": n,
        "examined": examined,
        "without_derivative": int((~known).sum()),
        "exponent": float(exponent.mean()) if examined else None,
        "error": float(exponent.std(ddof=1) / examined**0.5) if examined > 1 else None,
        "sensitive": sensitive,
        "neutral": examined - sensitive - slow,
        "slow": slow,
        "spectral_radius": quantiles(found["spectral_radius"]),
    }


def _dictionary(results: Results) -> dict[str, Any]:
    atoms, stated = results.dictionary, results.dictionary_summary
    certificate, m = atoms["certificate"], len(atoms["basin"])
    counts = {code: int((certificate == code).sum()) for code in CERTIFICATES}
    used = stated["starts_used"]
    return {
        **stated,
        "label": f"end points ({counts[1]} of {m} certified attractors)",
        "atoms": m,
        "largest_basin": float(atoms["basin"].max() / used) if m and used else None,
        "outcomes": {o.label: int((atoms["outcome"] == o).sum()) for o in Outcome},
        "certificates": {
            "checked": int(np.isfinite(atoms["spectral_radius"]).sum()),
            "certified": counts[1],
            "not_attractors": counts[0],
            "undecided": counts[-1],
            "unexamined": int(_unexamined(results).sum()),
            "starts": int(atoms["settled"][certificate == 1].sum()),
            **{name: quantiles(atoms[name]) for name in ("spectral_radius", "radius_error", "spectral_norm")},
            "distance": quantiles(atoms["distance"]) if "distance" in atoms else None,
            "products": quantiles(atoms["products"][atoms["products"] > 0]),
            **{f"plain_{name}": stated[f"plain_{name}"] for name in ("checked", "same", "elsewhere")},
        },
    }


def _gallery(results: Results) -> list[dict[str, Any]]:
    atoms, certified = results.dictionary, _certified_as(results)
    return [
        {
            "atom": i,
            "outcome": Outcome(int(atoms["outcome"][i])).label,
            **{name: atoms[name][i].item() for name in (*COUNTS, *NUMBERS)},
            "distance": atoms["distance"][i].item() if "distance" in atoms else None,
            "plain_steps": int(atoms["plain_steps"][i]) if atoms["plain_steps"][i] >= 0 else None,
            "certificate": certified[i],
            **_seen(results, i),
        }
        for i in range(len(results.thumbnails))
    ]


def _certified_as(results: Results) -> list[str]:
    """What is known of each atom."""
    codes, unexamined = results.dictionary["certificate"], _unexamined(results)
    return ["not examined" if none else CERTIFICATES[int(one)] for one, none in zip(codes, unexamined, strict=True)]


def _unexamined(results: Results) -> NDArray[np.bool_]:
    """Converged atoms beyond the first ``solver.certificates``, which were examined (m,)."""
    converged = results.dictionary["outcome"] == Outcome.CONVERGED
    return converged & (np.cumsum(converged) > results.config.solver.certificates)


def _seen(results: Results, i: int) -> dict[str, Any]:
    """Label and nearest image of atom i."""
    if (seen := results.semantics) is None:
        return {}
    similarity, above = seen["label_similarity"][i].item(), bool(seen["above_noise"][i])
    label = {"label": seen["labels"][i], "label_similarity": similarity, "label_above_noise": above}
    if not seen["nearest"]:
        return label
    return label | {"nearest": seen["nearest"][i], "nearest_similarity": seen["nearest_similarity"][i].item()}


def _provenance(results: Results, m: int) -> dict[str, Any]:
    elsewhere = ("schema_version", "model", "report_checksum", "borrowed")
    stated = {key: value for key, value in results.manifest.items() if key not in elsewhere}
    return {
        **stated,
        "config": results.config.settings(),
        "statistics": {
            "interval": "95 % percentile bootstrap over images",
            "resamples": RESAMPLES,
            "seed": 0,
            "simultaneous": "Student's t and Fieller's, Bonferroni",
            "comparisons": m,
            "confidence": confidence(m),
        },
    }


def _by_outcome(values: NDArray[Any], outcome: NDArray[Any]) -> dict[str, Any]:
    present = [o for o in Outcome if (outcome == o).any()]
    return {**quantiles(values), "by_outcome": {o.label: quantiles(values[outcome == o]) for o in present}}


def quantiles(values: NDArray[Any]) -> dict[str, Any]:
    """``schema.Quantiles`` of values (n,); NaN and infinity are counted separately."""
    good = values[np.isfinite(values)].astype(np.float64)
    names = ("min", "q25", "median", "q75", "max")
    order = np.quantile(good, [0, 0.25, 0.5, 0.75, 1]) if len(good) else [None] * 5
    return {
        "n": len(values),
        "non_finite": len(values) - len(good),
        **{name: None if v is None else float(v) for name, v in zip(names, order, strict=True)},
    }
