"""How similar the dictionaries of two runs are, and how similar unrelated ones would be."""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from probe.metrics.interval import mean_interval
from probe.metrics.memorization import chamfer_cosine, nearest_cosine
from probe.metrics.sets import overlap, unrelated
from probe.report.compare.protocol import ComparedRun
from probe.report.compare.schema import Similarity
from probe.report.run.sample import mean_of
from probe.results.run import read_atoms

DRAWS = 8
"""Random dictionaries per null level; their mean varies in the third digit."""


def similarities(runs: Sequence[ComparedRun]) -> list[Similarity]:
    """Of every pair of runs with latents of the same shape and no empty dictionary."""
    atoms = {run.name: torch.from_numpy(read_atoms(run.path)) for run in runs}
    pairs = [(one.name, other.name) for one, other in combinations(runs, 2) if one.same_latents(other)]
    return [
        _similarity(one, other, atoms[one], atoms[other])
        for one, other in pairs
        if len(atoms[one]) and len(atoms[other])
    ]


def _similarity(name: str, other: str, a: Tensor, b: Tensor) -> Similarity:
    """Of dictionaries (m, d) and (n, d)."""
    a_in_b, b_in_a = nearest_cosine(a, b).double(), nearest_cosine(b, a).double()
    rng = torch.Generator().manual_seed(0)
    random = ((torch.randn(a.shape, generator=rng), torch.randn(b.shape, generator=rng)) for _ in range(DRAWS))
    return Similarity(
        a=name,
        b=other,
        a_in_b=mean_of(mean_interval(a_in_b.numpy())),
        b_in_a=mean_of(mean_interval(b_in_a.numpy())),
        chamfer=float(a_in_b.mean() + b_in_a.mean()) / 2,
        chamfer_null=sum(chamfer_cosine(*pair) for pair in random) / DRAWS,
        overlap=overlap(a, b),
        overlap_null=unrelated(a, b),
    )
