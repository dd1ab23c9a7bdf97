"""Columns of numbers over the same images: their means, differences and ratios, with intervals."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probe.metrics.interval import Ends, Interval, Ratios, difference_interval, ratio_interval, ratios_of_means
from probe.report.run.schema import NONE, Contrast, Mean

ROUNDING = 1e-9
"""A control is at rounding level, and has no ratio, below this share of its error with the fewest atoms."""
MIN_IMAGES = 10
"""Fewer images give no simultaneous interval and no verdict; see ``probe.report.run.verdict``."""
Column = NDArray[np.float64]


class Key(NamedTuple):
    """One column of numbers over images."""

    metric: str
    method: str
    atoms: int


class Sample:
    """The columns (n,) of one data set, sorted by image; all intervals are over the same resamples.

    Args:
        columns: numbers by metric, method and level; all of one length.
        bases: the columns of each random basis, whose mean is in ``columns``.
        confidence: of simultaneous intervals.
    """

    def __init__(self, columns: Mapping[Key, Column], bases: Mapping[Key, Sequence[Column]], confidence: float):
        self.columns, self.bases, self.confidence = columns, bases, confidence
        stacked = np.stack(list(columns.values()), axis=1)
        means = ratios_of_means(stacked, np.ones_like(stacked))
        one_by_one = zip(columns, means.value[:, None], means.resampled.T[:, :, None], strict=True)
        self._means = {key: Ratios(value, resampled) for key, value, resampled in one_by_one}
        self._fewest = {(key.metric, key.method): key for key in sorted(columns, key=lambda key: -key.atoms)}

    def __len__(self) -> int:
        """Images."""
        return len(next(iter(self.columns.values())))

    def __contains__(self, key: Key) -> bool:
        return key in self.columns

    def mean(self, key: Key) -> Mean:
        return mean_of(self._means[key].intervals()[0])

    def difference(self, key: Key, to: Key) -> Contrast:
        """Mean of one column minus that of another, paired by image."""
        ends = self.simultaneous(self.columns[key], self.columns[to])
        return self._contrast(self._means[key] - self._means[to], ends)

    def ratio(self, key: Key, to: Key) -> Contrast:
        """Mean of one column over that of another, paired by image; null if the other is at rounding level."""
        if not self._has_size(to):
            return Contrast(mean=None, ci95=None)
        ends = None if len(self) < MIN_IMAGES else ratio_interval(self.columns[key], self.columns[to], self.confidence)
        return self._contrast(self._means[key] / self._means[to], ends)

    def share(self, before: Key, after: Key, *, of: Key) -> Mean:
        """(mean of ``before`` - mean of ``after``) / mean of ``of``, paired by image; null as for ``ratio``."""
        if not self._has_size(of):
            return NONE
        return mean_of(((self._means[before] - self._means[after]) / self._means[of]).intervals()[0])

    def plain_ratio(self, key: Key | None, to: Key | None) -> Mean:
        """``ratio`` without the simultaneous interval; null without one of the columns."""
        if key is None or to is None or key not in self or to not in self:
            return NONE
        return self.ratio(key, to).plain()

    def simultaneous(self, a: Column, b: Column) -> Ends | None:
        """Interval of mean(a) - mean(b), valid for all comparisons behind the verdicts at once."""
        return None if len(self) < MIN_IMAGES else difference_interval(a, b, self.confidence)

    def _has_size(self, key: Key) -> bool:
        """Whether a mean lies above rounding level, so that it may stand below a fraction."""
        most = self._means[self._fewest[key.metric, key.method]]
        return bool(self._means[key].value > ROUNDING * most.value)

    @staticmethod
    def _contrast(found: Ratios, ends: Ends | None) -> Contrast:
        plain = mean_of(found.intervals()[0])
        return Contrast(mean=plain.mean, ci95=plain.ci95, simultaneous=ends if plain.mean is not None else None)


def mean_of(interval: Interval) -> Mean:
    """In the schema's form: null for a number that does not exist."""
    mean = interval.mean if np.isfinite(interval.mean) else None
    return Mean(mean=mean, ci95=interval.ci95)
