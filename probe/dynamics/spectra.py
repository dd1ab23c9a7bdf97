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
FIRST, LOOK = 12, 4
"""Size of the basis at which its values are judged first, and products between one judgement and the next."""
FEW = 0.75
"""Share of the points that must be done before the rest goes on without them: their graph is built anew."""
PRECISE = 0.05
"""Sufficient error of a radius, relative to its distance from 1."""
SKEWED = 1e3
"""An eigenvalue of a larger condition is not taken for one: a Jordan block has such ones far from its own."""
SHARPEST = 1e-6
"""Relative error below which a radius that is still undecided is given up."""
TOWARDS = 5
"""Singular vectors in the direction of which the search for the radius begins."""


@dataclass(eq=False)
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

    def put(self, rows: Tensor, other: "Estimate") -> None:
        """Take the numbers of some of the points."""
        for name, values in vars(self).items():
            values[rows] = getattr(other, name)

    @staticmethod
    def unknown(n: int) -> "Estimate":
        """Nothing yet."""
        nan = torch.full((n,), torch.nan, dtype=torch.float64)
        return Estimate(nan, nan.clone(), torch.zeros(n, dtype=torch.long))


@dataclass
class Leading(Estimate):
    """The largest modulus of an eigenvalue, and what is known of the eigenvalue itself.

    Attributes:
        from_one: |1 - lambda|.
        condition: of lambda, at least 1: by how much a change of J can be larger in lambda; an estimate.
    """

    from_one: Tensor
    condition: Tensor

    @staticmethod
    def unknown(n: int) -> "Leading":
        """Nothing yet."""
        first = Estimate.unknown(n)
        return Leading(**vars(first), from_one=first.value.clone(), condition=first.value.clone())


@dataclass
class Singular:
    """The largest singular values of J_f at n points.

    Attributes:
        norm: the largest of each point.
        left, right: the sum of the singular vectors of the ``TOWARDS`` largest; float64, (n, d) on the device of the
            points. 0 where a product was not finite.
    """

    norm: Estimate
    left: Tensor
    right: Tensor


@dataclass
class Eigen:
    """An eigenvalue of each of n Jacobians, complex128 (n,), and its eigenvector, complex128 (n, d); on the CPU."""

    value: Tensor
    vector: Tensor


def spectral_radius(
    jacobian: Jacobian, *, budget: int = 300, singular: Singular | None = None, precise: float = PRECISE
) -> Leading:
    """The largest modulus of an eigenvalue of J_f at each point.

    Implicitly restarted Arnoldi in the form of Krylov-Schur (Stewart 2001), on J^T where its products are faster: a
    Krylov basis is built by products, the Schur vectors of the larger half of its Ritz values begin the next one. The
    error of a Ritz value is that of its residual times its condition number (the inverse cosine between its left and
    right vectors, which change places in J^T): where J is far from normal, a small residual alone says little.
    Rounding of the products is part of it.

    A point is done when the error is a small part (``precise``) of the value's distance from 1, at the latest after
    ``budget`` products. The error is the distance to an eigenvalue; that it is the largest one rests on the start,
    which is random. With the largest singular vectors added to it (``singular``) it is missed less often, and found in
    fewer products, since eigenvectors of large eigenvalues lie close to them.
    """
    start = directions(jacobian.z).flatten(1).double()
    if singular is not None:  # the eigenvectors of J^T are orthogonal to all but one of J's, so that the sides change
        both = start + (singular.left if jacobian.transposes else singular.right)
        # Of J = -c I the singular vectors are the start turned round, and nothing is left of the sum.
        cancels = torch.linalg.vector_norm(both, dim=1, keepdim=True) < 1e-6
        start = torch.where(cancels, start, both)
    return _krylov_schur(jacobian, start, jacobian.transposes, budget=budget, precise=precise, vectors=False)[0]


