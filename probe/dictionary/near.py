"""Neighbours of points within a radius, exact or from an approximate index, in bounded memory."""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix, csr_matrix
from torch import Tensor

from probe.dictionary.cover import SMALL, Cover, cover, no_cover, pivots
from probe.dictionary.points import SHORT, Points, Rows, join, places

WORK = 2e14
"""Multiply-adds that an exact search may take, about an hour of one core; where it takes more, it is approximate."""
FASTER = 64
"""A GPU may do so many times as much."""
BLOCK = 1024
KEPT = 2**24
"""Pairs of neighbours to keep, about 50 bytes each during sorting; if there are more, they are searched again."""
JOINED = 2**20
"""Pairs whose components are joined at once, which takes as long as a pass over all points."""
TRAINING, ROUNDS = 64, 10
"""Points for each cell that the cells are made from, and rounds of k-means."""
PROBES, PROBED = (16, 64, 256), 2**28
"""Cells that a point searches, the next only if it is needed; and how many of all points are kept, 10 bytes each."""
SAMPLE = 2048
"""Points whose neighbours are also searched exactly, for the recall of an approximate search."""
ENOUGH = 0.999
"""Recall at which no more cells are searched."""


class Near(Protocol):
    """Neighbours among n points; ``recall``: the share of them that is found, from the neighbours of ``sampled``
    points. 1 and 0 if the search is exact."""

    exact: bool
    recall: float
    sampled: int

    def degrees(self) -> tuple[Rows, int]:
        """Neighbours of each point, itself included (n,), and the number of connected components."""

    def of(self, rows: Rows, free: NDArray[np.bool_]) -> tuple[Rows, Rows]:
        """Neighbours of rows[k] that are free: near[limits[k]:limits[k+1]]."""


def near(points: Points, radius2: float) -> Near:
    """Exact, unless that would take more than ``WORK``."""
    n, may = len(points), WORK * (FASTER if points.device.type == "cuda" else 1)
    groups = cover(points, radius2, int(min(may / (n * SHORT), n))) if n > SMALL else None
    a_pair = SHORT + points.remaining(radius2) * points.rows.shape[1]
    if (n**2 / 2 if groups is None else groups.pairs()) * a_pair > may:
        return Approximate(points, radius2)
    return Exact(points, radius2, groups or no_cover(n))


NONE = (np.empty(0, np.int32), np.empty(0, np.int32))


class Pairs:
    """Pairs of neighbours among n points, which arrive in tiles: kept while they are few, and joined to components."""

    def __init__(self, label: Rows):
        self.label = label
        self.kept, self.total = [NONE], 0
        self.waiting, self.count = [NONE], 0

    def add(self, a: Rows, b: Rows, hit: Tensor) -> None:
        """Rows a (k,) and b (l,), and which of their pairs are neighbours (k, l); each pair once."""
        x, y = (torch.from_numpy(self.label[rows]).to(hit.device) for rows in (a, b))
        if self.total <= KEPT:
            i, j = places(hit)
            self.total += len(i)
            self.kept.append((a[i].astype(np.int32), b[j].astype(np.int32)))
            apart = self.label[a[i]] != self.label[b[j]]
            i, j = i[apart], j[apart]
        else:
            self.kept.clear()
            if not (x != x[0]).any() and not (y != x[0]).any():
                return
            i, j = places(hit & (x[:, None] != y))
        self.waiting.append((a[i].astype(np.int32), b[j].astype(np.int32)))
        self.count += len(i)
        if self.count >= JOINED:
            self._join()

    def components(self) -> int:
        """How many components there are."""
        self._join()
        return len(np.unique(self.label))

    def lists(self) -> csr_matrix | None:
        """The neighbours of each point, itself apart, (n, n); None if they are more than ``KEPT``."""
        if self.total > KEPT:
            return None
        n, (i, j) = len(self.label), _joined(self.kept)
        half = coo_matrix((np.ones(len(i), np.int8), (i, j)), shape=(n, n)).tocsr()
        return half + half.T

    def _join(self) -> None:
        a, b = _joined(self.waiting)
        self.label = join(self.label, self.label[a], self.label[b])
        self.waiting, self.count = [NONE], 0


def _joined(parts: list[tuple[NDArray[np.int32], NDArray[np.int32]]]) -> tuple[Rows, Rows]:
    i, j = (np.concatenate(one) for one in zip(*parts, strict=True))
    return i, j


