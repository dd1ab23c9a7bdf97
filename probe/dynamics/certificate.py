"""Is a fixed point an attractor? Plain steps, spectral radius and norm of J_f there (paper, Section 3)."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from probe.dynamics.iterate import apply
from probe.dynamics.jacobian import Jacobian
from probe.dynamics.memory import Fitting
from probe.dynamics.settling import Settled, returns, rounding, settle
from probe.dynamics.spectra import Estimate, Leading, confirmed_radius, singular_values, spectral_radius
from probe.errors import Failure
from probe.precision import full_float32

YES, NO, UNDECIDED = 1, 0, -1
MARGIN = 64
"""Units of rounding by which radius or norm must be below 1."""
TOGETHER = 32
"""Points whose graph is kept at once, as far as they fit."""
ROUGH, FIRST_LOOK = 0.2, 96
"""Sufficient error of the first estimate of a radius, relative to its distance from 1; the most products for it."""
DRIFT = 0.5
"""1 - rho may shrink to this part on the way of a residual to a tenth. Where it goes down with the residual, as near
z + z^2, the fixed point is neutral, or none: there, and for higher powers, it shrinks to less than a third. Of the
first estimate the upper end counts."""


@dataclass(eq=False)
class Certificates:
    """Certificates of n points; tensors (n,) on the CPU, float64 unless stated otherwise.

    Attributes:
        point: the points that the certificates are about (n, ...), in the type and on the device of z: z after plain
            steps that have shrunk its residual tenfold; z itself where it did not shrink.
        residual: ||f(z) - z||^2 of ``point``.
        spectral_radius, radius_error: largest modulus of an eigenvalue of J_f(z), and its estimated error; NaN where
            the point is not fixed (the residual exceeds the tolerance by more than rounding) or J_f is unavailable.
        spectral_norm, norm_error: largest singular value of J_f(z) likewise: below 1, f contracts every small step.
        distance: from ``point`` to the fixed point, where an attractor was found, else NaN. With r the residual's root
            plus its rounding: r / (1 - norm) where the norm is surely below 1, a bound as long as the norm is no larger
            on the way; otherwise condition * r / (1 - radius), an estimate.
        from_one: |1 - lambda| of the eigenvalue lambda of the largest modulus.
        products: products with J_f that this took (int64).
        differentiable: J_f agrees with finite differences of f (bool); where it does not, J_f is unavailable.
        attractor: int8. ``YES``: plain steps shrink the residual as the radius says (see ``certify``), and radius or
            norm are below 1 by more than their error. ``NO``: the residual is not below the tolerance, or the radius is
            above 1, by more than the error. ``UNDECIDED``: neither was shown.
    """

    point: Tensor
    residual: Tensor
    spectral_radius: Tensor
    radius_error: Tensor
    spectral_norm: Tensor
    norm_error: Tensor
    distance: Tensor
    from_one: Tensor
    products: Tensor
    differentiable: Tensor
    attractor: Tensor

    @staticmethod
    def concatenate(parts: "list[Certificates]") -> "Certificates":
        """Concatenate the rows."""
        return Certificates(*(torch.cat([getattr(part, one.name) for part in parts]) for one in fields(Certificates)))

    @staticmethod
    def unknown(point: Tensor, residual: Tensor) -> "Certificates":
        """For points (n, ...) of which only the residual (n,) is known."""
        residual = residual.double().cpu()
        numbers = ("spectral_radius", "radius_error", "spectral_norm", "norm_error", "distance", "from_one")
        return Certificates(
            point=point.clone(),
            residual=residual.clone(),
            **{name: torch.full_like(residual, torch.nan) for name in numbers},
            products=torch.zeros(len(residual), dtype=torch.long),
            differentiable=torch.zeros(len(residual), dtype=torch.bool),
            attractor=torch.full((len(residual),), UNDECIDED, dtype=torch.int8),
        )

    @staticmethod
    def none() -> "Certificates":
        """For no points."""
        return Certificates.unknown(torch.empty(0), torch.empty(0))


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

    A point that is not fixed is no attractor whatever its Jacobian, so only points with a residual below the tolerance
    get Jacobian products. From where a first estimate of the radius is below 1, plain steps lead on: as many as should
    shrink the residual to a hundredth, and must shrink it to a tenth (``settling``). Radius and norm are then those at
    the point that they lead to. ``YES`` needs one of them below 1 for sure, and 1 - radius must not have shrunk with
    the residual (``DRIFT``). A radius above 1 is searched for again (``confirmed_radius``), and is no reason for ``NO``
    where plain steps lead a point beside it back (``returns``).

    Args:
        tolerance: on ||f(z) - z||^2.
        budget: products with J_f for the radius of a point.
        norm: also estimate the spectral norm.
        on_product: called before each product with J_f or its transpose, which serves up to ``TOGETHER`` points.

    Raises:
        Failure: not even one Jacobian product fits into memory.
    """
    if not len(z):
        return Certificates.none()
    with torch.no_grad(), full_float32():
        residual = Fitting(lambda part: apply(f, part)[1], TOGETHER)(z)
    found = Certificates.unknown(z, residual)
    near = found.residual.sqrt() - rounding(z) < tolerance**0.5  # not where NaN
    found.attractor[~near] = NO
    fixed = near.nonzero().squeeze(1)
    if not len(fixed):
        return found
    jacobian = Jacobian(f, z[fixed.to(z.device)], on_product)
    differentiable, first = _first_look(jacobian, min(budget, FIRST_LOOK))
    upper = first.value + first.error
    there = settle(f, jacobian.z, found.residual[fixed], torch.where(upper < 1, upper, first.value), TOGETHER)
    usable = differentiable.nonzero().squeeze(1)
    radius, size = Leading.unknown(len(fixed)), Estimate.unknown(len(fixed))
    if len(usable):
        radii, sizes = _spectra(jacobian.at(there.point[usable.to(z.device)]), budget=budget, norm=norm)
        radius.put(usable, radii)
        size.put(usable, sizes)
    _confirm(jacobian.at(there.point), radius, budget)
    found.point[fixed.to(z.device)], found.residual[fixed] = there.point, there.residual
    found.differentiable[fixed] = differentiable
    found.spectral_radius[fixed], found.radius_error[fixed] = radius.value, radius.error
    found.spectral_norm[fixed], found.norm_error[fixed] = size.value, size.error
    found.from_one[fixed] = radius.from_one
    found.products[fixed] = first.products + radius.products + size.products
    found.attractor[fixed], found.distance[fixed] = _decided(there, first, radius, size, tolerance)
    repels = (found.attractor[fixed] == NO).nonzero().squeeze(1)
    if len(repels):
        rate = (radius.value - radius.error)[repels]
        settles = returns(f, there.point[repels.to(z.device)], tolerance**0.5, rate, TOGETHER)
        found.attractor[fixed[repels[settles]]] = UNDECIDED
    return found


