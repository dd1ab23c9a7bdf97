"""How fast end points merge into atoms: ours against what else would be used, on the same points.

| contender | what it does |
|---|---|
| probe | ``merge_by_cosine``: greedy leaders and connected components |
| probe, cells | the same from the inverted-file index that it takes where an exact search would take too long |
| FAISS range_search | all neighbour lists from an exact index; greedy leaders and connected components from them |
| scikit-learn DBSCAN | cosine, min_samples = 1, brute force in blocks: connected components |
| torch N x N | the whole matrix of cosines, then greedy leaders |
"""

import statistics
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from probe.bench import in_turn, paired_ratio
from probe.dictionary import merge_by_cosine, near
from probe.dictionary.points import claim
from probe.machine import free_bytes, resident_bytes

Counts = tuple[int | None, int | None, float]
"""Greedy leaders and connected components, None for what a contender does not count; and the recall."""
Contender = Callable[[Tensor, float], Counts]
WARM_UP = 256
PER_SECOND, LONGEST = 5e10, 3600
"""Multiply-adds of one core, about; and seconds of work above which a contender that compares all pairs is not run."""


@dataclass
class Measured:
    """One contender.

    Attributes:
        seconds: the median over the repeats; None where it was not run.
        atoms: greedy leaders; None for a contender that chains.
        components: connected components; None for a contender that does not chain.
        ratio: its seconds over ours, the median over the repeats.
        recall: share of the neighbours that it found, from a sample; 1 where it compares all.
        gib: memory that it took at its highest, beside what was taken before; from a look every 10 ms.
        note: why it was not run.
    """

    tool: str
    seconds: float | None = None
    atoms: int | None = None
    components: int | None = None
    ratio: float | None = None
    recall: float | None = None
    gib: float | None = None
    note: str = ""


def clusters(
    n: int, d: int, count: int, seed: int = 0, spread: float = 0.05, device: torch.device | str = "cpu"
) -> tuple[Tensor, int]:
    """Points (n, d) about random directions, and how many of these have a point.

    A point lies about ``spread`` from its centre, which has norm 1, so that the cosine of two points of a cluster is
    about 1 - spread^2 = 0.9975.
    """
    generator = torch.Generator(device).manual_seed(seed)
    centres = torch.nn.functional.normalize(torch.randn(count, d, generator=generator, device=device), dim=1)
    which = torch.randint(count, (n,), generator=generator, device=device)
    points = torch.randn(n, d, generator=generator, device=device).mul_(spread / d**0.5)
    for rows, part in zip(which.split(4096), points.split(4096), strict=True):
        part += centres[rows]
    return points, len(which.unique())


def compare(points: Tensor, cosine: float = 0.99, *, repeats: int = 3, memory: int | None = None) -> list[Measured]:
    """Measure all contenders in turn, ``repeats`` times, after a small part of the points that is not counted.

    Args:
        points: (n, d), without origins.
        memory: bytes that a contender may take beside the points; by default 0.7 of what is free.
    """
    memory = memory or int(0.7 * free_bytes())
    reasons = dict(_too_large(points, cosine, memory))
    running = {tool: partial(_watched, one, points, cosine) for tool, one in CONTENDERS.items() if tool not in reasons}
    for tool in running:
        CONTENDERS[tool](points[:WARM_UP], cosine)
    seconds, found = in_turn(running, repeats)

    def measured(tool: str) -> Measured:
        times, ((atoms, components, recall), gib) = seconds[tool], found[tool]
        ratio = paired_ratio(times, seconds["probe"])
        return Measured(tool, statistics.median(times), atoms, components, ratio, recall, gib)

    return [Measured(tool, note=reasons[tool]) if tool in reasons else measured(tool) for tool in CONTENDERS]


def _too_large(points: Tensor, cosine: float, memory: int) -> Iterator[tuple[str, str]]:
    """Contenders that would not fit into memory, with the reason."""
    n, gib = len(points), 2**30
    hours = n**2 * points.shape[1] / PER_SECOND / 3600
    if 3600 * hours > LONGEST:
        for tool in ("FAISS range_search", "scikit-learn DBSCAN", "torch N x N"):
            yield tool, f"takes about {hours:.1f} hours of a core"
        return
    matrix = 5 * n**2  # float32 cosines and the mask
    if matrix > memory:
        yield "torch N x N", f"needs {matrix / gib:.1f} GiB"
    basins = merge_by_cosine(points, cosine).basin
    # Points of a basin are near its leader, and mostly each other; 12 bytes each, and a copy while they are gathered.
    lists = 24 * int(basins.square().sum())
    if lists > memory:
        for tool in ("FAISS range_search", "scikit-learn DBSCAN"):
            yield tool, f"needs about {lists / gib:.1f} GiB"


def _watched(contender: Contender, points: Tensor, cosine: float) -> tuple[Counts, float]:
    """What it found, and the GiB that it took at its highest."""
    before = highest = resident_bytes()
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.01):
            highest = max(highest, resident_bytes())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        counts = contender(points, cosine)
    finally:
        done.set()
        watching.join()
    return counts, (highest - before) / 2**30


def _ours(points: Tensor, cosine: float, work: float = near.WORK) -> Counts:
    with patch.object(near, "WORK", work):
        merge = merge_by_cosine(points, cosine, starts=torch.arange(len(points)))
    return len(merge.leader), merge.components, merge.recall


def _faiss(points: Tensor, cosine: float) -> Counts:
    import faiss
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    unit = torch.nn.functional.normalize(points, dim=1).numpy()
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    limits, _, near = index.range_search(unit, cosine)
    limits = limits.astype(np.int64)
    graph = csr_matrix((np.ones(len(near), np.int8), near, limits), shape=(len(unit), len(unit)))
    owner = np.full(len(unit), -1)
    for row in np.argsort(-np.diff(limits), kind="stable"):
        claim(np.array([row]), limits[row : row + 2] - limits[row], near[limits[row] : limits[row + 1]], owner)
    return len(np.unique(owner)), int(connected_components(graph, directed=False)[0]), 1.0


def _scikit_learn(points: Tensor, cosine: float) -> Counts:
    from sklearn.cluster import DBSCAN

    found = DBSCAN(eps=1 - cosine, min_samples=1, metric="cosine", algorithm="brute").fit(points.numpy())
    return None, int(found.labels_.max()) + 1, 1.0


def _torch(points: Tensor, cosine: float) -> Counts:
    unit = torch.nn.functional.normalize(points, dim=1)
    near = unit @ unit.T > cosine
    free, atoms = torch.ones(len(unit), dtype=torch.bool), 0
    for row in torch.argsort(near.sum(1), descending=True, stable=True).tolist():
        if free[row]:
            free &= ~near[row]
            free[row] = False
            atoms += 1
    return atoms, None, 1.0


CONTENDERS: dict[str, Contender] = {
    "probe": _ours,
    "probe, cells": partial(_ours, work=0.0),
    "FAISS range_search": _faiss,
    "scikit-learn DBSCAN": _scikit_learn,
    "torch N x N": _torch,
}
