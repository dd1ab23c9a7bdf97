"""levels.csv: the numbers of report.json's levels, tidy."""

import csv
import io

from probe.metrics.images import IMAGE_METRICS
from probe.report.methods import METRICS
from probe.report.schema import Mean, Report

HEAD = ("dataset", "atoms", "fraction", "method", "metric", "mean", "low", "high", "n", "atoms_used")
PAIRED = ("latent_mse", "pixel_mse")


def levels_csv(report: Report) -> str:
    """A row per data set, level, method and metric, with a 95 % interval; empty where there is no number.

    Besides the errors, the metrics ``latent_mse_minus_random_orthogonal`` and ``pixel_mse_minus_random_orthogonal`` are
    differences paired by image. The autoencoder alone is the method ``autoencoder``, without a level.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEAD)
    for name, data in report.datasets.items():
        for level in data.levels:
            for method, errors in level.methods.items():
                means = {metric: getattr(errors, metric) for metric in METRICS}
                if errors.difference is not None:
                    to = errors.difference.to
                    means |= {f"{metric}_minus_{to}": getattr(errors.difference, metric) for metric in PAIRED}
                for metric, mean in means.items():
                    place = [name, level.atoms, level.fraction, method, metric]
                    writer.writerow([*place, *spread(mean), data.n_used, errors.atoms_used])
        for metric in IMAGE_METRICS:
            alone = spread(getattr(data.autoencoder_floor, metric))
            writer.writerow([name, None, None, "autoencoder", metric, *alone, data.n_used, None])
    return buffer.getvalue()


def spread(mean: Mean | None) -> list[float | None]:
    """Mean, low and high, None where there is no number."""
    if mean is None:
        return [None] * 3
    return [mean.mean, *(mean.ci95 or (None, None))]
