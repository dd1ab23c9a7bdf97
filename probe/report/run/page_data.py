"""The data that the script of report.html draws: numbers and pictures, as plain JSON values."""

from typing import Any

from probe.methods import label, methods, metrics
from probe.report.page.pictures import sheet, strip
from probe.report.run.build import finite
from probe.report.run.schema import DatasetErrors, Errors, Mean, Report
from probe.report.run.tables import known_metrics, report_subject
from probe.results.run import Reconstructions, Results

ATOM = ("atom", "basin", "outcome", "certificate", "spectral_radius", "residual", "steps")
LABELS = ("label", "label_similarity", "label_above_noise", "nearest", "nearest_similarity")


def page_data(report: Report, results: Results) -> dict[str, Any]:
    """Keys: methods, metrics, datasets (curves and pictures, in the order of the report), atoms, sheet
    and near (of their thumbnails, and of their nearest images')."""
    subject = report_subject(report)
    data: dict[str, Any] = finite(
        {
            "methods": {
                name: {
                    "label": label(name, subject),
                    "colour": one.colour,
                    "dash": "dash" if one.sees_data else "solid",
                }
                for name, one in methods().items()
            },
            "metrics": {
                name: {"label": one.heading, "better": one.better}
                for name, one in metrics().items()
                if any(name in known_metrics(data) for data in report.datasets.values())
            },
            "datasets": [
                {"name": name, **_curves(data, subject), **_pictures(results.datasets[name])}
                for name, data in report.datasets.items()
            ],
            "atoms": [atom.model_dump(include={*ATOM, *LABELS}, exclude_none=True) for atom in report.gallery],
            "sheet": vars(made) if (made := sheet(results.thumbnails)) else None,
            "near": vars(made) if results.nearest is not None and (made := sheet(results.nearest)) else None,
        }
    )
    return data


def _curves(data: DatasetErrors, subject: str) -> dict[str, Any]:
    """For each method its atoms, and for each metric means and intervals; lines for rows without atoms."""
    curves: dict[str, Any] = {}
    for method in methods():
        levels = [level for level in data.levels if method in level.methods]
        if levels:
            curves[method] = {
                "atoms": [level.atoms for level in levels],
                **{metric: [_point(level.methods[method].of(metric)) for level in levels] for metric in metrics()},
            }
            if spread := levels[0].methods[method].bases:
                curves[method]["bases"] = {
                    metric: [
                        [one.bases[metric].min, one.bases[metric].max]
                        for level in levels
                        if (one := level.methods[method]).bases
                    ]
                    for metric in spread
                }
    flat: dict[str, Errors] = {"autoencoder alone": data.autoencoder_floor}
    flat |= {label(name): row for name, row in data.sanity.items()}
    lines = {metric: {name: row.of(metric).mean for name, row in flat.items()} for metric in metrics()}
    return {"curves": curves, "lines": lines, "five_percent": data.five_percent}


def _point(mean: Mean) -> list[float | None]:
    low, high = mean.ci95 or (mean.mean, mean.mean)
    return [mean.mean, low, high]


def _pictures(data: Reconstructions) -> dict[str, Any]:
    """Strips by name: one for original and autoencoder, one for every level of a method."""
    strips = {
        name: [strip(shown)] if shown.ndim == 4 else [strip(level) for level in shown]
        for name, shown in data.examples.items()
    }
    return {"pictures": strips, "levels": data.facts["levels"]}
