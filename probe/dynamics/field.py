"""The latent vector field f(z) - z on a plane (paper, Figures 1 and 3a), and whether it is the gradient of a potential:
it is where J_f is symmetric, and nowhere else.

| symbol | meaning | shape |
|---|---|---|
| o, A | a point of the plane, and two orthonormal directions in it | (d,), (2, d) |
| c | coordinates in the plane: z = o + c A | (n, 2) |
| r | f(z) - z; r A^T is its part in the plane | (n, d) |
| J, K | Jacobian of f at a point; its antisymmetric part, (J - J^T) / 2 | (d, d) |
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from probe.dynamics.iterate import Map, apply
from probe.dynamics.jacobian import Jacobian
from probe.dynamics.memory import Fitting
from probe.dynamics.spectra import spectral_norm
from probe.precision import full_float32

DENSE = 8
"""Up to this d the Jacobian is computed in full, by d products; above, its norm by bidiagonalisation."""
AGREE = 0.1
"""Share of the points at which finite differences must agree with J_f."""
FLAT = 1e-6
"""Second singular value, relative to the first, below which points span no plane."""


@dataclass(frozen=True)
class Plane:
    """A plane in latent space. origin (d,), axes (2, d) with orthonormal rows; float64 on the CPU."""

    origin: Tensor
    axes: Tensor

    def points(self, coordinates: Tensor) -> Tensor:
        """The points (n, d) that have these coordinates (n, 2)."""
        return self.origin + coordinates @ self.axes

    def coordinates(self, z: Tensor) -> Tensor:
        """Coordinates (n, 2) of the nearest points of the plane to z (n, d)."""
        return (z.double().cpu() - self.origin) @ self.axes.T


def whole_plane() -> Plane:
    """The latent space itself, for d = 2."""
    return Plane(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))


def principal_plane(points: Tensor) -> tuple[Plane, float]:
    """The plane of the first two principal components of points (n, d), and the share of their variance in it.

    The sign of an axis is such that its largest coordinate is positive. ValueError if the points lie on a line, or are
    fewer than three.
    """
    points = points.double().cpu()
    origin = points.mean(0)
    _, sizes, axes = torch.linalg.svd(points - origin, full_matrices=False)
    if len(points) < 3 or len(sizes) < 2 or not sizes[1] > FLAT * sizes[0]:
        raise ValueError(f"{len(points)} points span no plane")
    axes = axes[:2]
    signs = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    return Plane(origin, axes * signs), float(sizes[:2].square().sum() / sizes.square().sum())


def field_at(f: Map, z: Tensor, plane: Plane) -> tuple[Tensor, Tensor]:
    """The field at points z (n, ...): its part in the plane (n, 2), and its whole norm (n,); float64 on the CPU."""
    with full_float32():
        y, _ = apply(f, z)
    field = (y - z).flatten(1).double().cpu()
    return field @ plane.axes.T, field.norm(dim=1)


def jacobian_norm(f: Map, z: Tensor, together: int = 256) -> Tensor:
    """The largest singular value of J_f at points z (n, ...); float64 (n,) on the CPU.

    NaN throughout where f has no derivative, or finite differences of f contradict automatic differentiation nearly
    everywhere (``AGREE``; that they do at some points is rounding where f is flat, or a kink). For d up to ``DENSE``
    exact, beyond to about 1 % (see ``spectral_norm``).
    """
    jacobian, rows = Jacobian(f, z), torch.arange(len(z), device=z.device)
    if Fitting(lambda part: jacobian.take(part).agrees(), together)(rows).double().mean() < AGREE:
        return torch.full((len(z),), torch.nan, dtype=torch.float64)
    norm = _dense_norm if z[0].numel() <= DENSE else lambda part: spectral_norm(part).value
    found: Tensor = Fitting(lambda part: norm(jacobian.take(part)), together)(rows)
    return found


def _dense_norm(jacobian: Jacobian) -> Tensor:
    z = jacobian.z
    d = z[0].numel()
    basis = torch.eye(d).to(z).view(d, *z.shape[1:])
    columns = torch.stack([jacobian.times(e.expand_as(z)).flatten(1) for e in basis], 2)
    return torch.linalg.matrix_norm(columns.double().cpu(), 2)


def null_share(d: int) -> float:
    """The share for a matrix of independent entries of mean 0 and equal variance: (d - 1) / (2 d), about 1/2."""
    return (d - 1) / (2 * d)


def antisymmetric_share(jacobian: Jacobian, *, probes: int = 8, seed: int = 0) -> Tensor:
    """||K||_F^2 / ||J||_F^2 at each point, in [0, 1]: 0 for a gradient field, 1 for a pure rotation.

    By Hutchinson's probes v of independent signs, without J itself: E||(J v - J^T v) / 2||^2 = ||K||_F^2, and
    E||J v||^2 = E||J^T v||^2 = ||J||_F^2. Both are unbiased; their ratio is biased in the order of 1 / probes.
    Each takes a product with J and one with J^T; they are others for every point. float64 (n,) on the CPU; NaN where J
    is 0 or not finite.
    """
    z = jacobian.z
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (probes, *z.shape), generator=generator, dtype=torch.int8).transpose(0, 1)
    rows = torch.arange(len(z), device=z.device)
    apart, whole = Fitting(lambda part: _squares(jacobian.take(part), signs[part.cpu()]))(rows)
    return (apart / whole).cpu()


def _squares(jacobian: Jacobian, signs: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over probes of ||(J v - J^T v) / 2||^2 and of (||J v||^2 + ||J^T v||^2) / 2, each (n,)."""
    apart = torch.zeros(len(signs), dtype=torch.float64, device=jacobian.z.device)
    whole = torch.zeros_like(apart)
    for sign in signs.to(jacobian.z.device).unbind(1):
        v = sign.to(jacobian.z.dtype) * 2 - 1
        forward, backward = (
            product.flatten(1).double() for product in (jacobian.times(v), jacobian.transposed_times(v))
        )
        apart += (forward - backward).square().sum(1) / 4
        whole += (forward.square().sum(1) + backward.square().sum(1)) / 2
    return apart, whole
