"""The table of docs/guides/verify.md: ``python docs/scripts/replication.py STUDY_DIR ...``.

The studies are of configs/study_mnist_replication.yaml. Models that are not there yet are left out; several
directories may hold parts of the grid.
"""

import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from probe.results import layout
from probe.results.files import read_tensors

PUBLISHED: dict[str, dict[int, float]] = {
    "mem": dict(zip((2, 4, 8, 16, 32, 128), (0.94, 0.95, 0.53, 0.53, 0.26, 0.20), strict=True)),
    "distinct_cosine": dict(zip((2, 4, 8, 16, 32, 128), (3, 6, 8, 34, 5, 1), strict=True)),
    "distinct_euclidean": dict(zip((2, 4, 8, 16, 32, 128), (37, 56, 11, 94, 5, 300), strict=True)),
    "rank": dict(zip((2, 4, 8, 16, 32, 128), (2, 2, 3, 5, 2, 2), strict=True)),
    "test_error": {2: 0.054, 128: 0.0055},
    "null_test": {2: 0.856},
    "null_noise": {2: 0.519},
}
"""The other author's numbers, by key of a model's result and k."""
LABELS = {
    "mem": "memorization",
    "distinct_cosine": "distinct by cosine",
    "distinct_euclidean": "distinct by distance, 1 %",
    "rank": "rank at 90 %",
    "test_error": "test MSE",
    "null_test": "unseen test images",
    "null_noise": "noise",
}


def main(studies: Iterable[Path]) -> None:
    """Print the table."""
    print(table(models(studies)))


def models(studies: Iterable[Path]) -> list[dict[str, Any]]:
    """The numbers of every model that is there."""
    return [read_tensors(file)[1]["model"] for study in studies for file in sorted(study.glob(layout.CELL.glob))]


def table(found: Iterable[Mapping[str, Any]]) -> str:
    """A row for each published cell of which there is a model: theirs, our mean, least and most over the seeds."""
    drawn: dict[tuple[str, int], dict[int, float]] = defaultdict(dict)
    for one in found:
        for key in PUBLISHED:
            if one[key] is not None:
                drawn[key, one["k"]][one["seed"]] = one[key]
    text = "| | k | published | ours, mean | least to most | seeds | inside |\n|---|---|---|---|---|---|---|\n"
    for key, cells in PUBLISHED.items():
        for k, theirs in cells.items():
            if ours := list(drawn[key, k].values()):
                row = (LABELS[key], k, f"{theirs:g}", f"{statistics.mean(ours):.3g}", _range(ours), len(ours))
                text += f"| {' | '.join(map(str, row))} | {_inside(theirs, ours)} |\n"
    return text.rstrip()


def _range(ours: list[float]) -> str:
    return f"{min(ours):.3g} to {max(ours):.3g}"


def _inside(theirs: float, ours: list[float]) -> str:
    """Whether another seed could well give their number: within two standard deviations of a new draw, and half a unit
    of its last digit."""
    if len(ours) < 3:
        return "too few seeds"
    last = 0.5 * 10 ** -len(f"{theirs:g}".partition(".")[2])
    allowed = 2 * statistics.stdev(ours) * (1 + 1 / len(ours)) ** 0.5 + last
    return "yes" if abs(theirs - statistics.mean(ours)) <= allowed else "no"


if __name__ == "__main__":
    main(map(Path, sys.argv[1:]))
