"""Probing pretrained autoencoders through the fixed points of f(z) = E(D(z)).

After Fumero, Moschella, Rodola and Locatello, "Navigating the Latent Space Dynamics of Neural Models" (ICLR 2026,
arXiv 2505.22785).

    import probe
    run = probe.run("configs/quickstart.yaml", out="runs/quickstart")
    run.report.to_pandas()
"""

import importlib
from typing import TYPE_CHECKING, Any

from probe.errors import Failure, UserError

if TYPE_CHECKING:
    from probe.api import OodReport, Report, Run, StudyReport, open_run, run
    from probe.autoencoders import Autoencoder, load_autoencoder
    from probe.dynamics import EndPoints, LatentMap, Outcome
    from probe.studies.probing.dictionary import AttractorDictionary
    from probe.studies.probing.end_points import find_attractors

__version__ = "0.1.0"

_HOMES = {
    "run": "probe.api",
    "open_run": "probe.api",
    "Run": "probe.api",
    "Report": "probe.api",
    "StudyReport": "probe.api",
    "OodReport": "probe.api",
    "load_autoencoder": "probe.autoencoders",
    "Autoencoder": "probe.autoencoders",
    "LatentMap": "probe.dynamics",
    "EndPoints": "probe.dynamics",
    "Outcome": "probe.dynamics",
    "find_attractors": "probe.studies.probing.end_points",
    "AttractorDictionary": "probe.studies.probing.dictionary",
}
__all__ = ["Failure", "UserError", *_HOMES]


def __getattr__(name: str) -> Any:  # torch takes seconds to import, and `probe --help` needs none of it
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'probe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
