"""Finished runs side by side, for notebooks."""

import io
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from probe.api.figures import shown
from probe.api.reports import Shown
from probe.api.work import Run
from probe.names import given_path
from probe.report.compare import schema
from probe.report.page.text import count

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Comparison(Shown, schema.ComparisonReport):
    """Finished runs side by side; its fields are documented in ``probe.report.compare.schema``."""

    def to_pandas(self) -> pd.DataFrame:
        """A row per data set, level, run and measure, with differences to the first run, as in compare.csv."""
        from probe.report.compare.page import tidy

        return pd.read_csv(io.StringIO(tidy(self)))

    def figure(self) -> "Figure":
        """Ratios to each run's own random orthogonal basis, at 5 % of d, with 95 % intervals."""
        from probe.report.compare.page import ratios

        return shown(ratios(self))

    def __repr__(self) -> str:
        return f"<Comparison: {count(len(self.runs), 'run')}, {count(len(self.datasets), 'data set')}>"

    def sentences(self) -> list[str]:
        """The verdict."""
        return [self.verdict]


def compare(*runs: Run | str | PathLike[str], unpaired: bool = False, common: bool = False) -> Comparison:
    """Compare finished runs with the first one, as ``probe compare`` does, without writing files.

    Args:
        runs: two or more, as ``Run`` or by their folders.
        unpaired: allow other images of the same data sets; differences are then between independent samples.
        common: compare on the data sets that all runs have, if they have different ones.

    Raises:
        UserError: a run is not finished, or the runs differ in what must agree.
    """
    from probe.report.compare.build import compare as compared

    paths = [one.path if isinstance(one, Run) else given_path(Path(one)) for one in runs]
    return Comparison(**dict(compared(paths, unpaired=unpaired, common=common)))
