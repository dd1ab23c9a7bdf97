"""The page of the Python API: mkdocstrings entries for the public names, at the places where they are defined."""

import importlib
from pathlib import Path

SECTIONS: dict[str, tuple[str, ...]] = {
    "Run and read": ("run", "open_run", "Run", "compare"),
    "Reports": ("Report", "StudyReport", "OodReport", "Comparison"),
    "From noise to attractors": (
        "load_autoencoder",
        "Autoencoder",
        "LatentMap",
        "find_attractors",
        "EndPoints",
        "Outcome",
        "AttractorDictionary",
    ),
    "Errors": ("UserError", "Failure"),
}
"""Every name of ``probe.__all__``, by what it is for; a test holds that none is missing."""
FURTHER = (
    "probe.sparse.omp",
    "probe.metrics.memorization.memorization",
    "probe.autoencoders.convolutional.ConvAutoencoder",
    "probe.client.Client",
    "probe.client.RemoteRun",
)
"""Names of subpackages that are useful by themselves."""


def page() -> str:
    """The page as Markdown; ImportError or AttributeError for a name that is gone."""
    text = (Path(__file__).parent / "python.md").read_text()
    for heading, names in SECTIONS.items():
        text += f"\n## {heading}\n\n" + "".join(_entry(f"probe.{name}", f"probe.{name}") for name in names)
    return text + "\n## Further functions\n\n" + "".join(_entry(name, name) for name in FURTHER)


def _entry(name: str, shown: str) -> str:
    """An entry under the name that users import, from where the object is defined: mkdocstrings reads sources."""
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute)
    home = f"{found.__module__}.{found.__qualname__}"
    return f'::: {home}\n    options:\n      heading: "{shown}"\n      toc_label: "{shown}"\n\n'