class Exact:
    """Compares every pair of close groups, in tiles."""

    exact, recall, sampled = True, 1.0, 0

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
        pairs = Pairs(label)
        for start in range(0, n, BLOCK):
            mine = self.order[start : start + BLOCK]
            others = self._candidates(mine, known=False)
            for part in self.points.parts(others[others > start]):
                rows = self.order[part]
                at, to, hit = self.points.hits(mine, rows, self.radius2)
                if part[0] < start + BLOCK or tight[mine].any():  # else all pairs are new, the usual case
                    # A pair is found from its lower position, and not within a tight group.
                    same = group[mine][at][:, None] == group[rows][to]
                    new = ((start + at)[:, None] < part[to]) & ~(tight[mine][at][:, None] & same)
                    hit &= torch.from_numpy(new).to(hit.device)
                if len(at):
                    count[mine[at]] += hit.sum(1).cpu().numpy()
                    count[rows[to]] += hit.sum(0).cpu().numpy()
                    pairs.add(mine[at], rows[to], hit)
        self.lists = pairs.lists()
        return count, pairs.components()

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
    """The same for pairs of which one point is in a cell near the other: an inverted-file index.

    FAISS's k-means makes the cells, in the first few coordinates where the points have them. The 16 cells nearest to a
    point are searched, or 64 or 256 until the recall is ``ENOUGH``. Candidates are compared as in the exact search.
    """

    exact = False

    def __init__(self, points: Points, radius2: float):
        self.points, self.radius2 = points, radius2
        where = (points.short or points.held).rows.cpu()
        index = _cells(points, radius2, where)
        self.lists: csr_matrix | None = None
        for probes in (one for one in PROBES if one == PROBES[0] or one * len(points) <= PROBED):
            probes = min(probes, index.ntotal)
            parts = [index.search(part.numpy(), probes)[1].astype(np.int32) for part in where.split(BLOCK)]
            self.probed = np.concatenate(parts)
            self.members = _by_cell(self.probed[:, :1], index.ntotal)
            self.recall, self.sampled = self._recall()
            if self.recall >= ENOUGH:
                break
        self.seekers = _by_cell(self.probed, index.ntotal)

    def degrees(self) -> tuple[Rows, int]:
        n, cells = len(self.points), self.members.shape[1]
        count, pairs = np.ones(n, np.int64), Pairs(np.arange(n))
        for cell in range(cells):
            members, seeking = _in_cell(self.members, cell), _in_cell(self.seekers, cell)
            for mine in (seeking[start : start + BLOCK] for start in range(0, len(seeking), BLOCK)):
                for part in self.points.parts(members):
                    at, to, hit = self.points.hits(mine, part, self.radius2)
                    if len(at):
                        a, b = mine[at], part[to]
                        hit &= torch.from_numpy(self._new(a, b)).to(hit.device)
                        count[a] += hit.sum(1).cpu().numpy()
                        count[b] += hit.sum(0).cpu().numpy()
                        pairs.add(a, b, hit)
        self.lists = pairs.lists()
        return count, pairs.components()

    def of(self, rows: Rows, free: NDArray[np.bool_]) -> tuple[Rows, Rows]:
        found = [self._near(row, free) for row in rows]
        return np.cumsum([0, *map(len, found)]), np.concatenate(found)

    def _near(self, row: int, free: NDArray[np.bool_]) -> Rows:
        if self.lists is not None:
            near = self.lists.indices[self.lists.indptr[row] : self.lists.indptr[row + 1]]
            return near[free[near]]
        found = [_in_cell(self.members, cell) for cell in self.probed[row]]
        # A pair counts if either point searches the cell of the other.
        near = np.concatenate([*found, _in_cell(self.seekers, self.probed[row, 0])])
        mine, near = np.array([row]), np.unique(near[free[near]])
        parts = [part[self.points.within(mine, part, self.radius2)[1]] for part in self.points.parts(near)]
        return np.concatenate([near[:0], *parts])

    def _new(self, a: Rows, b: Rows) -> NDArray[np.bool_]:
        """Of points a (k,) that search the cell of b (l,), the pairs (k, l) that count: from the lower row, or from the
        higher one where the lower does not search its cell."""
        searches = np.zeros((len(b), self.members.shape[1]), bool)
        np.put_along_axis(searches, self.probed[b].astype(np.int64), True, 1)
        return (a[:, None] < b) | ((a[:, None] > b) & ~searches[:, self.probed[a, 0]].T)

    def _recall(self) -> tuple[float, int]:
        """Share of the neighbours of a sample (the points themselves apart) that is found, 1 if there are none; and of
        how many points with neighbours. The sample is evenly spaced: the order of rows says nothing about where they
        lie."""
        n = len(self.points)
        rows = np.unique(np.linspace(0, n - 1, min(SAMPLE, n)).astype(np.int64))
        there, found, all_rows = np.zeros(len(rows), np.int64), 0, np.arange(n)
        for part in self.points.parts(all_rows):
            at, to = self.points.within(rows, part, self.radius2)
            a, b = rows[at], part[to]
            at, a, b = (one[a != b] for one in (at, a, b))
            there += np.bincount(at, minlength=len(rows))
            for x, y in ((a[k : k + BLOCK], b[k : k + BLOCK]) for k in range(0, len(a), BLOCK)):
                found += int((self._searches(x, y) | self._searches(y, x)).sum())
        return found / there.sum() if there.any() else 1.0, int((there > 0).sum())

    def _searches(self, x: Rows, y: Rows) -> NDArray[np.bool_]:
        """Whether x[i] searches the cell of y[i]."""
        return (self.probed[x] == self.probed[y, :1]).any(1)


def _cells(points: Points, radius2: float, where: Tensor) -> Any:
    """An index of the centres of 4 sqrt(n) cells."""
    import faiss

    n = len(points)
    cells = max(int(4 * n**0.5), 1)
    sample = np.unique(np.linspace(0, n - 1, min(TRAINING * cells, n)).astype(np.int64))
    # Of points that are neighbours one is enough: else a large basin, of which each knows all, would be many cells.
    apart = pivots(points, radius2, n, sample)[1]
    settings = {"max_points_per_centroid": TRAINING, "min_points_per_centroid": 1, "niter": ROUNDS, "seed": 0}
    gpu = bool(getattr(faiss, "get_num_gpus", int)())
    means = faiss.Kmeans(where.shape[1], min(cells, len(apart)), gpu=gpu, **settings)
    means.train(where[torch.from_numpy(apart)].numpy())
    return means.index


def _by_cell(cells: NDArray[np.int32], count: int) -> csc_matrix:
    """Which points are in a cell, for the cells of each point (n, k)."""
    n, k = cells.shape
    ones = np.ones(n * k, np.int8)
    return csr_matrix((ones, cells.ravel(), np.arange(0, n * k + 1, k)), shape=(n, count)).tocsc()


def _in_cell(matrix: csc_matrix, cell: int) -> Rows:
    return matrix.indices[matrix.indptr[cell] : matrix.indptr[cell + 1]].astype(np.int64)
