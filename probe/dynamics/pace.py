"""Parts of a batch in which a map is fastest on a GPU."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

FEWEST = 4
"""Rows of the smallest part."""
CLEARLY = 1.25
"""A batch is taken in parts where its rows cost this many times as much together: less could be chance."""
AS_GOOD = 1.1
"""Of the parts, the largest is taken whose rows cost at most this many times as much as those of the best."""


class Paced:
    """A map of rows, which on a GPU takes a batch in parts where parts are clearly faster.

    Libraries choose other kernels for other sizes, and not always well: an autoencoder of Stable Diffusion's shape in
    full float32 makes 31 rows a second in parts of 4 on an H100, and 17 in parts of 8 and more. What is fast is
    measured once for each arithmetic, on the first rows of the first batch. Elsewhere the map is evaluated as it is.
    """

    def __init__(self, f: Callable[[Tensor], Tensor], kinds: tuple[str, ...] = ("cuda",)):
        self.f, self.kinds = f, kinds
        self.rows: dict[object, int] = {}

    def __call__(self, z: Tensor) -> Tensor:
        kind = z.device.type
        if kind not in self.kinds or len(z) <= FEWEST:
            return self.f(z)
        arithmetic = torch.backends.cuda.matmul.allow_tf32, torch.is_autocast_enabled(kind)
        if arithmetic not in self.rows:
            self.rows[arithmetic] = fastest(lambda rows: self._seconds(z[:rows]), len(z))
        rows = self.rows[arithmetic]
        return self.f(z) if len(z) <= rows else torch.cat([self.f(part) for part in z.split(rows)])

    def _seconds(self, z: Tensor) -> float:
        """After one evaluation, in which libraries choose their kernels."""
        self.f(z)
        began = _now(z.device)
        self.f(z)
        return _now(z.device) - began


def fastest(seconds: Callable[[int], float], most: int) -> int:
    """The rows of a part, at most ``most``, given what a part of so many rows takes."""
    cost: dict[int, float] = {}
    rows = min(FEWEST, most)
    while True:
        cost[rows] = seconds(rows) / rows
        least = min(cost.values())
        if cost[rows] > CLEARLY * least:
            return max(rows for rows, one in cost.items() if one <= AS_GOOD * least)
        if rows == most:
            return most
        rows = min(2 * rows, most)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
