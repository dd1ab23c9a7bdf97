"""Data sets that are known by name: presets.yaml. Reading no images, it imports no library of images."""

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from probe.config import DatasetConfig
from probe.errors import UserError
from probe.names import did_you_mean


@cache
def presets() -> dict[str, dict[str, Any]]:
    """Keys of a data set by name, as presets.yaml has them."""
    return yaml.safe_load(files("probe.data").joinpath("presets.yaml").read_text(encoding="utf-8"))


def preset_names() -> list[str]:
    """The names that need no ``source``, in the order of presets.yaml."""
    return list(presets())


def resolve(name: str, spec: DatasetConfig) -> DatasetConfig:
    """The specification with its source; without one, what the user left unset comes from the preset ``name``.

    Idempotent, so a resolved specification can be written to a run's config.yaml and read again. An unresolved one
    cannot: its defaults, once written out, would count as set by the user.

    Raises:
        UserError: there is no source, and no preset of that name.
    """
    if spec.source is not None:
        return spec
    if name not in presets():
        ways = f"set datasets.{name}.source, or use one of {', '.join(preset_names())}."
        advice = f"{did_you_mean(name, preset_names())} {ways}".lstrip()
        raise UserError(f"data set {name!r} has no source and is not a preset: {advice}")
    mine = {field: getattr(spec, field) for field in spec.model_fields_set if field != "source"}
    return DatasetConfig.model_validate(presets()[name] | mine)
