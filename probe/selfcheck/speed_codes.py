"""Sparse codes against the least that their method takes, and merging end points."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probe.bench.dedup import clusters
from probe.bench.device import now
from probe.dictionary import merge_by_cosine
from probe.dictionary.points import Points
from probe.selfcheck.check import Check, Row, Setting
from probe.selfcheck.speed_device import bandwidth, peak, target
from probe.sparse import Dictionary, omp
from probe.sparse.cost import floor_seconds

TIMES = 3.0
"""The most that a pursuit may take, in times of the cost model's floor."""


def _unit(n: int, d: int, setting: Setting, seed: int) -> Tensor:
    """Random rows (n, d) on the device: their codes take every atom asked for."""
    return torch.randn(n, d, generator=torch.Generator(setting.device).manual_seed(seed), device=setting.device)


def _long(setting: Setting) -> Iterator[Row]:
    n, d, depths = (4, 64, (24,)) if setting.small else (500, 4096, (512, 2048))
    began = now(setting.device)
    dictionary = Dictionary(_unit(d, d, setting, 0), torch.float64)
    dictionary.gram  # noqa: B018  # made when first asked for
    yield Row("dictionary and Gram matrix, float64", now(setting.device) - began, "s", note=f"{d} atoms of {d}")
    x, speed = (
        _unit(n, d, setting, 1),
        (peak(setting.device, "float64", setting.small), bandwidth(setting.device, setting.small)),
    )
    omp(dictionary, x, [2])
    for depth in depths:
        began = now(setting.device)
        codes = omp(dictionary, x, [depth])
        taken, least = now(setting.device) - began, floor_seconds(n, d, depth, *speed)
        used = int(codes.used(depth).min())
        note = f"{n} signals in {taken:.2f} s, {1e3 * taken / n:.2f} ms each; floor {least:.2f} s; {used} atoms or more"
        yield target(f"OMP to {depth} atoms, float64, over the floor", taken / least, "times", "<=", TIMES, note)


def _short(setting: Setting) -> Iterator[Row]:
    n, d, depth = (4, 64, 6) if setting.small else (500, 4096, 205)
    dictionary, x = Dictionary(_unit(d, d, setting, 0), torch.float32), _unit(n, d, setting, 1)
    omp(dictionary, x, [2])
    for _ in range(2):
        began = now(setting.device)
        omp(dictionary, x, [depth])
        taken = now(setting.device) - began
    yield Row(f"OMP to {depth} atoms, float32", 1e3 * taken / n, "ms a signal", note=f"{n} signals in {taken:.2f} s")


def _merging(setting: Setting) -> Iterator[Row]:
    n, d, count = (5000, 16, 50) if setting.small else (100_000, 4096, 1000)
    for kind, groups in (("groups", count), ("all apart", n)):
        if groups == n and setting.small:
            n = groups = 300
        points, known = clusters(n, d, groups, device=setting.device) if groups < n else (_unit(n, d, setting, 2), n)
        began = now(setting.device)
        merge = merge_by_cosine(points, 0.99, starts=torch.arange(n))
        taken = now(setting.device) - began
        note = f"{n} points, d = {d}, {len(merge.leader)} of {known} found, {merge.index}"
        yield Row(f"merging end points, {kind}", taken, "s", note=note)


def _faiss(setting: Setting) -> Iterator[Row]:
    """The search that most of merging is, by FAISS: the nearest of 1,000 leaders for each point."""
    import faiss

    n, d, count = (2000, 16, 50) if setting.small else (100_000, 4096, 1000)
    points = torch.nn.functional.normalize(clusters(n, d, count, device=setting.device)[0], dim=1).cpu()
    index: Any = faiss.IndexFlatL2(d)
    if setting.cuda and getattr(faiss, "get_num_gpus", int)():
        index = faiss.index_cpu_to_all_gpus(index)
    index.add(points[:count].numpy())
    index.search(points[:count].numpy(), 1)
    began = now(setting.device)
    index.search(points.numpy(), 1)
    yield Row("the nearest of 1,000 leaders, FAISS", now(setting.device) - began, "s", note=type(index).__name__)
    known, leaders = Points(points, setting.device), np.arange(count)
    began = now(setting.device)
    for rows in known.parts(np.arange(n)):
        known.nearest(rows, leaders, float("inf"))
    yield Row("the nearest of 1,000 leaders, ours", now(setting.device) - began, "s", note=f"{n} points, d = {d}")


CHECKS = (
    Check("omp-long", "speed", "float64 sparse codes of up to 2048 atoms", 60, _long),
    Check("omp-short", "speed", "float32 sparse codes of 205 atoms", 10, _short),
    Check("merging", "speed", "100,000 end points of d = 4096", 40, _merging),
    Check("merging-faiss", "speed", "the search within merging, by FAISS and ours", 20, _faiss, needs=("faiss",)),
)
