"""Merging end points into atoms.

| symbol | meaning | shape |
|---|---|---|
| n, d | end points, latent dimension | |
| m | atoms that are left | m <= n |

Greedy leader: the point with the most neighbours becomes an atom and takes its free neighbours: no two atoms are
neighbours. Ties go to the point of the lower start, which rounding cannot change; without starts, to the point whose
coordinates come first as bytes, and among identical points to the first. Points are sorted by this before anything
else, so that the result does not depend on their order.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probe.dictionary.near import Near, near
from probe.dictionary.points import ELEMENTS, Points, Rows, claim, place_of

BLOCK = 128
CERTIFIED = 1024
"""Certified attractors compared at once."""


@dataclass(frozen=True, eq=False)
class Merge:
    """Which end points are one atom.

    Attributes:
        leader: rows of the end points that are kept (m,), largest basin first.
        member: for each end point the position of its leader (n,); -1 for an end point that is left out.
        basin: end points merged into each leader, itself included (m,).
        components: atoms if chains of near points were merged whole (connected components).
        recall: share of the neighbours that were found, from a sample; 1 if the search was exact.
        exact: whether the search was exact.
        sampled: points with neighbours that the recall is from; 0 if the search was exact.
    """

    leader: Tensor
    member: Tensor
    basin: Tensor
    components: int
    recall: float = 1.0
    exact: bool = True
    sampled: int = 0

    @property
    def index(self) -> str:
        """``exact`` or ``approximate``."""
        return "exact" if self.exact else "approximate"


def merge_by_cosine(
    points: Tensor,
    cosine: float = 0.99,
    priority: Tensor | None = None,
    starts: Tensor | None = None,
    device: torch.device | None = None,
) -> Merge:
    """Merge end points (n, d) whose cosine exceeds the threshold (paper, Section 4.1).

    No two atoms exceed the threshold if the search is exact; if not, few do (``Merge.recall``). Points with a lower
    ``priority`` (n,) lead first, whatever their neighbours; ties go to the lower of ``starts`` (n,). Points at the
    origin, which have no direction, and points that are not finite are left out. Points are compared on ``device``, by
    default the first GPU if there is one; an exact search gives the same on all.
    """
    points, norms = _on_cpu(points)
    rows = _sorted(points, starts, torch.isfinite(norms) & (norms > 0))
    unit = _divided(points, rows, norms[rows], device)
    # Of unit vectors: |u - v|^2 = 2 - 2 cos.
    return _merge(Points(unit, device), 2 - 2 * cosine, rows, priority, len(points))


def with_origin(merge: Merge, points: Tensor, priority: Tensor) -> Merge:
    """The same with one more atom for those of points (n, d) that are exactly 0, if any: they have no direction, and
    ``merge_by_cosine`` leaves them out. The first of the lowest ``priority`` (n,) leads."""
    rows = (~points.flatten(1).any(1)).nonzero().squeeze(1).cpu()
    if not len(rows):
        return merge
    leader = torch.cat([merge.leader, rows[priority.cpu()[rows].argmin()][None]])
    basin = torch.cat([merge.basin, torch.tensor([len(rows)])])
    order = basin.argsort(descending=True, stable=True)
    member = merge.member.clone()
    member[rows] = len(merge.leader)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    member = torch.where(member >= 0, place[member], member)
    return replace(merge, leader=leader[order], basin=basin[order], member=member, components=merge.components + 1)


def merge_by_euclid(
    points: Tensor, relative: float = 0.05, starts: Tensor | None = None, device: torch.device | None = None
) -> Merge:
    """Merge end points (n, d) within ``relative`` times their root mean square norm.

    Cosine cannot tell points on one ray apart: if this leaves many more atoms, the cosine has merged too much. Points
    that are not finite are left out. ``starts`` and ``device`` as in ``merge_by_cosine``.
    """
    points, norms = _on_cpu(points)
    rows = _sorted(points, starts, torch.isfinite(norms))
    largest = norms[rows].max().item() if len(rows) else 0.0
    # Points at the origin are one atom, however small the radius. Dividing by a power of two is exact, and keeps the
    # squares in the range of float32.
    scale = 2.0 ** min(math.frexp(largest)[1], 1023)
    unit = _divided(points, rows, torch.full((len(rows),), scale, dtype=torch.float64), device)
    mean = (norms[rows] / scale).square().mean().item() if largest else 0.0
    return _merge(Points(unit, device), relative**2 * mean or 1.0, rows, None, len(points))


def merge_certified(points: Tensor, distance: Tensor, cosine: float = 0.99) -> Tensor:
    """Which certified attractors are one: for each of points (m, d), in this order, the first point that it joins (m,).

    Two are one if their distance is at most the sum of their distances (m,) to their fixed points, so that both may
    stand for the same, or if their cosine exceeds the threshold, as in ``merge_by_cosine``. Points ``at_origin`` are
    one by the first rule, and have no cosine.
    """
    points, distance = points.detach().flatten(1).double().cpu(), distance.double().cpu()
    norms = torch.linalg.vector_norm(points, dim=1)
    lengths = torch.where(at_origin(points, distance), torch.inf, norms)

    def joins(a: Tensor, b: Tensor) -> Tensor:
        product = points[a] @ points[b].T
        apart = (norms[a, None].square() + norms[b].square() - 2 * product).clamp(min=0).sqrt()
        return (apart <= distance[a, None] + distance[b]) | (product / (lengths[a, None] * lengths[b]) > cosine)

    first, leads = torch.arange(len(points)), torch.empty(0, dtype=torch.long)
    for block in first.clone().split(CERTIFIED):
        for some in leads.split(CERTIFIED) if len(leads) else ():
            near, place = joins(block, some).max(1)  # the place of the first
            new = near & (first[block] == block)
            first[block[new]] = some[place[new]]
        left = block[first[block] == block]
        among = joins(left, left).tril(-1)
        alone = torch.ones(len(left), dtype=torch.bool)
        for k in range(1, len(left)):
            if (among[k] & alone).any():
                alone[k], first[left[k]] = False, left[(among[k] & alone).nonzero()[0, 0]]
        leads = torch.cat([leads, left[alone]])
    return first


def at_origin(points: Tensor, distance: Tensor) -> Tensor:
    """Whether each of points (m, ...) is no further from the origin than from its fixed point (m,), so that its
    direction is that of rounding; bool (m,) on the CPU. Where the distance is NaN, only 0 itself is."""
    reach = distance.double().cpu().nan_to_num(nan=0.0, posinf=torch.inf)
    return _on_cpu(points)[1] <= reach


def _on_cpu(points: Tensor) -> tuple[Tensor, Tensor]:
    """Points (n, d) in float32 or float64, and their norms (n,) in float64."""
    points = points.detach().flatten(1).cpu()
    points = (points if points.dtype == torch.float64 else points.float()).contiguous()
    parts = [torch.empty(0, dtype=torch.float64)]
    parts += [torch.linalg.vector_norm(points[part].double(), dim=1) for part in _split(points, points.shape[1])]
    return points, torch.cat(parts)


def _divided(points: Tensor, rows: Tensor, by: Tensor, device: torch.device | None) -> Tensor:
    """Some of the points (n, d), each divided in float64 by its own number (k,), rounded to float32 (k, d)."""
    found, place = torch.empty(len(rows), points.shape[1]), place_of(device)
    for part in _split(rows, points.shape[1]):
        found[part] = (points[rows[part]].to(place).double() / by[part, None].to(place)).float()
    return found


def _split(rows: Tensor, d: int) -> list[slice]:
    size = max(ELEMENTS // max(d, 1), 1)
    return [slice(start, start + size) for start in range(0, len(rows), size)]


def _sorted(points: Tensor, starts: Tensor | None, chosen: Tensor) -> Tensor:
    """The chosen rows, sorted by start, or by their coordinates as bytes; of equal rows the lower first."""
    if starts is not None:
        order = torch.argsort(starts.cpu(), stable=True)
    else:
        array = points.numpy()
        whole = array.view(np.dtype((np.void, array.itemsize * array.shape[1])))[:, 0]
        order = torch.from_numpy(np.argsort(whole, kind="stable"))
    return order[chosen[order]]


def _merge(points: Points, radius2: float, rows: Tensor, priority: Tensor | None, n: int) -> Merge:
    """Merge sorted points; ``rows`` are their places among the n points."""
    if not len(rows):
        empty = torch.empty(0, dtype=torch.long)
        return Merge(empty, torch.full((n,), -1), empty, 0)
    found = near(points, radius2)
    rank = np.zeros(len(rows), np.int64) if priority is None else priority.cpu()[rows].numpy()
    owner, components = _greedy(found, rank)
    if not found.exact:
        owner = _searched_again(points, radius2, owner, rank)
    leader, basin = np.unique(owner, return_counts=True)
    components = min(components, len(leader))  # the first search alone may see chains in pieces
    order = np.argsort(-basin, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    member = torch.full((n,), -1)
    member[rows] = torch.from_numpy(place[np.searchsorted(leader, owner)])
    return Merge(
        rows[leader[order]],
        member,
        torch.from_numpy(basin[order]),
        components,
        found.recall,
        found.exact,
        found.sampled,
    )


def _searched_again(points: Points, radius2: float, owner: Rows, priority: NDArray[np.int64]) -> Rows:
    """For each point its leader (n,), after leaders that the approximate search did not see to be neighbours have been
    searched for among the leaders alone: exactly if that may be, else in other cells. The one of the larger basin takes
    the other with all its points, also those beyond the radius."""
    leaders, basin = np.unique(owner, return_counts=True)
    if len(leaders) == len(owner):  # these have been searched, in the same cells
        return owner
    order = np.lexsort((leaders, -basin, priority[leaders]))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    alone = Points(points.rows[torch.from_numpy(leaders)], points.device)
    first, _ = _greedy(near(alone, radius2), rank)
    return leaders[first[np.searchsorted(leaders, owner)]]


def _greedy(near: Near, priority: NDArray[np.int64]) -> tuple[Rows, int]:
    """For each point its leader (n,), and the number of connected components."""
    count, components = near.degrees()
    rows = np.arange(len(count))
    owner = np.where(count == 1, rows, -1)
    todo = np.lexsort((rows, -count, priority))
    while len(todo := todo[owner[todo] < 0]):
        leading = todo[:BLOCK]  # the first free ones: only they can lead each other
        claim(leading, *near.of(leading, owner < 0), owner)
    return owner, components
