"""One sentence on top: what the ratios at 5 % of d say about each run and the first."""

from collections.abc import Mapping, Sequence

from probe.report.compare.schema import ComparedError, DatasetComparison
from probe.report.page.text import count, listed
from probe.report.protocol import FIVE


def verdict(datasets: Mapping[str, DatasetComparison], runs: Sequence[str]) -> str:
    """The verdicts on latent MSE as a ratio to each run's own random basis, which any two models have in common."""
    if not datasets:
        return "No data set to compare on."
    said = [_against_first(datasets, run, runs[0]) for run in runs[1:]]
    return f"By latent MSE at 5 % of d, as a ratio to each run's own random orthogonal basis: {'; '.join(said)}."


def _against_first(datasets: Mapping[str, DatasetComparison], run: str, first: str) -> str:
    found: dict[str, list[str]] = {"lower": [], "higher": [], "undecided": [], "unknown": []}
    for name, data in datasets.items():
        one = at_five(data, run)
        found[(one.verdict if one else None) or "unknown"].append(name)
    parts = [f"{run} has a lower (better) ratio than {first} on {_names(found['lower'], len(datasets))}"]
    if found["higher"]:
        parts.append(f"a higher one on {_names(found['higher'], len(datasets))}")
    if found["undecided"]:
        parts.append(f"no difference is seen on {_names(found['undecided'], len(datasets))}")
    if found["unknown"]:
        parts.append(f"no verdict on {_names(found['unknown'], len(datasets))}")
    return ", ".join(parts)


def _names(found: list[str], of: int) -> str:
    if not found:
        return "none"
    return f"{len(found)} of {count(of, 'data set')} ({listed(found)})"


def at_five(data: DatasetComparison, run: str) -> ComparedError | None:
    """The ratio of latent MSE of a run at 5 % of d."""
    runs = (one for level in data.levels if level.fraction == FIVE for one in level.runs if one.run == run)
    return next((one.measures.get("latent_ratio") for one in runs), None)
