"""Sparse codes and merging, against other implementations and closed forms."""

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probe.dictionary import Merge, gaussian, merge_by_cosine, merge_by_euclid, random_orthogonal
from probe.sparse import omp


def omp_gap() -> float:
    """The largest difference of squared errors between ``omp`` and scikit-learn's ``orthogonal_mp``, in float64:
    random and strongly correlated atoms, more and fewer than dimensions."""
    from sklearn.linear_model import orthogonal_mp

    gaps = []
    for seed, (n, d, k, common) in enumerate([(120, 60, 12, 0.0), (40, 60, 12, 0.0), (120, 60, 12, 4.0)]):
        atoms = gaussian(n, d, seed) + common * gaussian(1, d, 100 + seed)
        atoms, signals = atoms / atoms.norm(dim=1, keepdim=True), gaussian(20, d, 200 + seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an early stop; the errors are compared
            theirs = orthogonal_mp(atoms.T.numpy(), signals.T.numpy(), n_nonzero_coefs=k)
        errors = np.square(signals.T.numpy() - atoms.T.numpy() @ theirs).sum(0)
        gaps.append(np.abs(omp(atoms, signals, levels=[k]).squared_error[:, -1].numpy() - errors).max())
    return float(max(gaps))


def share_left_by_a_random_basis(d: int = 1024, signals: int = 64) -> float:
    """The share of the energy of Gaussian signals that 5 % of d atoms of a random orthogonal basis leave."""
    x = torch.randn(signals, d, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    codes = omp(random_orthogonal(d, 0), x, levels=[round(0.05 * d)])
    return float((codes.squared_error[:, -1] / x.square().sum(1)).mean())


def share_left_in_theory() -> float:
    """1 - 2 (t phi(t) + Phi(-t)) with Phi(-t) = 0.025: what is left of a normal variable's variance when the largest
    5 % by size are taken out."""
    from scipy.stats import norm

    t = norm.ppf(0.975)
    return float(1 - 2 * (t * norm.pdf(t) + norm.sf(t)))


def wrong_by_cosine() -> float:
    """Points that ``merge_by_cosine`` gives to another leader than brute force does, at cosines of 0.9 to 0.99."""
    wrong = 0
    for cosine in (0.9, 0.95, 0.99):
        points = _points()
        unit = points / points.norm(dim=1, keepdim=True)
        wrong += _wrong(points, (unit @ unit.T > cosine).numpy(), partial(merge_by_cosine, cosine=cosine))
    return wrong


def wrong_by_euclid() -> float:
    """The same of ``merge_by_euclid``, at 5 to 20 % of the root mean square norm."""
    wrong = 0
    for relative in (0.05, 0.1, 0.2):
        points = _points()
        radius = relative * float(points.square().sum(1).mean().sqrt())
        near = (torch.cdist(points, points) < radius).numpy()
        wrong += _wrong(points, near, partial(merge_by_euclid, relative=relative))
    return wrong


def _points() -> Tensor:
    """400 points around 12 centres of very different sizes, which overlap: (400, 8), float64."""
    generator = torch.Generator().manual_seed(11)
    centres = torch.randn(12, 8, dtype=torch.float64, generator=generator)
    of = torch.randint(0, 12, (400,), generator=generator)
    spread = 0.3 * torch.rand(400, 1, dtype=torch.float64, generator=generator)
    return centres[of] + spread * torch.randn(400, 8, dtype=torch.float64, generator=generator)


def _wrong(points: Tensor, near: NDArray[np.bool_], merge: Callable[[Tensor], Merge]) -> int:
    found = merge(points)
    return int((found.leader[found.member].numpy() != leaders(near, points.numpy())).sum())


def leaders(near: NDArray[np.bool_], points: NDArray[np.float64]) -> NDArray[np.int64]:
    """The leader of each point (n,), by the rule and nothing else: of the free points, the one with the most neighbours
    among all points leads and takes its free neighbours; ties go to the point whose coordinates come first as bytes.

    ``near`` (n, n) says who are neighbours, each of itself, too.
    """
    count, order = near.sum(1), {row: point.tobytes() for row, point in enumerate(points)}
    owner = np.full(len(near), -1)
    for row in sorted(order, key=lambda row: (-count[row], order[row])):
        if owner[row] < 0:
            owner[(owner < 0) & near[row]] = row
    return owner
