"""The sources of images: the kinds, one entry each, and the data sets known by name.

To add a kind, write its opener and list it in ``SOURCES``.
"""

import difflib
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from probe.config import DatasetConfig
from probe.data.bundled import open_bundled
from probe.data.folder import open_folder
from probe.data.hub import open_hub
from probe.data.parquet import open_parquet
from probe.data.source import Source
from probe.data.urls import open_urls
from probe.errors import UserError
from probe.plugins import with_plugins

_OF_A_HUB_TABLE = frozenset({"config", "split", "column", "revision"})

SOURCES: tuple[Source, ...] = (
    Source("hub", "ID", open_hub, "a data set of the Hugging Face hub, streamed", _OF_A_HUB_TABLE, remote=True),
    Source(
        "parquet",
        "PATH",
        open_parquet,
        "parquet files with a column of encoded images: a file, a folder or a pattern",
        frozenset({"column"}),
    ),
    Source("folder", "PATH", open_folder, "a folder of image files; its first subfolders are the classes"),
    Source("bundled", "NAME", open_bundled, "a small set inside scikit-image or scikit-learn; needs no network"),
    Source(
        "urls",
        "ID-or-PATH",
        open_urls,
        "a table of image addresses, on the hub or a .parquet or .csv file; the images are downloaded",
        _OF_A_HUB_TABLE,
        remote=True,
    ),
)


def known_sources() -> dict[str, Source]:
    """Every kind of source by prefix, those of plug-ins included (``probe.plugins``)."""
    return with_plugins(SOURCES, Source, "prefix")


def is_remote(source: str | None) -> bool:
    """Whether a source takes long to read again, or may give other images."""
    prefix, _, place = (source or "").partition(":")
    return bool(place) and prefix in known_sources() and known_sources()[prefix].remote


@cache
def _presets() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(files("probe.data").joinpath("presets.yaml").read_text(encoding="utf-8"))


def preset_names() -> list[str]:
    """The names that need no ``source``, in the order of presets.yaml."""
    return list(_presets())


def resolve(name: str, spec: DatasetConfig) -> DatasetConfig:
    """The specification with its source; without one, what the user left unset comes from the preset ``name``.

    Idempotent, so a resolved specification can be written to a run's config.yaml and read again. An unresolved one
    cannot: its defaults, once written out, would count as set by the user.

    Raises:
        UserError: there is no source, and no preset of that name.
    """
    if spec.source is not None:
        return spec
    if name not in _presets():
        near = difflib.get_close_matches(name, preset_names(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(
            f"data set {name!r} has no source and is not a preset: {hint}set datasets.{name}.source, "
            f"or use one of {', '.join(preset_names())}."
        )
    mine = {field: getattr(spec, field) for field in spec.model_fields_set if field != "source"}
    return DatasetConfig.model_validate(_presets()[name] | mine)