def _confirm(jacobian: Jacobian, radius: Leading, budget: int) -> None:
    """Search again, otherwise, for radii that seem to be above 1; values and errors are replaced, in place."""
    above = (radius.value - radius.error > 1).nonzero().squeeze(1)
    if len(above):
        again = Leading(
            *_in_parts(
                jacobian.take(above.to(jacobian.z.device)),
                lambda part: tuple(vars(confirmed_radius(part, budget=budget)).values()),
            )
        )
        again.products += radius.products[above]
        radius.put(above, again)


def _decided(
    there: Settled, first: Leading, radius: Leading, size: Estimate, tolerance: float
) -> tuple[Tensor, Tensor]:
    """The verdict on each point, int8 (n,), and the distance to its fixed point (n,). NaN compares false: undecided."""
    below = 1 - MARGIN * torch.finfo(there.point.dtype).eps  # a rotation has a norm of 1 up to rounding
    largest = radius.value + radius.error
    # No norm is below the radius: where it is, the search for it missed the largest singular value.
    norm = size.value + size.error
    contracts = (norm < below) & (norm >= radius.value - radius.error)
    steady = 1 - radius.value >= DRIFT * (1 - first.value - first.error)
    attracts = there.settled & steady & (contracts | (largest < below)) & (there.residual < tolerance)
    repels = radius.value - radius.error > 1
    verdict = torch.where(attracts, YES, torch.where(repels, NO, UNDECIDED)).to(torch.int8)
    r = there.residual.sqrt() + rounding(there.point)
    distance = torch.where(contracts, r / (1 - norm), radius.condition * r / (1 - largest))
    return verdict, torch.where(attracts, distance, torch.nan)


