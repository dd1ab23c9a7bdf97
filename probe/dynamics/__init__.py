"""What f does: the latent map, the iteration, its outcomes, and what its Jacobian says."""

from probe.dynamics.certificate import Certificate, certify, spectral_radius
from probe.dynamics.iterate import EndPoints, iterate
from probe.dynamics.latent_map import LatentMap
from probe.dynamics.outcomes import Outcome
from probe.dynamics.starts import gaussian_starts

__all__ = [
    "Certificate",
    "EndPoints",
    "LatentMap",
    "Outcome",
    "certify",
    "gaussian_starts",
    "iterate",
    "spectral_radius",
]
