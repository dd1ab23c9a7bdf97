"""Maps whose exponents, spectra and end points are known, through the functions of ``probe.dynamics``."""

import itertools
import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from probe.dynamics import Certificates, certify, iterate, lyapunov_exponents
from probe.dynamics.certificate import NO, YES
from probe.dynamics.rates import predicted_steps
from probe.verify import bank

RADII = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.2, 1.3, 1.5, 2.0)
"""Of the dense Jacobians."""
D = 64
"""Their size."""


def wrong_on_the_bank() -> float:
    """Starts of the bank of maps that do not end as known: plain and accelerated, with and without a first part in
    bfloat16, in float32 and float64."""
    wrong = 0
    for dtype, accelerate, far in itertools.product(
        (torch.float32, torch.float64), (False, True), ("float32", "bfloat16")
    ):
        ends = iterate(
            bank.bank,
            bank.starts(dtype),
            max_steps=250,
            tolerance=1e-10,
            max_norm=1e4,
            accelerate=accelerate,
            far_precision=far,
        )
        wrong += len(bank.mistakes(ends))
    return wrong


def steps_of_a_linear_map() -> float:
    """Steps of z <- 0.9 z from 1 until the squared residual is below 1e-10."""
    ends = iterate(lambda z: 0.9 * z, torch.ones(1, 1, dtype=torch.float64), max_steps=500, tolerance=1e-10)
    return int(ends.steps)


def predicted_for_alternating_steps() -> float:
    """Steps that Proposition A.9 predicts for z <- 2 - 0.9 (z - 2) from 3, with the certificate's numbers."""
    start, fixed = (torch.full((1, 1), value, dtype=torch.float64) for value in (3.0, 2.0))
    found = certify(lambda z: 2 - 0.9 * (z - 2), fixed, tolerance=1e-10)
    return float(predicted_steps(start, fixed, found.spectral_radius, 1e-10, found.from_one))


def certified_where_nothing_is() -> float:
    """End points of z <- z + z^2 + 0.001 that are certified."""
    return int((_saddle_node(0.001).attractor == YES).sum())


def missed_beside_it() -> float:
    """End points of z <- z + z^2 - 0.001 that are not certified, or lie farther from its attractor than they say."""
    found = _saddle_node(-0.001)
    apart = (found.point[:, 0] + 0.001**0.5).abs()
    # The derivative grows on the way to the fixed point; the bound takes it at the end point.
    return int(((found.attractor != YES) | ~(apart <= 1.05 * found.distance)).sum())


def _saddle_node(offset: float) -> Certificates:
    """Certificates of where z <- z + z^2 + offset takes 16 starts left of 0 until steps are below the tolerance."""

    def f(z: Tensor) -> Tensor:
        return z + z.square() + offset

    starts = -torch.linspace(0.05, 0.95, 16, dtype=torch.float64)[:, None]
    return certify(f, iterate(f, starts, max_steps=500, tolerance=1e-5).end, tolerance=1e-5)


def exponent(f: Callable[[Tensor], Tensor], *starts: tuple[float, ...], steps: int = 1000) -> float:
    """The largest Lyapunov exponent, the mean over the trajectories from these starts."""
    found = lyapunov_exponents(f, torch.tensor(starts, dtype=torch.float64), steps=steps)
    return float(found.value.mean())


def logistic(z: Tensor) -> Tensor:
    """z <- 4 z (1 - z)."""
    return 4 * z * (1 - z)


def henon(z: Tensor) -> Tensor:
    """(x, y) <- (1 - 1.4 x^2 + y, 0.3 x)."""
    x, y = z.unbind(1)
    return torch.stack([1 - 1.4 * x.square() + y, 0.3 * x], 1)


def turn(z: Tensor) -> Tensor:
    """A rotation of the plane by 1 radian."""
    x, y = z.unbind(1)
    c, s = math.cos(1), math.sin(1)
    return torch.stack([c * x - s * y, s * x + c * y], 1)


@cache
def dense() -> tuple[tuple[Tensor, Certificates], ...]:
    """Dense Jacobians J (``D``, ``D``) of the spectral radii ``RADII`` by LAPACK, and the certificate of the fixed
    point of p + tanh(J (z - p)) that has each."""
    found = []
    for seed, radius in enumerate(RADII):
        generator = torch.Generator().manual_seed(seed)
        matrix = torch.randn(D, D, dtype=torch.float64, generator=generator)
        matrix *= radius / torch.linalg.eigvals(matrix).abs().max()
        point = torch.randn(1, D, dtype=torch.float64, generator=generator)

        def f(z: Tensor, matrix: Tensor = matrix, point: Tensor = point) -> Tensor:
            return point + torch.tanh((z - point) @ matrix.T)

        found.append((matrix, certify(f, point, tolerance=1e-10, budget=3000)))
    return tuple(found)


def radii_outside_their_error() -> float:
    """Dense Jacobians whose spectral radius is farther from LAPACK's than the certificate says."""
    gaps = [
        abs(float(one.spectral_radius) - radius) - float(one.radius_error)
        for radius, (_, one) in zip(RADII, dense(), strict=True)
    ]
    return sum(not gap <= 1e-9 for gap in gaps)  # NaN counts


def wrong_verdicts() -> float:
    """Fixed points whose certificate is not the one that LAPACK's radius gives."""
    codes = [int(one.attractor) for _, one in dense()]
    return sum(code != (YES if radius < 1 else NO) for code, radius in zip(codes, RADII, strict=True))


def norm_error() -> float:
    """The largest relative error of the spectral norm, against LAPACK's singular values."""
    ratios = [float(one.spectral_norm) / float(torch.linalg.matrix_norm(matrix, 2)) for matrix, one in dense()]
    return max(abs(ratio - 1) for ratio in ratios)
