"""The page of the Python API: mkdocstrings entries for the public names, at the places where they are defined."""

import importlib
from pathlib import Path

SECTIONS: dict[str, tuple[str, ...]] = {
    "From noise to attractors": (
        "probe.autoencoders.load_autoencoder",
        "probe.autoencoders.base.Autoencoder",
        "probe.dynamics.LatentMap",
        "probe.studies.probing.end_points.find_attractors",
    ),
    "Sparse codes": ("probe.sparse.omp.omp",),
}


def page() -> str:
    """The page as Markdown; ImportError or AttributeError for a name that is gone."""
    text = (Path(__file__).parent / "python.md").read_text()
    for heading, names in SECTIONS.items():
        text += f"\n## {heading}\n\n" + "".join(f"::: {_found(name)}\n\n" for name in names)
    return text


def _found(name: str) -> str:
    """Where the object of that name is defined, since mkdocstrings reads sources and not imports."""
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute)
    return f"{found.__module__}.{found.__qualname__}"
