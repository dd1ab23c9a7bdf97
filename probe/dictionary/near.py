"""Neighbours of points within a radius, exact or from an approximate index; never all lists, nor n x n, at once."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probe.dictionary.cover import SMALL, Cover, cover, no_cover
from probe.dictionary.points import Points, Rows, join

LIMIT = 100_000
"""Points that an exact index holds; with more, and with more groups than this, the index is approximate."""
BLOCK = 512


class Near(Protocol):
    """Neighbours among n points; recall: the share of them that is found, 1 where the search is exact."""

    exact: bool
    recall: float

    def degrees(self) -> tuple[Rows, int]:
        """Neighbours of each point, itself included (n,), and the number of connected components."""

    def of(self, rows: Rows, free: NDArray[np.bool_]) -> tuple[Rows, Rows]:
        """Neighbours of rows[k] that are free: near[limits[k]:limits[k+1]]."""


def near(points: Points, radius2: float) -> Near:
    """Exact if there are up to LIMIT points, or up to LIMIT groups of them; approximate beyond."""
    from probe.dictionary.approximate import Approximate

    groups = cover(points, radius2, LIMIT) if len(points) > SMALL else None
    if groups is None and len(points) > LIMIT:
        return Approximate(points, radius2)
    return Exact(points, radius2, groups or no_cover(len(points)))


class Exact:
    """Every pair of close groups compared, a tile at a time."""

    exact, recall = True, 1.0

    def __init__(self, points: Points, radius2: float, cover: Cover):
        self.points, self.radius2, self.cover = points, radius2, cover
        self.order = np.argsort(cover.group, kind="stable")  # rows by group; below, a position is one in this
        size = np.bincount(cover.group, minlength=len(cover.pivot))
        self.start = np.cumsum([0, *size])
        self.size = size

    def degrees(self) -> tuple[Rows, int]:
        group, n = self.cover.group, len(self.order)
        tight = self.cover.tight[group]
        count = np.where(tight, self.size[group], 1)
        label = np.where(tight, self.cover.pivot[group], np.arange(n))
        for start in range(0, n, BLOCK):
            mine = self.order[start : start + BLOCK]
            others = self._candidates(mine, known=False)
            for part in self.points.parts(others[others > start]):
                rows = self.order[part]
                hit = self._new(mine, start, part).logical_and_(self.points.within(mine, rows, self.radius2))
                count[mine] += hit.sum(1).cpu().numpy()
                count[rows] += hit.sum(0).cpu().numpy()
                a, b = (torch.from_numpy(label[one]).to(hit.device) for one in (mine, rows))
                i, j = (hit & (a[:, None] != b)).nonzero(as_tuple=True)
                label = join(label, mine[i.cpu().numpy()], rows[j.cpu().numpy()])
        return count, len(np.unique(label))

    def _new(self, mine: Rows, start: int, part: Rows) -> Tensor:
        """Which pairs of a tile are to be counted: by the lower position, and not within a tight group (k, l)."""
        group = self.cover.group
        a, b = np.arange(start, start + len(mine)), group[self.order[part]]
        own = np.where(self.cover.tight[group[mine]], group[mine], -1)
        at, to, ours, theirs = (torch.from_numpy(one).to(self.points.device) for one in (a, part, own, b))
        return (at[:, None] < to) & (ours[:, None] != theirs)

    def of(self, rows: Rows, free: NDArray[np.bool_]) -> tuple[Rows, Rows]:
        others = self.order[self._candidates(rows, known=True)]
        found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        for part in self.points.parts(others[free[others]]):
            at, to = self.points.pairs_within(rows, part, self.radius2)
            found.append((at, part[to]))
        at, to = (np.concatenate(one) for one in zip(*found, strict=True))
        order = np.argsort(at, kind="stable")
        return np.searchsorted(at[order], np.arange(len(rows) + 1)), to[order]

    def _candidates(self, rows: Rows, *, known: bool) -> Rows:
        """Positions, rising, of what may be near any of the rows; without what is ``known`` of tight groups."""
        cover, found = self.cover, [np.empty(0, np.int64)]
        for g in np.unique(cover.group[rows]):
            close = cover.close[cover.limits[g] : cover.limits[g + 1]]
            found.append(close if known or not cover.tight[g] else close[close != g])
        groups = np.unique(np.concatenate(found))
        spans = [np.arange(self.start[g], self.start[g + 1]) for g in groups]
        return np.concatenate([np.empty(0, np.int64), *spans])
