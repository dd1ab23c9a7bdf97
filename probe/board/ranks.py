"""Ranks as ranges: only intervals that do not overlap put one run before another."""

from collections.abc import Mapping

import numpy as np

Ends = tuple[float, float]
Scores = Mapping[str, Ends]
"""The interval of a run's ratio on each data set; smaller is better."""
Range = tuple[int, int]


def ranks(runs: Mapping[str, Scores], models: Mapping[str, str]) -> dict[str, Range]:
    """Best and worst place of every run among the models, 1 the best.

    A run is ahead of another if it is better on at least one data set, and worse on none.

    Args:
        runs: by id; all on the same data sets.
        models: which model a run is of. A model is ahead of, or behind, a run of another if each of its runs is.
    """
    if not runs:
        return {}
    datasets = list(next(iter(runs.values())))
    ends = np.array([[scores[name] for name in datasets] for scores in runs.values()])
    low, high = ends[..., 0], ends[..., 1]  # (runs, data sets)
    _, model, sizes = np.unique([models[run] for run in runs], return_inverse=True, return_counts=True)
    found = {}
    for place, run in enumerate(runs):
        better, worse = (high < low[place]).any(1), (low > high[place]).any(1)  # than this run, somewhere
        # Its own model is never counted: a run is not ahead of itself.
        before = np.bincount(model, better & ~worse) == sizes
        behind = np.bincount(model, worse & ~better) == sizes
        found[run] = (1 + int(before.sum()), len(sizes) - int(behind.sum()))
    return found
