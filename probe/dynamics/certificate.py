"""Is a fixed point an attractor? Residual, spectral radius and norm of J_f there (paper, Section 3)."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from probe.dynamics.iterate import apply
from probe.dynamics.jacobian import Jacobian
from probe.dynamics.memory import Fitting
from probe.dynamics.spectra import Estimate, singular_values, spectral_radius
from probe.errors import Failure
from probe.precision import full_float32

YES, NO, UNDECIDED = 1, 0, -1
TOGETHER = 32
"""Points whose graph is kept at once, as far as they fit."""
ROUNDING = 16
"""Units of rounding, relative to the norm of the point, by which ||f(z) - z|| may differ from batch to batch."""


@dataclass
class Certificates:
    """Certificates of n points; tensors (n,) on the CPU, float64 unless stated otherwise.

    Attributes:
        residual: ||f(z) - z||^2, recomputed at this very point.
        spectral_radius, radius_error: largest modulus of an eigenvalue of J_f(z), and its estimated error; NaN where
            the point is not fixed (the residual exceeds the tolerance by more than rounding) or J_f is unavailable.
        spectral_norm, norm_error: largest singular value of J_f(z) likewise: below 1, f contracts every small step.
        products: products with J_f that this took (int64).
        differentiable: J_f agrees with finite differences of f (bool); where it does not, J_f is unavailable.
        attractor: int8. ``YES``: the residual is below the tolerance, and the radius below 1 by more than its error.
            ``NO``: one of them is not, by more than its error. ``UNDECIDED``: neither was shown.
    """

    residual: Tensor
    spectral_radius: Tensor
    radius_error: Tensor
    spectral_norm: Tensor
    norm_error: Tensor
    products: Tensor
    differentiable: Tensor
    attractor: Tensor

    @staticmethod
    def concatenate(parts: "list[Certificates]") -> "Certificates":
        """Concatenate the rows."""
        return Certificates(*(torch.cat([getattr(part, one.name) for part in parts]) for one in fields(Certificates)))

    @staticmethod
    def unknown(residual: Tensor) -> "Certificates":
        """For points of which only the residual is known."""
        residual = residual.double().cpu()
        nan = torch.full_like(residual, torch.nan)
        zero = torch.zeros(len(residual), dtype=torch.long)
        return Certificates(
            residual=residual,
            spectral_radius=nan,
            radius_error=nan.clone(),
            spectral_norm=nan.clone(),
            norm_error=nan.clone(),
            products=zero,
            differentiable=torch.zeros(len(residual), dtype=torch.bool),
            attractor=torch.full((len(residual),), UNDECIDED, dtype=torch.int8),
        )


def certify(
    f: Callable[[Tensor], Tensor],
    z: Tensor,
    *,
    tolerance: float = 1e-5,
    budget: int = 300,
    norm: bool = True,
    on_product: Callable[[], None] = lambda: None,
) -> Certificates:
    """Certify points z (n, ...), in their own type with TF32 off.

    A point that is not fixed is no attractor whatever its Jacobian, so only fixed points get Jacobian products.

    Args:
        tolerance: on ||f(z) - z||^2.
        budget: products with J_f for the radius of a point.
        norm: also estimate the spectral norm.
        on_product: called before each product with J_f or its transpose, which serves up to ``TOGETHER`` points.

    Raises:
        Failure: not even one Jacobian product fits into memory.
    """
    if not len(z):
        return Certificates.unknown(torch.empty(0))
    with torch.no_grad(), full_float32():
        residual = Fitting(lambda part: apply(f, part)[1], TOGETHER)(z)
    found = Certificates.unknown(residual)
    rounding = ROUNDING * torch.finfo(z.dtype).eps * z.flatten(1).norm(dim=1).double().cpu()
    near = found.residual.sqrt() - rounding < tolerance**0.5  # not where NaN
    found.attractor[~near] = NO
    fixed = near.nonzero().squeeze(1)
    if not len(fixed):
        return found
    differentiable, radius, size = spectra_at(f, z[fixed.to(z.device)], budget=budget, norm=norm, on_product=on_product)
    found.differentiable[fixed] = differentiable
    found.spectral_radius[fixed], found.radius_error[fixed] = radius.value, radius.error
    found.spectral_norm[fixed], found.norm_error[fixed] = size.value, size.error
    found.products[fixed] = radius.products + size.products
    contracts = (radius.value + radius.error < 1) & (found.residual[fixed] < tolerance)
    decided = torch.where(contracts, YES, torch.where(radius.value - radius.error > 1, NO, UNDECIDED))
    found.attractor[fixed] = decided.to(torch.int8)  # NaN compares false: undecided
    return found


def spectra_at(
    f: Callable[[Tensor], Tensor],
    z: Tensor,
    *,
    budget: int = 300,
    norm: bool = True,
    on_product: Callable[[], None] = lambda: None,
) -> tuple[Tensor, Estimate, Estimate]:
    """Whether J_f agrees with finite differences at points z (n, ...), fixed or not, bool (n,); its spectral radius
    and norm, unknown where it does not. Arguments and errors as for ``certify``."""
    whole = Jacobian(f, z, on_product)

    def measured(rows: Tensor) -> tuple[Tensor, ...]:
        jacobian = whole.take(rows)
        differentiable = jacobian.agrees()
        found = [Estimate.unknown(len(rows)), Estimate.unknown(len(rows))]
        usable = differentiable.nonzero().squeeze(1)
        if len(usable):
            jacobian = jacobian.take(usable)
            singular = singular_values(jacobian) if norm else None
            found[0].put(usable.cpu(), spectral_radius(jacobian, budget=budget, singular=singular))
            if singular is not None:
                found[1].put(usable.cpu(), singular.norm)
        return differentiable.cpu(), *(part for one in found for part in (one.value, one.error, one.products))

    try:
        differentiable, *parts = Fitting(measured, TOGETHER)(torch.arange(len(z), device=z.device))
    except torch.OutOfMemoryError as error:
        raise Failure(f"not even one Jacobian product fits into memory: {str(error).splitlines()[0]}") from error
    return differentiable, Estimate(*parts[:3]), Estimate(*parts[3:])
