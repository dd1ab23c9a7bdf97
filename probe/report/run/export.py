"""levels.csv: the numbers of report.json's levels, tidy."""

from collections.abc import Iterator
from typing import Any

from probe.names import csv_text
from probe.report.run.schema import Contrast, Mean, MethodErrors, Report
from probe.report.run.tables import known_metrics

HEAD = (
    *("dataset", "atoms", "fraction", "method", "metric", "mean", "low", "high"),
    *("simultaneous_low", "simultaneous_high", "n", "atoms_used"),
)
PAIRED = ("latent_mse", "pixel_mse")


def levels_csv(report: Report) -> str:
    """A row per data set, level, method and metric, with a 95 % interval; empty where there is no number.

    Besides the errors: ``latent_mse_minus_NAME`` and ``latent_mse_over_NAME`` (and the same of ``pixel_mse``) are
    differences and ratios to another method, paired by image, with simultaneous intervals,
    ``pixel_mse_over_autoencoder`` the ratio to the autoencoder alone, and ``latent_mse_sd_of_bases`` how far random
    bases are apart. The autoencoder alone, ``zero_code`` and ``mean_image`` are methods without a level.
    """
    return csv_text([HEAD, *rows(report)])


def rows(report: Report) -> Iterator[list[Any]]:
    """The rows of ``levels_csv``, below ``HEAD``."""
    for name, data in report.datasets.items():
        known = known_metrics(data)
        for level in data.levels:
            for method, errors in level.methods.items():
                for metric, mean in _metrics(errors, known).items():
                    place = [name, level.atoms, level.fraction, method, metric]
                    yield [*place, *spread(mean), *_simultaneous(mean), data.n_used, errors.atoms_used]
        for method, row in {"autoencoder": data.autoencoder_floor, **data.sanity}.items():
            for metric in known if method != "autoencoder" else known[1:]:
                found = spread(getattr(row, metric))
                yield [name, None, None, method, metric, *found, None, None, data.n_used, None]


def _metrics(errors: MethodErrors, known: list[str]) -> dict[str, Mean]:
    """Everything that a level says of a method, by name."""
    found = {metric: getattr(errors, metric) for metric in known} | {"pixel_mse_over_autoencoder": errors.floor_ratio}
    for against in filter(None, (errors.difference, errors.difference_strongest)):
        for metric in PAIRED:
            found[f"{metric}_minus_{against.to}"] = getattr(against, metric)
            found[f"{metric}_over_{against.to}"] = getattr(against, metric.replace("mse", "ratio"))
    bases = {metric: one for metric, one in (errors.bases or {}).items() if metric in known}
    spreads = {f"{metric}_sd_of_bases": Mean(mean=one.sd, ci95=None) for metric, one in bases.items()}
    return found | spreads


def _simultaneous(mean: Mean) -> list[float | None]:
    return list(mean.simultaneous or (None, None)) if isinstance(mean, Contrast) else [None, None]


def spread(mean: Mean | None) -> list[float | None]:
    """Mean, low and high, None where there is no number."""
    if mean is None:
        return [None] * 3
    return [mean.mean, *(mean.ci95 or (None, None))]
