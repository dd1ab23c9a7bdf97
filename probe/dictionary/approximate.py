"""Neighbours from an inverted-file index (FAISS IVF), with their recall."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from probe.dictionary.points import Points, Rows, join

SAMPLE = 512
"""Points whose neighbours are also searched exactly, for the recall."""
ENOUGH = 0.999
"""Recall at which no more cells are searched."""
RESULTS = 2**26
"""Neighbours that one search may return, 12 bytes each."""


class Approximate:
    """An index of 4 sqrt(n) cells. 16 of them are searched, or 64 or 256 until the recall is ``ENOUGH``."""

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
