"""Is a fixed point an attractor? The spectral radius of the Jacobian J_f there (paper, Section 3)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.dynamics.iterate import Map, apply
from probe.dynamics.precision import full_float32

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
    return Certificate(residual, radius, None if np.isnan(radius) else radius < 1)


def spectral_radius(f: Map, z: Tensor, *, relative_error: float = 1e-3, products: int = 600) -> float:
    """Largest modulus of an eigenvalue of J_f at z, shape (1, ...); NaN if not settled within the budget.

    Matrix-free: implicitly restarted Arnoldi (ARPACK) on vector-Jacobian products. J and its transpose share their
    eigenvalues, and reverse mode works for every module that can be trained.
    """
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

    with full_float32(), torch.enable_grad():
        product = _vector_jacobian_product(f, z)
        d = z.numel()
        if d <= DENSE:
            jacobian = np.stack([product(row) for row in np.eye(d)])
            return float(np.abs(np.linalg.eigvals(jacobian)).max())
        operator = LinearOperator((d, d), matvec=product, dtype=np.float64)
        start = np.random.default_rng(0).standard_normal(d)  # ARPACK draws one from a global state otherwise
        vectors = min(d - 1, 20)
        try:
            values = eigs(
                operator,
                k=2,  # the leading pair: one eigenvalue of a complex pair converges with its partner or not at all
                which="LM",
                v0=start,
                ncv=vectors,
                tol=relative_error,
                maxiter=max(products // vectors, 1),
                return_eigenvectors=False,
            )
        except ArpackNoConvergence:
            return float("nan")
        return float(np.abs(values).max())


def _vector_jacobian_product(f: Map, z: Tensor) -> Callable[[np.ndarray], np.ndarray]:
    """v -> v^T J_f(z) for NumPy vectors (d,); the forward pass is made once."""
    point = z.detach().clone().requires_grad_()
    image = f(point)

    def product(v: np.ndarray) -> np.ndarray:
        cotangent = torch.from_numpy(np.ascontiguousarray(v)).to(image).view_as(image)
        (gradient,) = torch.autograd.grad(image, point, cotangent, retain_graph=True)
        return gradient.flatten().double().cpu().numpy()

    return product
