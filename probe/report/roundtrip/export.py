"""cycles.csv: the means of a round trip, tidy."""

from collections.abc import Iterator
from typing import Any

from probe.names import csv_text
from probe.report.roundtrip.schema import RoundtripReport

HEAD = ("dataset", "model", "between", "cycle", "measure", "mean", "low", "high", "n")
ALL = "all"


def cycles_csv(report: RoundtripReport) -> str:
    """A row per data set, model, setting, measure and cycle of the curves, with a 95 % interval over images.

    ``identity`` is the control without a model. Where there are several data sets, ``all`` stands for all images
    together. ``n`` is the number of images that the mean is of. Cells without a number are empty. Every image after
    every cycle is in the tables of ``roundtrips/``. ``rfid``, where it was measured, is of the whole set, at the cycles
    of the report's tables.
    """
    return csv_text([HEAD, *rows(report)])


def rows(report: RoundtripReport) -> Iterator[list[Any]]:
    """The rows of ``cycles_csv``, with the columns of ``HEAD``."""
    sets = report.datasets if len(report.datasets) == 1 else {ALL: report.overall, **report.datasets}
    for name, data in sets.items():
        for one in data.series:
            for measure, curve in one.curves.items():
                known = curve.n or [one.n] * len(curve.mean)
                for cycle, *found in zip(report.cycles_drawn, curve.mean, curve.low, curve.high, known, strict=True):
                    yield [name, one.model, one.between, cycle, measure, *found]
            for each in one.rfid or []:
                whole = (each.mean, *(each.ci95 or (None, None)), each.n)
                yield [name, one.model, one.between, each.cycle, "rfid", *whole]