def confirmed_radius(jacobian: Jacobian, *, budget: int = 300) -> Leading:
    """The spectral radius by two more searches, one on each side of J, from other starts than ``spectral_radius``.

    A Krylov basis much smaller than d knows little of the condition of an eigenvalue: of a Jordan block of 100 with 0.9
    on its diagonal it finds eigenvalues of 1.8, small residual and all (they are those of a matrix that differs by
    rounding). Here the condition is that of the whole space: u of J^T u = lambda u is found first, then x of J x = mu x
    with mu nearest to lambda, starting from u; the condition is 1 / |u^T x|. The error is |lambda - mu| and the
    residuals of both times the condition; it is the value itself, which says nothing, where lambda and mu are further
    apart than their errors or the condition is above ``SKEWED``.
    """
    d = jacobian.z[0].numel()
    left, u = _krylov_schur(jacobian, directions(jacobian.z, 1).flatten(1).double(), True, budget=budget)
    start = u.vector.conj().to(jacobian.z.device)
    start = (start.real + start.imag).nan_to_num() + directions(jacobian.z, 2).flatten(1).double()
    right, x = _krylov_schur(jacobian, start, False, budget=budget, nearest=u.value)
    condition = 1 / (u.vector * x.vector).sum(1).abs().clamp(min=1 / (d * 1e16))
    apart, value = (u.value - x.value).abs(), torch.minimum(left.value, right.value)
    error = apart + (left.error / left.condition + right.error / right.condition) * condition
    same = (apart <= left.error + right.error) & (condition <= SKEWED)
    return Leading(
        value=value,
        error=torch.where(same, torch.stack([left.error, right.error, error]).amax(0), value),
        products=left.products + right.products,
        from_one=left.from_one,
        condition=condition,
    )


