"""Speed, measured: ours against the tool that a user would otherwise take, on the same data, in one run."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

Result = TypeVar("Result")


def in_turn(
    contenders: Mapping[str, Callable[[], Result]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> tuple[dict[str, list[float]], dict[str, Result]]:
    """By tool: the seconds of each repeat, and what the last one found."""
    seconds: dict[str, list[float]] = {tool: [] for tool in contenders}
    found: dict[str, Result] = {}
    for repeat in range(repeats):
        # Whoever comes later may find a warmer machine.
        for tool in contenders if repeat % 2 == 0 else reversed(list(contenders)):
            began = clock()
            found[tool] = contenders[tool]()
            seconds[tool].append(clock() - began)
    return seconds, found


def paired_ratio(seconds: Sequence[float], others: Sequence[float]) -> float:
    """The median over the repeats of the ratio of times."""
    return statistics.median(a / b for a, b in zip(seconds, others, strict=True))
