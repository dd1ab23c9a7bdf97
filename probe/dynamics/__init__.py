"""What f does: the latent map, the iteration, its outcomes, and what its Jacobian says."""

from probe.dynamics.certificate import Certificates, certify
from probe.dynamics.end_points import EndPoints, Outcome
from probe.dynamics.iterate import Iteration, apply, iterate
from probe.dynamics.jacobian import Jacobian
from probe.dynamics.latent_map import LatentMap, gaussian_starts
from probe.dynamics.rates import Exponents, lyapunov_exponents
from probe.dynamics.spectra import Estimate, spectral_norm, spectral_radius

__all__ = [
    "Certificates",
    "EndPoints",
    "Estimate",
    "Exponents",
    "Iteration",
    "Jacobian",
    "LatentMap",
    "Outcome",
    "apply",
    "certify",
    "gaussian_starts",
    "iterate",
    "lyapunov_exponents",
    "spectral_norm",
    "spectral_radius",
]
