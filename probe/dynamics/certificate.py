"""Is a fixed point an attractor? The spectral radius of the Jacobian J_f there (paper, Section 3)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.dynamics.iterate import Map, apply
from probe.dynamics.precision import full_float32

MARGIN = 1e-3
"""A spectral radius within this of 1 decides nothing: float32 products are not good to more."""
NEAR = 0.05
"""A spectral radius within this of 1 is computed again with a sharper tolerance."""
DENSE = 32
"""Up to this dimension the whole Jacobian is cheaper than Arnoldi's start-up, and exact."""


@dataclass(frozen=True)
class Certificate:
    """What was found at one point.

    Attributes:
        residual: ||f(z) - z||^2, recomputed at this very point.
        spectral_radius: largest modulus of an eigenvalue of J_f(z); NaN where Arnoldi did not settle.
        attractor: residual below tolerance and spectral radius below 1; None where that is undecided.
    """

    residual: float
    spectral_radius: float
    attractor: bool | None


def certify(f: Map, z: Tensor, *, tolerance: float = 1e-5) -> Certificate:
    """Certify one point z of shape (1, ...): recompute its residual and find its spectral radius.

    A point that is not fixed is no attractor whatever its Jacobian, so the Jacobian is looked at only where it is.
    """
    with torch.no_grad(), full_float32():
        residual = float(apply(f, z)[1])
    if not residual < tolerance:
        return Certificate(residual, float("nan"), False)
    radius = spectral_radius(f, z)
    if np.isnan(radius) or abs(radius - 1) < MARGIN:
        return Certificate(residual, radius, None)
    return Certificate(residual, radius, radius < 1)


def spectral_radius(f: Map, z: Tensor, *, products: int = 1000) -> float:
    """Largest modulus of an eigenvalue of J_f at z, shape (1, ...); NaN if not settled within the budget.

    Matrix-free: implicitly restarted Arnoldi (ARPACK) on vector-Jacobian products. J and its transpose share their
    eigenvalues, and reverse mode works for every module that can be trained. ARPACK bounds a residual, which is not the
    error of the eigenvalue where J is far from normal; so a radius near 1 is computed again, much more sharply.

    NaN also where f cannot be differentiated (``torch.no_grad`` inside) or its derivative is not finite.
    """
    with full_float32(), torch.enable_grad():
        product = _vector_jacobian_product(f, z)
        if product is None:
            return float("nan")
        d = z.numel()
        if d <= DENSE:
            jacobian = np.stack([product(row) for row in np.eye(d)])
            finite = np.isfinite(jacobian).all()
            return float(np.abs(np.linalg.eigvals(jacobian)).max()) if finite else float("nan")
        radius = _arnoldi(product, d, vectors=20, tolerance=1e-3, products=products)
        if abs(radius - 1) < NEAR:
            radius = _arnoldi(product, d, vectors=60, tolerance=1e-9, products=products)
        return radius


def _arnoldi(
    product: Callable[[np.ndarray], np.ndarray], d: int, *, vectors: int, tolerance: float, products: int
) -> float:
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigs

    start = np.random.default_rng(0).standard_normal(d)  # ARPACK draws one from a global state otherwise
    first = product(start)
    if not np.isfinite(first).all():
        return float("nan")
    if not first.any():
        return 0.0  # a constant map, as seen by almost every vector
    vectors = min(d - 1, vectors)
    try:
        values = eigs(
            LinearOperator((d, d), matvec=product, dtype=np.float64),
            k=2,  # the leading pair: one eigenvalue of a complex pair converges with its partner or not at all
            which="LM",
            v0=start,
            ncv=vectors,
            tol=tolerance,
            maxiter=max(products // vectors, 1),
            return_eigenvectors=False,
        )
    except ArpackError:  # no convergence within the budget, or nothing to work on
        return float("nan")
    return float(np.abs(values).max())


def _vector_jacobian_product(f: Map, z: Tensor) -> Callable[[np.ndarray], np.ndarray] | None:
    """v -> v^T J_f(z) for NumPy vectors (d,); the forward pass is made once. None where f keeps no graph."""
    point = z.detach().clone().requires_grad_()
    image = f(point)
    if not image.requires_grad:
        return None

    def product(v: np.ndarray) -> np.ndarray:
        cotangent = torch.from_numpy(np.ascontiguousarray(v)).to(image).view_as(image)
        (gradient,) = torch.autograd.grad(image, point, cotangent, retain_graph=True)
        return gradient.flatten().double().cpu().numpy()

    return product
