"""Probing pretrained autoencoders through the fixed points of f(z) = E(D(z)).

After Fumero, Moschella, Rodola and Locatello, "Navigating the Latent Space Dynamics of Neural Models" (ICLR 2026,
arXiv 2505.22785).

    import probe
    run = probe.run("quickstart", out="runs/quickstart")
    run.report.to_pandas()
"""

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from probe.errors import Failure, UserError

if TYPE_CHECKING:
    from probe.api import Comparison, OodReport, Report, Run, StudyReport, compare, open_run, run
    from probe.autoencoders import Autoencoder, load_autoencoder
    from probe.dynamics import EndPoints, LatentMap, Outcome
    from probe.studies.probing.attractor_dictionary import AttractorDictionary
    from probe.studies.probing.end_points import find_attractors

__version__ = "0.1.0"

# Of tqdm, which other libraries import, in a notebook without ipywidgets. Progress here needs none.
warnings.filterwarnings("ignore", "IProgress not found")

_HOMES = {
    "probe.api": ("Comparison", "OodReport", "Report", "Run", "StudyReport", "compare", "open_run", "run"),
    "probe.autoencoders": ("Autoencoder", "load_autoencoder"),
    "probe.dynamics": ("EndPoints", "LatentMap", "Outcome"),
    "probe.studies.probing.attractor_dictionary": ("AttractorDictionary",),
    "probe.studies.probing.end_points": ("find_attractors",),
}
__all__ = [
    "AttractorDictionary",
    "Autoencoder",
    "Comparison",
    "EndPoints",
    "Failure",
    "LatentMap",
    "OodReport",
    "Outcome",
    "Report",
    "Run",
    "StudyReport",
    "UserError",
    "compare",
    "find_attractors",
    "load_autoencoder",
    "open_run",
    "run",
]


def __getattr__(name: str) -> Any:  # torch takes seconds to import, and `probe --help` needs none of it
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'probe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
