"""Merging end points into atoms with FAISS.

| symbol | meaning | shape |
|---|---|---|
| n, d | end points, latent dimension | |
| m | atoms that are left | m <= n |
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor


@dataclass(frozen=True)
class Merge:
    """Which end points are one atom.

    Attributes:
        leader: rows of the end points that are kept (m,), largest basin first.
        member: for each end point the position of its leader (n,); -1 for an end point at the origin.
        basin: end points merged into each leader, itself included (m,).
        components: atoms that would be left if chains of near points were merged whole (connected components).
    """

    leader: Tensor
    member: Tensor
    basin: Tensor
    components: int


def merge_by_cosine(points: Tensor, cosine: float = 0.99, priority: Tensor | None = None) -> Merge:
    """Merge end points (n, d) whose cosine exceeds the threshold (paper, Section 4.1).

    Greedy leader: the point with most neighbours becomes an atom and takes those of its neighbours that are free. No
    two atoms exceed the threshold. Points of a lower priority number lead first, whatever their neighbours; ties go to
    the lower row. A point at the origin has no direction and is left out.
    """
    norms = torch.linalg.vector_norm(points.double(), dim=1)
    directed = (norms > 0).nonzero().squeeze(1)
    unit = (points[directed].double() / norms[directed, None]).float().cpu().numpy()
    limits, neighbours = _range_search(unit, cosine, euclidean=False)
    ranks = None if priority is None else priority[directed].cpu().numpy()
    leader, member = _greedy(limits, neighbours, ranks)
    basin = np.bincount(member, minlength=len(leader))
    order = np.lexsort((leader, -basin))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    whole = torch.full((len(points),), -1, dtype=torch.long)
    whole[directed.cpu()] = torch.from_numpy(place[member])
    return Merge(
        leader=directed.cpu()[torch.from_numpy(leader[order])],
        member=whole,
        basin=torch.from_numpy(basin[order]),
        components=_components(limits, neighbours),
    )


def count_by_euclid(points: Tensor, relative: float = 0.05) -> int:
    """Atoms that are left when end points (n, d) merge within ``relative`` times their root mean square norm.

    Cosine cannot tell points on one ray apart; where this count is much higher, the cosine has merged too much.
    """
    array = points.float().cpu().numpy()
    radius = relative * float(np.sqrt(np.square(array, dtype=np.float64).sum(1).mean()))
    if radius == 0:
        return 1
    limits, neighbours = _range_search(array, radius**2, euclidean=True)
    return len(_greedy(limits, neighbours, None)[0])


def _range_search(points: np.ndarray, threshold: float, *, euclidean: bool) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours of row i are neighbours[limits[i]:limits[i+1]]; exact."""
    import faiss

    points = np.ascontiguousarray(points, dtype=np.float32)
    index = faiss.IndexFlatL2(points.shape[1]) if euclidean else faiss.IndexFlatIP(points.shape[1])
    index.add(points)
    limits, _, neighbours = index.range_search(points, threshold)
    return limits.astype(np.int64), neighbours.astype(np.int64)


def _greedy(limits: np.ndarray, neighbours: np.ndarray, priority: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Leaders (rows) and, for each row, the position of its leader."""
    count = np.diff(limits)
    rows = np.arange(len(count))
    order = np.lexsort((rows, -count, rows * 0 if priority is None else priority))
    leaders: list[int] = []
    member = np.full(len(count), -1)
    for row in order:
        if member[row] < 0:
            near = neighbours[limits[row] : limits[row + 1]]
            member[near[member[near] < 0]] = len(leaders)
            member[row] = len(leaders)  # rounding can put a row's cosine with itself below a threshold near 1
            leaders.append(int(row))
    return np.asarray(leaders, dtype=np.int64), member


def _components(limits: np.ndarray, neighbours: np.ndarray) -> int:
    n = len(limits) - 1
    graph = csr_matrix((np.ones(len(neighbours), dtype=np.int8), neighbours, limits), shape=(n, n))
    return int(connected_components(graph, directed=False)[0])