def _krylov_schur(
    jacobian: Jacobian,
    start: Tensor,
    transposed: bool,
    *,
    budget: int,
    precise: float = PRECISE,
    nearest: Tensor | None = None,
    vectors: bool = True,
) -> tuple[Leading, Eigen]:
    """The search of ``spectral_radius`` from vectors (n, d), on J^T or J: for the largest eigenvalue, or for the one
    nearest to numbers (n,). Without ``vectors`` the eigenvectors are 0: each would make the host wait for a GPU."""
    n, d, dtype = len(jacobian.z), jacobian.z[0].numel(), jacobian.z.dtype
    found, rows = Leading.unknown(n), torch.arange(n)
    eigen = Eigen(torch.full((n,), torch.nan, dtype=torch.complex128), torch.zeros((n, d), dtype=torch.complex128))
    m = min(VECTORS, d)
    v = start / torch.linalg.vector_norm(start, dim=1, keepdim=True)
    basis = torch.cat([v[:, None], v.new_zeros((n, m, v.shape[1]))], 1)
    h = v.new_zeros((n, m + 1, m))
    kept, spent, over = torch.zeros(3, n, dtype=torch.long)
    size = 0
    while n:
        begin, size = size, min(m, max(FIRST, size // LOOK * LOOK + LOOK))
        _extend(jacobian, transposed, basis, h, kept, range(begin, size))
        for i, one in enumerate(h[:, : size + 1, :size].cpu().numpy()):
            if not over[i] and size > kept[i]:
                spent[i] += size - max(begin, int(kept[i]))
                row = rows[i]
                ritz = _ritz(one, dtype, None if nearest is None else complex(nearest[row]))
                found.value[row], found.error[row] = abs(ritz.value), ritz.error
                found.from_one[row], found.condition[row] = abs(1 - ritz.value), ritz.condition
                found.products[row] = spent[i]
                over[i] = ritz.enough(precise) or spent[i] + LOOK > budget
                if over[i]:
                    eigen.value[row] = torch.tensor(ritz.value, dtype=torch.complex128)
                if over[i] and vectors:
                    eigen.vector[row] = torch.from_numpy(ritz.vector) @ basis[i, :size].cpu().to(torch.complex128)
        left = (over == 0).nonzero().squeeze(1)
        if not len(left):
            break
        if size == m or len(left) <= FEW * len(over):
            here = left.to(h.device)
            basis, h, jacobian = basis[here], h[here], jacobian.take(here)
            rows, kept, spent, over = rows[left], kept[left], spent[left], over[left]
        if size == m:
            basis, h, kept = _restarted(basis, h)
            size = int(kept.min())
    return found, eigen


def _extend(jacobian: Jacobian, transposed: bool, basis: Tensor, h: Tensor, kept: Tensor, columns: range) -> None:
    """Columns of H by Arnoldi, in place, for each row those that it has not kept."""
    first = kept.to(h.device)
    product = jacobian.transposed_times if transposed else jacobian.times
    for j in columns:
        lacks = (first <= j).to(h)[:, None]  # a row that kept more has this column already
        w = product(basis[:, j].view(jacobian.z.shape)).flatten(1).double()
        following, beta, coefficients = _orthogonalised(w, basis[:, : j + 1], jacobian.z.dtype)
        h[:, : j + 1, j] += lacks * coefficients
        h[:, j + 1, j] += lacks[:, 0] * beta
        basis[:, j + 1] = torch.where(lacks > 0, following, basis[:, j + 1])


def _orthogonalised(w: Tensor, basis: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The unit vector (n, d) of what products w (n, d) add to orthonormal rows (n, k, d), twice orthogonalised; its
    length (n,), and the coefficients of the rest (n, k)."""
    size = torch.linalg.vector_norm(w, dim=1)
    coefficients = w.new_zeros(basis.shape[:2])
    for _ in range(2):
        part = torch.einsum("nid,nd->ni", basis, w)
        w, coefficients = w - torch.einsum("nid,ni->nd", basis, part), coefficients + part
    beta = torch.linalg.vector_norm(w, dim=1)
    # In an invariant subspace the remainder is rounding of the product. As a direction it would not be orthogonal to
    # the others, and the values would grow without bound; so the vectors that follow are zero.
    beta = torch.where(beta > _rounding(dtype) * size, beta, 0.0)
    return torch.where(beta[:, None] > 0, w / beta[:, None], 0.0), beta, coefficients


def _rounding(dtype: torch.dtype) -> float:
    """Relative error of a product."""
    return max(16 * torch.finfo(dtype).eps, 1e-12)


@dataclass(frozen=True)
class _Ritz:
    """A Ritz value, its error, its condition, the coefficients of its vector in the basis (m,), and whether the basis
    is invariant, so that nothing better can come."""

    value: complex
    error: float
    condition: float
    vector: np.ndarray
    last: bool

    def enough(self, precise: float) -> bool:
        """Whether the error is small enough."""
        size = abs(self.value)
        return self.last or self.error <= precise * abs(size - 1) or self.error <= SHARPEST * size


def _ritz(h: np.ndarray, dtype: torch.dtype, nearest: complex | None) -> _Ritz:
    """The largest Ritz value of H (m + 1, m), or the one nearest to a number."""
    m = h.shape[1]
    if not np.isfinite(h).all():
        return _Ritz(complex("nan"), float("nan"), float("nan"), np.zeros(m, complex), True)
    values, left, right = scipy.linalg.eig(h[:m], left=True, right=True)
    top = int(np.abs(values).argmax() if nearest is None else np.abs(values - nearest).argmin())
    beta = h[m, m - 1]
    condition = 1 / max(float(abs(np.vdot(left[:, top], right[:, top]))), 1e-300)
    rounding = _rounding(dtype) * np.linalg.norm(h[:m], 2)
    error = float((beta * abs(right[-1, top]) + rounding) * condition)
    return _Ritz(complex(values[top]), error, condition, right[:, top].astype(complex), bool(beta == 0))


def _restarted(basis: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """V and H of the next round, and how many columns of it each row has."""
    m = h.shape[2]
    new, coupled, kept = torch.zeros_like(basis), torch.zeros_like(h), []
    for row, one in enumerate(h.cpu().numpy()):
        schur, found = _larger_half(one[:m])
        vectors, k = torch.from_numpy(found).to(basis), len(schur)
        new[row, : vectors.shape[1]] = vectors.T @ basis[row, :m]
        if k:
            new[row, k] = basis[row, m]
            coupled[row, :k, :k] = torch.from_numpy(schur).to(h)
            coupled[row, k, :k] = h[row, m, m - 1] * vectors[m - 1]
        kept.append(k)
    return new, coupled, torch.tensor(kept)


def _larger_half(square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Schur form (k, k) and vectors (m, k) of the larger half of the Ritz values; where they cannot be told apart, none
    (0, 0) and the vector (m, 1) of the largest."""
    values, right = scipy.linalg.eig(square)
    sizes = np.abs(values)
    for limit in _limits(sizes):
        try:
            schur, vectors, k = scipy.linalg.schur(square, "real", sort=lambda x, y: np.hypot(x, y) > limit)  # noqa: B023
        except np.linalg.LinAlgError:  # too close to each other to be told apart
            continue
        if schur[k, k - 1] == 0:  # not between the two of a pair
            return schur[:k, :k], vectors[:, :k]
    top = right[:, int(sizes.argmax())]
    begin = top.real if top.real.any() else top.imag
    return square[:0, :0], begin[:, None] / np.linalg.norm(begin)


def _limits(sizes: np.ndarray) -> list[float]:
    """Where to divide Ritz values, about in the middle; the widest gap first."""
    m = len(sizes)
    sizes = np.sort(sizes)[::-1]
    places = range(max(m // 3, 1), max(2 * m // 3, 1) + 1)
    gaps = sorted(places, key=lambda i: sizes[i] / max(sizes[i - 1], 1e-300))
    return [float(np.sqrt(sizes[i - 1] * sizes[i])) for i in gaps if sizes[i] < sizes[i - 1] * (1 - 1e-9)][:4]


def spectral_norm(jacobian: Jacobian, *, budget: int = 60, precise: float = 1e-2) -> Estimate:
    """The largest singular value of J_f at each point; see ``singular_values``."""
    return singular_values(jacobian, budget=budget, precise=precise).norm


def singular_values(jacobian: Jacobian, *, budget: int = 60, precise: float = 1e-2) -> Singular:
    """The largest singular value of J_f at each point, and the vectors of the largest few.

    Golub-Kahan-Lanczos bidiagonalisation with full reorthogonalisation: J V = U B with B upper bidiagonal. The residual
    of the largest singular value of B bounds its distance to a singular value of J; that it is the largest one rests on
    the random start. A point is done when the bound is at most ``precise`` of the value, at the latest after ``budget``
    products with J and J^T together.
    """
    n, dtype = len(jacobian.z), jacobian.z.dtype
    rows, done = torch.arange(n), torch.zeros(n, dtype=torch.bool)
    right = directions(jacobian.z).flatten(1).double()[:, None]
    left = alphas = betas = right.new_zeros((n, 0))
    found = Singular(Estimate.unknown(n), left, torch.zeros_like(right[:, 0]))
    for spent in range(2, budget + 1, 2):
        product = jacobian.times(right[:, -1].view(jacobian.z.shape))
        w = product.flatten(1).double()
        if spent == 2:
            left, found.left = w.new_zeros((n, 0, w.shape[1])), torch.zeros_like(w)
        u, alpha, _ = _orthogonalised(w, left, dtype)
        w = jacobian.transposed_times(u.view(product.shape)).flatten(1).double()
        v, beta, _ = _orthogonalised(w, right, dtype)
        left = torch.cat([left, u[:, None]], 1)
        alphas, betas = torch.cat([alphas, alpha[:, None]], 1), torch.cat([betas, beta[:, None]], 1)
        for i, (diagonal, beside) in enumerate(zip(alphas.cpu().numpy(), betas.cpu().numpy(), strict=True)):
            if not done[i]:
                row, (value, error, sums) = rows[i], _largest_singular(diagonal, beside)
                found.norm.value[row], found.norm.error[row], found.norm.products[row] = value, error, spent
                done[i] = not error > precise * value  # or NaN
                if done[i] or spent + 2 > budget:
                    found.left[row], found.right[row] = (
                        torch.from_numpy(sum_).to(basis) @ basis[i]
                        for sum_, basis in zip(sums, (left, right), strict=True)
                    )
        if bool(done.all()):
            break
        right = torch.cat([right, v[:, None]], 1)
        still = (~done).nonzero().squeeze(1)
        if len(still) <= FEW * len(done):
            here = still.to(right.device)
            left, right, alphas, betas = left[here], right[here], alphas[here], betas[here]
            rows, done, jacobian = rows[still], done[still], jacobian.take(here)
    return found


def _largest_singular(alphas: np.ndarray, betas: np.ndarray) -> tuple[float, float, tuple[np.ndarray, np.ndarray]]:
    """Of the bidiagonal B: its largest singular value s; the bound on its error by ||J^T J v - s^2 v||, v its right
    vector in J; and the sums of the left and of the right vectors of the ``TOWARDS`` largest, (k,) each."""
    if not (np.isfinite(alphas).all() and np.isfinite(betas).all()):
        return float("nan"), float("nan"), (np.zeros_like(alphas), np.zeros_like(alphas))
    left, values, right = np.linalg.svd(np.diag(alphas) + np.diag(betas[:-1], 1))
    signs = np.where(right[:TOWARDS, 0] < 0, -1.0, 1.0)  # both towards the random start
    sums = left[:, :TOWARDS] @ signs, signs @ right[:TOWARDS]
    return float(values[0]), float(betas[-1] * abs(left[-1, 0]) / 2), sums
