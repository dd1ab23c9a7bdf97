"""Probing pretrained autoencoders through the fixed points of f(z) = E(D(z)).

After Fumero, Moschella, Rodola and Locatello, "Navigating the Latent Space Dynamics of Neural Models" (ICLR 2026,
arXiv 2505.22785).
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "load_autoencoder": "probe.autoencoders",
    "LatentMap": "probe.dynamics",
    "find_attractors": "probe.studies.probing.end_points",
}
__all__ = ["LatentMap", "find_attractors", "load_autoencoder"]


def __getattr__(name: str) -> Any:  # torch takes seconds to import, and `probe --help` needs none of it
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'probe' has no attribute {name!r}")
