"""Ranks as ranges: only intervals that do not overlap put one run before another."""

from collections.abc import Mapping, Sequence

Ends = tuple[float, float]
Scores = Mapping[str, Ends]
"""The interval of a run's ratio on each data set; smaller is better."""
Range = tuple[int, int]


def ahead(one: Scores, other: Scores) -> bool:
    """Whether a run is better on at least one data set, and worse on none."""
    better = any(one[name][1] < other[name][0] for name in one)
    return better and not any(other[name][1] < one[name][0] for name in one)


def ranks(runs: Mapping[str, Scores], models: Mapping[str, str]) -> dict[str, Range]:
    """Best and worst place of every run among the models, 1 the best.

    Args:
        runs: by id; all on the same data sets.
        models: which model a run is of. A model is ahead of, or behind, a run of another if each of its runs is.
    """
    of: dict[str, list[Scores]] = {}
    for run, scores in runs.items():
        of.setdefault(models[run], []).append(scores)
    return {run: _range(scores, [of[other] for other in of if other != models[run]]) for run, scores in runs.items()}


def _range(run: Scores, others: Sequence[Sequence[Scores]]) -> Range:
    before = sum(all(ahead(one, run) for one in model) for model in others)
    behind = sum(all(ahead(run, one) for one in model) for model in others)
    return 1 + before, 1 + len(others) - behind
