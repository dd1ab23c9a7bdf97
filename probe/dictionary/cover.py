"""Groups of points around pivots, so that only groups that can hold neighbours are compared.

Every point is closer than r to its pivot. By the triangle inequality two groups of radii s and t hold no neighbours of
each other if their pivots are s + t + r or more apart, and in a group of radius below r / 2 all points are neighbours.
End points usually lie in few tight groups: n m comparisons for m groups instead of n^2 / 2, with the same result.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probe.dictionary.points import Points, Rows, claim

BLOCK = 1024
SMALL = 4096
"""Up to this many points are compared with each other directly."""
SHARE = 4
"""Groups pay off if there is at most one pivot for this many points."""
CLOSE = 2**25
"""Pairs of close groups to keep, 8 bytes each; groups do not pay off if there are more."""


@dataclass(frozen=True)
class Cover:
    """m groups.

    Attributes:
        group: of each point (n,).
        pivot: a row for each group (m,).
        tight: groups in which all points are neighbours (m,).
        limits, close: groups that may hold neighbours of group g, itself included, are close[limits[g]:limits[g+1]].
    """

    group: Rows
    pivot: Rows
    tight: NDArray[np.bool_]
    limits: Rows
    close: Rows

    def pairs(self) -> float:
        """How many pairs of points an exact search compares."""
        size = np.bincount(self.group, minlength=len(self.pivot)).astype(float)
        near = np.add.reduceat(size[self.close], self.limits[:-1])  # no group is without a close one: itself
        return float((size * near).sum() - (size**2)[self.tight].sum()) / 2


def no_cover(n: int) -> Cover:
    """All points in one group that is not tight."""
    return Cover(np.zeros(n, np.int64), np.zeros(1, np.int64), np.zeros(1, bool), np.array([0, 1]), np.array([0]))


def cover(points: Points, radius2: float, most: int) -> Cover | None:
    """Groups of points within the radius of a pivot; None if they do not pay off, or are more than ``most``."""
    owner, pivot = pivots(points, radius2, min(most, len(points) // SHARE))
    if owner is None:
        return None
    group = np.searchsorted(pivot, owner)
    radius = np.zeros(len(pivot))
    np.maximum.at(radius, group, points.distance(np.arange(len(points)), owner))
    found, total = [], 0
    for start in range(0, len(pivot), BLOCK):
        mine = slice(start, start + BLOCK)
        lists = _close(points, pivot[mine], pivot, radius[mine], radius, radius2**0.5)
        found += lists
        total += sum(map(len, lists))
        if total > CLOSE:
            return None
    limits = np.cumsum([0, *map(len, found)])
    return Cover(group, pivot, 2 * radius < radius2**0.5, limits, np.concatenate(found))


def pivots(
    points: Points, radius2: float, most: int, rows: NDArray[np.int64] | None = None
) -> tuple[Rows | None, Rows]:
    """The pivot near each point (n,), None if there are more than ``most``; and all pivots, ascending. Of all points,
    or of some ``rows``, ascending."""
    owner, found = np.full(len(points), -1), np.empty(0, np.int64)
    rows = np.arange(len(points)) if rows is None else rows
    for start in range(0, len(rows), BLOCK):
        mine = rows[start : start + BLOCK]
        if len(found):
            squared, nearest = points.nearest(mine, found, radius2)
            covered = squared < radius2
            owner[mine[covered]] = found[nearest[covered]]
        left = mine[owner[mine] < 0]
        at, to = points.within(left, left, radius2)
        claim(left, np.searchsorted(at, np.arange(len(left) + 1)), left[to], owner)
        found = np.concatenate([found, left[owner[left] == left]])
        if len(found) > most:
            return None, found
    return owner, found


def _close(
    points: Points, a: Rows, b: Rows, radius_a: NDArray[np.float64], radius_b: NDArray[np.float64], r: float
) -> list[Rows]:
    """For each pivot of a, the positions of the pivots b whose groups may hold neighbours of its group."""
    parts, at = [], 0
    for part in points.parts(b):
        lower, norms, _ = points.lower(a, part)
        nearest = (lower + norms * (1 - points.slack)).clamp(min=0).sqrt().cpu().numpy()
        parts.append(nearest < (radius_a[:, None] + radius_b[at : at + len(part)] + r) * (1 + 1e-6))
        at += len(part)
    return [row.nonzero()[0] for row in np.concatenate(parts, axis=1)]
