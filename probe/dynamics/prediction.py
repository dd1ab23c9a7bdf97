"""How many steps linear convergence takes (paper, Proposition A.9)."""

import torch
from torch import Tensor


def predicted_steps(start: Tensor, fixed: Tensor, radius: Tensor, tolerance: float) -> Tensor:
    """log(eps / ||z0 - z*||) / log(rho): the steps from z0 to the tolerance, if f were linear with this spectral radius
    everywhere and the whole way led along its slowest direction.

    The proposition's eps is a distance; the residual ||f(z) - z|| is about (1 - rho) times it, so that
    eps = sqrt(tolerance) / (1 - rho).

    Args:
        start, fixed: z0 and z* (n, ...).
        radius: rho (n,).
        tolerance: on ||f(z) - z||^2.

    Returns:
        float64 (n,) on the CPU, at least 0; NaN where the radius is not in (0, 1).
    """
    distance = (fixed.double() - start.double()).flatten(1).norm(dim=1).cpu()
    rho = radius.double().cpu()
    rho = torch.where((rho > 0) & (rho < 1), rho, torch.nan)
    eps = tolerance**0.5 / (1 - rho)
    return ((eps / distance).log() / rho.log()).clamp(min=0)


def log_error(predicted: Tensor, actual: Tensor) -> Tensor:
    """|log((1 + predicted) / (1 + actual))|: by what factor a number of steps was missed; 1 + since steps can be 0."""
    return ((1 + predicted.double()) / (1 + actual.double())).log().abs()
