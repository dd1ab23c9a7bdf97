"""Is the field f(z) - z the gradient of a potential? It is where J_f is symmetric, and nowhere else.

| symbol | meaning | shape |
|---|---|---|
| J | Jacobian of f at a point | (d, d) |
| A | (J - J^T) / 2, its antisymmetric part | (d, d) |
| v | a probe: independent signs | (d,) |
"""

import torch
from torch import Tensor

from probe.dynamics.jacobian import Jacobian


def null_share(d: int) -> float:
    """||A||^2 / ||J||^2 of a matrix of independent entries of mean 0 and equal variance: (d - 1) / (2 d), about 1/2."""
    return (d - 1) / (2 * d)


def antisymmetric_share(jacobian: Jacobian, *, probes: int = 8, seed: int = 0) -> Tensor:
    """||A||_F^2 / ||J||_F^2 at each point, in [0, 1]: 0 for a gradient field, 1 for a pure rotation.

    By Hutchinson's probes, without J itself: E||(J v - J^T v) / 2||^2 = ||A||_F^2, and E||J v||^2 = E||J^T v||^2 =
    ||J||_F^2 for E[v v^T] = I. Both are unbiased; their ratio is biased in the order of 1 / probes.

    Args:
        probes: each takes a product with J and one with J^T.
        seed: of the probes, which are others for every point.

    Returns:
        float64 (n,) on the CPU; NaN where J is 0 or not finite.
    """
    z = jacobian.z
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (probes, *z.shape), generator=generator, dtype=torch.int8).to(z.device)
    apart = torch.zeros(len(z), dtype=torch.float64, device=z.device)
    whole = torch.zeros_like(apart)
    for sign in signs:
        v = sign.to(z.dtype) * 2 - 1
        forward, backward = (
            product.flatten(1).double() for product in (jacobian.times(v), jacobian.transposed_times(v))
        )
        apart += (forward - backward).square().sum(1) / 4
        whole += (forward.square().sum(1) + backward.square().sum(1)) / 2
    return (apart / whole).cpu()
