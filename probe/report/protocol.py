"""What a protocol is: what must be equal in runs that are compared, or ranked. Read from their report.json alone.

Two runs can be compared (``comparable``) if they have the same resolution, the same data sets and images in them (by
SHA-256, wherever they come from), the same methods, coordinates of the latents and levels of sparsity. Everything else
may differ, and is listed beside the numbers. A ranking asks for more (``ranked``): whatever buys a better place, such
as more starts, must be equal as well.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from probe.config import Config, SparseConfig, parse_config
from probe.methods import BASELINE
from probe.report.run.schema import Report

FIVE = 0.05
"""The level, as a fraction of d, that verdicts and ranks are about."""
RANKED = (
    "model.clamp",
    "seeds.count",
    "solver.max_steps",
    "solver.tolerance",
    "solver.certificates",
    "solver.products",
    "dictionary.cosine",
    "dictionary.outcomes",
    "sparse.controls",
    "sparse.levels",
)
"""Settings that must be equal in a ranking, beside ``comparable``."""


def configuration(report: Report) -> Config:
    """The configuration of a run, from its report; keys that are newer than the run have their defaults.

    Raises:
        UserError: it is not one of this version, as one with a plug-in that is not installed.
    """
    return parse_config(report.provenance["config"])


def levels(sparse: SparseConfig, d: int) -> dict[float, int]:
    """Atoms by fraction of d; the level for 5 % has the key 0.05, whatever it was rounded to."""
    stated = {round(level * d): level for level in sparse.levels if isinstance(level, float)}
    five = sparse.five_percent(d)
    return {FIVE if atoms == five else stated.get(atoms, atoms / d): atoms for atoms in sparse.atoms(d)}


def comparable(config: Config, datasets: Iterable[str]) -> dict[str, Any]:
    """What must be equal in runs that are compared on ``datasets``, by key; ``images`` and levels apart."""
    return {
        "resolution": config.resolution,
        "model.latents": config.model.latents,
        "model.quantisation": config.model.quantisation,
        "sparse.random_bases": config.sparse.random_bases if BASELINE in config.sparse.controls else 0,
        "sparse.centre": config.sparse.centre,
        "datasets": sorted(datasets),
    }


def images(found: Mapping[str, str | None], path: object) -> dict[str, str]:
    """The images of data sets, by key, from their SHA-256; images without one equal no others."""
    return {f"images of {name}": digest or f"unknown in {path}" for name, digest in found.items()}


def ranked(report: Report, path: object) -> dict[str, Any]:
    """What must be equal in runs that are ranked, by key.

    Raises:
        UserError: as ``configuration``.
    """
    config, digests = configuration(report), {name: data.sha256 for name, data in report.datasets.items()}
    settings = flat(config.settings())
    more = {key: settings[key] for key in RANKED}
    more["sparse.controls"] = sorted(more["sparse.controls"])
    return comparable(config, report.datasets) | images(digests, path) | more


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted keys."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= flat(item, f"{prefix}{key}.") if isinstance(item, dict) else {f"{prefix}{key}": item}
    return found


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Keys of both whose values differ; a data set that one lacks is named by the key ``datasets``."""
    return [key for key in one if key in other and one[key] != other[key]]


def told(keys: list[str], one: Mapping[str, Any], other: Mapping[str, Any], most: int = 3) -> str:
    """The first keys with their values in both: ``resolution (32 and 64) and 2 more``."""
    named = [f"{key} ({_short(one[key])} and {_short(other[key])})" for key in keys[:most]]
    return ", ".join(named) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def _short(value: Any) -> str:
    text = (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
    return text if len(text) < 60 else text[:12] + "..."
