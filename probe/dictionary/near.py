"""Neighbours of points within a radius, exact or from an approximate index, in bounded memory."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix

from probe.dictionary.cover import SMALL, Cover, cover, no_cover
from probe.dictionary.points import Points, Rows, join

LIMIT = 100_000
"""With more points, and more groups, than this the search is approximate."""
BLOCK = 512
KEPT = 2**24
"""Pairs of neighbours to keep, about 50 bytes each during sorting; if there are more, they are searched again."""
JOINED = 2**20
"""Pairs whose components are joined at once, which takes as long as a pass over all points."""
SAMPLE = 512
"""Points whose neighbours are also searched exactly, for the recall of an approximate search."""
ENOUGH = 0.999
"""Recall at which no more cells are searched."""
RESULTS = 2**26
"""Neighbours that one search may return, 12 bytes each."""


NONE = (np.empty(0, np.int32), np.empty(0, np.int32))


class Linked:
    """Connected components of n points, from pairs that arrive in parts."""

    def __init__(self, label: Rows):
        self.label = label
        self.waiting, self.count = [NONE], 0

    def add(self, a: Rows, b: Rows) -> None:
        """Pairs of neighbours (a[i], b[i])."""
        new = self.label[a] != self.label[b]
        self.waiting.append((a[new].astype(np.int32), b[new].astype(np.int32)))
        self.count += int(new.sum())
        if self.count >= JOINED:
            self._join()

    def components(self) -> int:
        """How many there are."""
        self._join()
        return len(np.unique(self.label))

    def _join(self) -> None:
        a, b = (self.label[np.concatenate(one)] for one in zip(*self.waiting, strict=True))
        self.label, self.waiting, self.count = join(self.label, a, b), [NONE], 0


class Near(Protocol):
    """Neighbours among n points; recall: the share of them that is found, 1 if the search is exact."""

    exact: bool
    recall: float

    def degrees(self) -> tuple[Rows, int]:
        """Neighbours of each point, itself included (n,), and the number of connected components."""

    def of(self, rows: Rows, free: NDArray[np.bool_]) -> tuple[Rows, Rows]:
        """Neighbours of rows[k] that are free: near[limits[k]:limits[k+1]]."""


def near(points: Points, radius2: float) -> Near:
    """Exact if there are up to LIMIT points, or up to LIMIT groups of them; approximate beyond."""
    groups = cover(points, radius2, LIMIT) if len(points) > SMALL else None
    if groups is None and len(points) > LIMIT:
        return Approximate(points, radius2)
    return Exact(points, radius2, groups or no_cover(len(points)))


class Exact:
    """Compares every pair of close groups, in tiles."""

    exact, recall = True, 1.0

    def __init__(self, points: Points, radius2: float, cover: Cover):
        self.points, self.radius2, self.cover = points, radius2, cover
        self.order = np.argsort(cover.group, kind="stable")  # rows by group; below, a position is one in this
        size = np.bincount(cover.group, minlength=len(cover.pivot))
        self.start = np.cumsum([0, *size])
        self.size = size
        self.lists: csr_matrix | None = None

    def degrees(self) -> tuple[Rows, int]:
        group, n = self.cover.group, len(self.order)
        tight = self.cover.tight[group]
        count = np.where(tight, self.size[group], 1)
        label = np.where(tight, self.cover.pivot[group], np.arange(n))
        kept, total, linked = [NONE], 0, Linked(label)
        for start in range(0, n, BLOCK):
            mine = self.order[start : start + BLOCK]
            others = self._candidates(mine, known=False)
            for part in self.points.parts(others[others > start]):
                rows = self.order[part]
                at, to = self.points.within(mine, rows, self.radius2)
                if part[0] < start + BLOCK or tight[mine].any():  # else all pairs are new, the usual case
                    # A pair is found from its lower position, and not within a tight group.
                    new = (start + at < part[to]) & ~(tight[mine][at] & (group[mine][at] == group[rows][to]))
                    at, to = at[new], to[new]
                count[mine] += np.bincount(at, minlength=len(mine))
                count[rows] += np.bincount(to, minlength=len(rows))
                linked.add(mine[at], rows[to])
                total += len(at)
                if total <= KEPT:
                    kept.append((mine[at].astype(np.int32), rows[to].astype(np.int32)))
                else:
                    kept.clear()
        if kept:
            i, j = (np.concatenate(one) for one in zip(*kept, strict=True))
            kept.clear()
            half = coo_matrix((np.ones(len(i), np.int8), (i, j)), shape=(n, n)).tocsr()
            self.lists = half + half.T
        return count, linked.components()

    def of(self, rows: Rows, free: NDArray[np.bool_]) -> tuple[Rows, Rows]:
        if self.lists is not None:
            return self._listed(self.lists, rows, free)
        others = self.order[self._candidates(rows, known=True)]
        found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        for part in self.points.parts(others[free[others]]):
            at, to = self.points.within(rows, part, self.radius2)
            found.append((at, part[to]))
        at, to = (np.concatenate(one) for one in zip(*found, strict=True))
        order = np.argsort(at, kind="stable")
        return np.searchsorted(at[order], np.arange(len(rows) + 1)), to[order]

    def _listed(self, lists: csr_matrix, rows: Rows, free: NDArray[np.bool_]) -> tuple[Rows, Rows]:
        """The same from the kept lists, which leave out pairs within tight groups."""
        found = []
        for row in rows:
            near, group = lists.indices[lists.indptr[row] : lists.indptr[row + 1]], self.cover.group[row]
            if self.cover.tight[group]:
                near = np.concatenate([near, self.order[self.start[group] : self.start[group + 1]]])
            found.append(near[free[near]])
        return np.cumsum([0, *map(len, found)]), np.concatenate(found)

    def _candidates(self, rows: Rows, *, known: bool) -> Rows:
        """Ascending positions of points that may be near any of the rows; ``known`` includes pairs in tight groups."""
        cover, found = self.cover, [np.empty(0, np.int64)]
        for g in np.unique(cover.group[rows]):
            close = cover.close[cover.limits[g] : cover.limits[g + 1]]
            found.append(close if known or not cover.tight[g] else close[close != g])
        groups = np.unique(np.concatenate(found))
        spans = [np.arange(self.start[g], self.start[g + 1]) for g in groups]
        return np.concatenate([np.empty(0, np.int64), *spans])


class Approximate:
    """FAISS's inverted-file index of 4 sqrt(n) cells: 16 are searched, or 64 or 256 until the recall is ``ENOUGH``."""

    exact = False

    def __init__(self, points: Points, radius2: float):
        import faiss

        self.points, self.radius2 = points, radius2
        n, d = points.rows.shape
        cells = max(int(4 * n**0.5), 1)
        self.quantizer = faiss.IndexFlatL2(d)  # the index does not keep it alive
        self.index = faiss.IndexIVFFlat(self.quantizer, d, cells)
        self.index.cp.seed = 0
        self.index.cp.max_points_per_centroid = 64
        self.index.cp.min_points_per_centroid = 1  # no warning: few points per cell cost recall, which is measured
        self.index.train(points.rows.numpy())
        for part in points.rows.split(points.at_once):
            self.index.add(part.numpy())
        for self.index.nprobe in (16, 64, 256):
            self.recall = self._recall()
            if self.recall >= ENOUGH:
                break

    def degrees(self) -> tuple[Rows, int]:
        n = len(self.points)
        count, label = np.ones(n, np.int64), np.arange(n)
        for rows in self._blocks(np.arange(n)):
            i, j = self._found(rows)
            new = rows[i] < j  # each pair once, from its lower row
            i, j = rows[i[new]], j[new]
            count += np.bincount(i, minlength=n) + np.bincount(j, minlength=n)
            label = join(label, label[i], label[j])
        return count, len(np.unique(label))

    def of(self, rows: Rows, free: NDArray[np.bool_]) -> tuple[Rows, Rows]:
        parts, before = [(np.empty(0, np.int64), np.empty(0, np.int64))], 0
        for some in self._blocks(rows):
            i, j = self._found(some)
            parts.append((before + i[free[j]], j[free[j]]))
            before += len(some)
        i, j = (np.concatenate(one) for one in zip(*parts, strict=True))
        return np.searchsorted(i, np.arange(len(rows) + 1)), j

    def _found(self, rows: Rows) -> tuple[Rows, Rows]:
        """Positions in ``rows``, rising, and the neighbours found."""
        limits, _, found = self.index.range_search(self.points.rows[torch.from_numpy(rows)].numpy(), self.radius2)
        return np.repeat(np.arange(len(rows)), np.diff(limits).astype(np.int64)), found.astype(np.int64)

    def _blocks(self, rows: Rows) -> Iterator[Rows]:
        size = min(max(RESULTS // len(self.points), 1), 1024)
        return (rows[start : start + size] for start in range(0, len(rows), size))

    def _recall(self) -> float:
        """Share of the neighbours of a sample (the points themselves apart) that is found; 1 if there are none.

        The sample is evenly spaced, because the order of rows says nothing about where they lie.
        """
        n, there, found = len(self.points), 0, 0
        rows = np.unique(np.linspace(0, n - 1, min(SAMPLE, n)).astype(np.int64))
        for some in self._blocks(rows):
            exact = [self.points.within(some, part, self.radius2) for part in self.points.parts(np.arange(n))]
            there += sum(len(i) for i, _ in exact) - len(some)
            i, j = self._found(some)
            found += int((some[i] != j).sum())
        return min(found / there, 1.0) if there else 1.0
