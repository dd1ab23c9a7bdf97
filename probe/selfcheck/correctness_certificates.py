"""Certificates on the device: spectra within their error bars of LAPACK's and of the CPU's, and the same decisions."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from probe.dynamics import Certificates, certify, gaussian_starts, iterate, lyapunov_exponents
from probe.dynamics.certificate import NO, YES
from probe.selfcheck.check import Check, Row, Setting, at_most, equals
from probe.selfcheck.correctness_dynamics import CPU, TOLERANCE, latent_map, loop, name_of
from probe.selfcheck.models import LATENT

RADII = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.3, 2.0)
"""Of the dense Jacobians."""
SIZE = 64
ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-5}
"""What may be added to an error bar: rounding of the matrix itself."""


def _dense(setting: Setting) -> Iterator[Row]:
    """p + tanh(J (z - p)) with dense J, whose spectra LAPACK knows in float64 on the CPU."""
    for dtype in (torch.float64, torch.float32):
        outside, wrong, norms = 0, [], 0.0
        for seed, radius in enumerate(RADII[:: 3 if setting.small else 1]):
            generator = torch.Generator().manual_seed(seed)
            matrix = torch.randn(SIZE, SIZE, dtype=torch.float64, generator=generator)
            matrix *= radius / torch.linalg.eigvals(matrix).abs().max()
            point = torch.randn(1, SIZE, dtype=torch.float64, generator=generator)
            j, p = matrix.to(setting.device, dtype), point.to(setting.device, dtype)

            def f(z: Tensor, j: Tensor = j, p: Tensor = p) -> Tensor:
                return p + torch.tanh((z - p) @ j.T)

            found = certify(f, p, tolerance=1e-10, budget=3000)
            outside += not abs(float(found.spectral_radius) - radius) <= float(found.radius_error) + ROUNDING[dtype]
            if int(found.attractor) != (YES if radius < 1 else NO):
                wrong.append(f"{radius:g}: {int(found.attractor)}")
            norm = float(torch.linalg.matrix_norm(matrix, 2))
            norms = max(norms, abs(float(found.spectral_norm) / norm - 1))
        kind = name_of(dtype)
        yield equals(f"radii outside their error bars: {kind}", outside, 0)
        yield equals(f"wrong decisions: {kind}", len(wrong), 0, note=", ".join(wrong))
        yield at_most(f"largest relative error of a norm: {kind}", norms, 0.02)


def _latent_map(setting: Setting) -> Iterator[Row]:
    """At end points of the small autoencoder, settled or not: the device against the CPU in float64."""
    n = 12 if setting.small else 64
    z0 = gaussian_starts(2, range(n), LATENT).double()
    points = torch.cat([iterate(latent_map(2.0, CPU, torch.float64), z0, loop(n)).end, z0[:4]])
    reference = certify(latent_map(2.0, CPU, torch.float64), points, tolerance=TOLERANCE)
    for dtype in (torch.float64, torch.float32):
        f = latent_map(2.0, setting.device, dtype)
        found = certify(f, points.to(setting.device, dtype), tolerance=TOLERANCE)
        kind = name_of(dtype)
        note = f"{int((reference.attractor == YES).sum())} of {len(points)} are attractors"
        other = int((found.attractor != reference.attractor).sum())
        yield equals(f"other decisions than the CPU: {kind}", other, 0, "points", note)
        for what, error in (("spectral_radius", "radius_error"), ("spectral_norm", "norm_error")):
            count, gap = _outside(found, reference, what, error, ROUNDING[dtype])
            name = f"{what.replace('_', ' ')} outside the error bars: {kind}"
            yield equals(name, count, 0, "points", f"largest difference {gap:.2g}")


def _outside(found: Certificates, reference: Certificates, what: str, error: str, rounding: float) -> tuple[int, float]:
    """Points at which a number differs by more than both errors, or only one is known; and the largest difference."""
    a, b = getattr(found, what), getattr(reference, what)
    gap = (a - b).abs()
    # In float32 plain steps lead to a slightly different point, where the numbers are others.
    allowed = getattr(found, error) + getattr(reference, error) + rounding + 1e-3 * b.abs()
    known = ~a.isnan() & ~b.isnan()
    outside = (known & ~(gap <= allowed)) | (a.isnan() != b.isnan())
    return int(outside.sum()), float(gap[known].max()) if known.any() else math.nan


def _exponents(setting: Setting) -> Iterator[Row]:
    """Largest Lyapunov exponents: of z <- 4 z (1 - z), ln 2; of Henon's map, 0.4192 (Sprott 2003)."""

    def logistic(z: Tensor) -> Tensor:
        return 4 * z * (1 - z)

    def henon(z: Tensor) -> Tensor:
        x, y = z.unbind(1)
        return torch.stack([1 - 1.4 * x.square() + y, 0.3 * x], 1)

    steps = 150 if setting.small else 400
    for name, f, size, expected in (("logistic", logistic, 1, math.log(2)), ("Henon", henon, 2, 0.4192)):
        start = 0.1 + 0.01 * torch.arange(32, dtype=torch.float64)[:, None].expand(-1, size)
        found = lyapunov_exponents(f, start.to(setting.device), steps=steps)
        # 32 trajectories: the mean is within 4 standard errors.
        error = float(found.value.std()) / 32**0.5
        gap = abs(float(found.value.mean()) - expected)
        yield at_most(f"error of {name}'s exponent", gap, 4 * error + 0.01, note=f"of {expected:.4f}")


CHECKS = (
    Check("spectra", "correctness", "spectral radii and norms are LAPACK's", 30, _dense),
    Check("certificates", "correctness", "certificates of an autoencoder's end points are the CPU's", 30, _latent_map),
    Check("exponents", "correctness", "Lyapunov exponents are as published", 15, _exponents),
)
