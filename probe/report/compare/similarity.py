"""How similar the dictionaries of two runs are, and how similar unrelated ones would be."""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from probe.metrics.chamfer import chamfer_cosine
from probe.metrics.interval import mean_interval
from probe.metrics.nearest import nearest_cosine
from probe.metrics.overlap import overlap, unrelated
from probe.report.compare.protocol import ComparedRun
from probe.report.compare.schema import Similarity
from probe.report.run.sample import mean_of
from probe.results.run import read_atoms

DRAWS = 8
"""Random dictionaries per null level; their mean varies in the third digit."""


def similarities(runs: Sequence[ComparedRun]) -> list[Similarity]:
    """Of every pair of runs with latents of the same shape and no empty dictionary."""
    atoms = {run.name: torch.from_numpy(read_atoms(run.path)) for run in runs}
    return [
        similarity(a.name, b.name, atoms[a.name], atoms[b.name])
        for a, b in combinations(runs, 2)
        if a.same_latents(b) and len(atoms[a.name]) and len(atoms[b.name])
    ]


def similarity(name: str, other: str, a: Tensor, b: Tensor) -> Similarity:
    """Of dictionaries (m, d) and (n, d)."""
    there, back = nearest_cosine(a, b).double(), nearest_cosine(b, a).double()
    return Similarity(
        a=name,
        b=other,
        a_in_b=mean_of(mean_interval(there.numpy())),
        b_in_a=mean_of(mean_interval(back.numpy())),
        chamfer=float(there.mean() + back.mean()) / 2,
        chamfer_null=_null(a, b),
        overlap=overlap(a, b),
        overlap_null=unrelated(a, b),
    )


def _null(a: Tensor, b: Tensor) -> float:
    """Chamfer cosine similarity of as many Gaussian directions."""
    generator = torch.Generator().manual_seed(0)
    found = [
        chamfer_cosine(torch.randn(a.shape, generator=generator), torch.randn(b.shape, generator=generator))
        for _ in range(DRAWS)
    ]
    return sum(found) / DRAWS