def _first_look(whole: Jacobian, budget: int) -> tuple[Tensor, Leading]:
    """Whether J_f agrees with finite differences at each point, bool (n,) on the CPU, and its radius, roughly."""

    def look(jacobian: Jacobian) -> tuple[Tensor, ...]:
        agrees, found = jacobian.agrees(), Leading.unknown(len(jacobian.z))
        usable = agrees.nonzero().squeeze(1)
        if len(usable):
            found.put(usable.cpu(), spectral_radius(jacobian.take(usable), budget=budget, precise=ROUGH))
        return agrees.cpu(), *vars(found).values()

    agrees, *parts = _in_parts(whole, look)
    return agrees, Leading(*parts)


def _spectra(whole: Jacobian, *, budget: int, norm: bool) -> tuple[Leading, Estimate]:
    """Spectral radius and norm; the norm unknown where it is not wanted."""

    def look(jacobian: Jacobian) -> tuple[Tensor, ...]:
        radius, size = _spectra_of(jacobian, budget, norm)
        return *vars(radius).values(), *vars(size).values()

    found = _in_parts(whole, look)
    return Leading(*found[:5]), Estimate(*found[5:])


def _in_parts(whole: Jacobian, look: Callable[[Jacobian], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """``look`` at up to ``TOGETHER`` points at a time, as far as they fit."""
    rows = torch.arange(len(whole.z), device=whole.z.device)
    try:
        found: tuple[Tensor, ...] = Fitting(lambda part: look(whole.take(part)), TOGETHER)(rows)
    except torch.OutOfMemoryError as error:
        raise Failure(f"not even one Jacobian product fits into memory: {str(error).splitlines()[0]}") from error
    return found


def spectra_at(
    f: Callable[[Tensor], Tensor],
    z: Tensor,
    *,
    budget: int = 300,
    norm: bool = True,
    on_product: Callable[[], None] = lambda: None,
) -> tuple[Tensor, Leading, Estimate]:
    """Whether J_f agrees with finite differences at points z (n, ...), fixed or not, bool (n,); its spectral radius
    and norm, unknown where it does not. Arguments and errors as for ``certify``."""

    def look(jacobian: Jacobian) -> tuple[Tensor, ...]:
        agrees = jacobian.agrees()
        radius, size = Leading.unknown(len(agrees)), Estimate.unknown(len(agrees))
        usable = agrees.nonzero().squeeze(1)
        if len(usable):
            for found, there in zip((radius, size), _spectra_of(jacobian.take(usable), budget, norm), strict=True):
                found.put(usable.cpu(), there)
        return agrees.cpu(), *vars(radius).values(), *vars(size).values()

    agrees, *parts = _in_parts(Jacobian(f, z, on_product), look)
    return agrees, Leading(*parts[:5]), Estimate(*parts[5:])


def _spectra_of(jacobian: Jacobian, budget: int, norm: bool) -> tuple[Leading, Estimate]:
    """Spectral radius and norm; the norm unknown where it is not wanted."""
    singular = singular_values(jacobian) if norm else None
    radius = spectral_radius(jacobian, budget=budget, singular=singular)
    return radius, Estimate.unknown(len(jacobian.z)) if singular is None else singular.norm
