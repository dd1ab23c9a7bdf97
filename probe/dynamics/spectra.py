"""Spectral radius and norm of Jacobians, from products alone, for many points at once.

| symbol | meaning | shape |
|---|---|---|
| V | orthonormal Krylov basis, rows | (n, m + 1, d) |
| H | J V^T = V^T H, the last row couples to the next vector | (n, m + 1, m) |
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from probe.dynamics.jacobian import Jacobian, directions

VECTORS = 24
"""Size of the Krylov basis; half of it survives a restart."""
PRECISE = 0.05
"""Sufficient error of a radius, relative to its distance from 1."""
SHARPEST = 1e-6
"""Relative error below which a radius that is still undecided is given up."""


@dataclass
class Estimate:
    """One number for each of n points, float64 on the CPU.

    Attributes:
        value: NaN where a product was not finite.
        error: estimated absolute error.
        products: Jacobian products spent on the point.
    """

    value: Tensor
    error: Tensor
    products: Tensor

    @staticmethod
    def unknown(n: int) -> "Estimate":
        """Nothing yet."""
        nan = torch.full((n,), torch.nan, dtype=torch.float64)
        return Estimate(nan, nan.clone(), torch.zeros(n, dtype=torch.long))


def spectral_radius(jacobian: Jacobian, *, budget: int = 300) -> Estimate:
    """The largest modulus of an eigenvalue of J_f at each point.

    Implicitly restarted Arnoldi in the form of Krylov-Schur (Stewart 2001): a Krylov basis is built by products, the
    Schur vectors of the larger half of its Ritz values begin the next one. The error of a Ritz value is that of its
    residual times its condition number (the inverse cosine between its left and right vectors): where J is far from
    normal, a small residual alone says little. Rounding of the products is part of it.

    A point is done when the error is a small part (``PRECISE``) of the value's distance from 1, at the latest after
    ``budget`` products.
    """
    found = Estimate.unknown(len(jacobian.z))
    rows = torch.arange(len(jacobian.z))
    d, dtype = jacobian.z[0].numel(), jacobian.z.dtype
    m = min(VECTORS, d)
    v = directions(jacobian.z).flatten(1).double()
    basis = v.new_zeros((len(v), m + 1, d))
    basis[:, 0] = v
    h = v.new_zeros((len(v), m + 1, m))
    kept, spent = [0] * len(v), 0
    while len(rows):
        _extend(jacobian, basis, h, kept)
        spent += m - min(kept)
        restarts = [_restart(one, dtype) for one in h.cpu().numpy()]
        for row, restart in zip(rows.tolist(), restarts, strict=True):
            found.value[row], found.error[row], found.products[row] = restart.value, restart.error, spent
        left = [i for i, restart in enumerate(restarts) if not restart.done and spent + m // 2 <= budget]
        if not left:
            break
        basis, h = _restarted(basis, [(i, restarts[i]) for i in left])
        kept = [restarts[i].keep for i in left]
        rows, jacobian = rows[left], jacobian.take(torch.tensor(left, device=jacobian.z.device))
    return found


def _extend(jacobian: Jacobian, basis: Tensor, h: Tensor, kept: list[int]) -> None:
    """Arnoldi from the first column that each row has not kept to the end, in place; orthogonalised twice."""
    shape = jacobian.z.shape
    first = torch.tensor(kept, device=h.device)
    for j in range(min(kept), h.shape[2]):
        lacks = (first <= j).to(h)[:, None]  # a row that kept more has this column already
        w = jacobian.times(basis[:, j].view(shape).to(jacobian.z)).flatten(1).double()
        size = torch.linalg.vector_norm(w, dim=1)
        for _ in range(2):
            coefficients = torch.einsum("nid,nd->ni", basis[:, : j + 1], w)
            w = w - torch.einsum("nid,ni->nd", basis[:, : j + 1], coefficients)
            h[:, : j + 1, j] += lacks * coefficients
        beta = torch.linalg.vector_norm(w, dim=1)
        # In an invariant subspace the remainder is rounding of the product. As a direction it would not be orthogonal
        # to the others, and the values would grow without bound; so the vectors that follow are zero.
        beta = torch.where(beta > _rounding(jacobian.z.dtype) * size, beta, 0.0)
        h[:, j + 1, j] += lacks[:, 0] * beta
        following = torch.where(beta[:, None] > 0, w / beta[:, None], 0.0)
        basis[:, j + 1] = torch.where(lacks > 0, following, basis[:, j + 1])


def _rounding(dtype: torch.dtype) -> float:
    """Relative error of a product."""
    return max(16 * torch.finfo(dtype).eps, 1e-12)


@dataclass
class _Restart:
    """The value of one H, and the next round: its basis in terms of this one, and its H.

    ``vectors`` (m, keep), ``square`` (keep, keep), ``coupling`` (keep,); with keep = 0, ``vectors`` (m, 1) alone.
    """

    value: float = float("nan")
    error: float = float("nan")
    done: bool = True
    keep: int = 0
    vectors: np.ndarray | None = None
    square: np.ndarray | None = None
    coupling: np.ndarray | None = None


def _restart(h: np.ndarray, dtype: torch.dtype) -> _Restart:
    m = h.shape[1]
    if not np.isfinite(h).all():
        return _Restart()
    square, beta = h[:m], h[m, m - 1]
    values, left, right = scipy.linalg.eig(square, left=True, right=True)
    top = int(np.abs(values).argmax())
    value = float(np.abs(values[top]))
    cosine = abs(np.vdot(left[:, top], right[:, top]))
    rounding = _rounding(dtype) * np.linalg.norm(square, 2)
    error = float((beta * abs(right[-1, top]) + rounding) / max(cosine, 1e-300))
    if error <= PRECISE * abs(value - 1) or error <= SHARPEST * value or beta == 0:
        return _Restart(value, error)
    for limit in _limits(np.abs(values)):
        try:
            schur, vectors, keep = scipy.linalg.schur(square, "real", sort=lambda x, y: np.hypot(x, y) > limit)  # noqa: B023
        except np.linalg.LinAlgError:  # too close to each other to be told apart
            continue
        if schur[keep, keep - 1] == 0:  # not between the two of a pair
            coupling = beta * vectors[m - 1, :keep]
            return _Restart(value, error, False, keep, vectors[:, :keep], schur[:keep, :keep], coupling)
    begin = right[:, top].real if right[:, top].real.any() else right[:, top].imag
    return _Restart(value, error, False, 0, begin[:, None] / np.linalg.norm(begin))


def _limits(sizes: np.ndarray) -> list[float]:
    """Where to divide Ritz values, about in the middle; the widest gap first."""
    m = len(sizes)
    sizes = np.sort(sizes)[::-1]
    places = range(max(m // 3, 1), max(2 * m // 3, 1) + 1)
    gaps = sorted(places, key=lambda i: sizes[i] / max(sizes[i - 1], 1e-300))
    return [float(np.sqrt(sizes[i - 1] * sizes[i])) for i in gaps if sizes[i] < sizes[i - 1] * (1 - 1e-9)][:4]


def _restarted(basis: Tensor, restarts: list[tuple[int, _Restart]]) -> tuple[Tensor, Tensor]:
    """V and H of the next round."""
    m = basis.shape[1] - 1
    new = basis.new_zeros((len(restarts), m + 1, basis.shape[2]))
    h = basis.new_zeros((len(restarts), m + 1, m))
    for place, (row, restart) in enumerate(restarts):
        vectors = torch.from_numpy(restart.vectors).to(basis)
        new[place, : vectors.shape[1]] = vectors.T @ basis[row, :m]
        if restart.keep:
            k = restart.keep
            new[place, k] = basis[row, m]
            h[place, :k, :k] = torch.from_numpy(restart.square).to(basis)
            h[place, k, :k] = torch.from_numpy(restart.coupling).to(basis)
    return new, h


def spectral_norm(jacobian: Jacobian, *, budget: int = 60, precise: float = 1e-2) -> Estimate:
    """The largest singular value of J_f at each point, by power iteration on J^T J.

    The residual bounds the distance to a singular value; that it is the largest one rests on the random start.
    ``budget`` counts products with J and with J^T.
    """
    tiny = torch.finfo(torch.float64).tiny
    v = directions(jacobian.z).flatten(1).double()
    found, rows = Estimate.unknown(len(v)), torch.arange(len(v))
    for _ in range(budget // 2):
        u = jacobian.times(v.view(jacobian.z.shape))
        w = jacobian.transposed_times(u).flatten(1).double()
        square = u.flatten(1).double().square().sum(1)
        residual = torch.linalg.vector_norm(w - square[:, None] * v, dim=1)
        value = square.sqrt()
        error = residual / (2 * value).clamp(min=tiny)
        finite = torch.isfinite(value) & torch.isfinite(error)
        found.value[rows] = torch.where(finite, value, torch.nan).cpu()
        found.error[rows] = torch.where(finite, error, torch.nan).cpu()
        found.products[rows] += 2
        left = (finite & (error > precise * value)).nonzero().squeeze(1)
        if not len(left):
            break
        v = w[left] / torch.linalg.vector_norm(w[left], dim=1, keepdim=True).clamp(min=tiny)
        rows, jacobian = rows[left.cpu()], jacobian.take(left)
    return found
