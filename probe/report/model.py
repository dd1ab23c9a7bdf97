"""What report.json of every kind of work has in common: its parts, how it is written, and how it is read."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from probe.config import Tracked
from probe.reading import read_object
from probe.results import layout
from probe.results.files import reading


class ReportModel(BaseModel):
    """A part of a report. The keys listed here can be relied on; more may be added."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())


R = TypeVar("R", bound=ReportModel)


def read_as(folder: Path, model: type[R], command: str) -> R:
    """The report.json in a folder of any kind of work, as ``model``; ``command`` writes it.

    Raises:
        UserError: it is missing, truncated, or of another schema.
    """
    with reading(folder / layout.REPORT_JSON, command) as path:
        content = read_object(path)
        ours, theirs = model.model_fields["schema_version"].default, content.get("schema_version")
        if theirs != ours:
            raise ValueError(f"its schema_version is {theirs}, this probe reads {ours}")
        return model.model_validate(content)


def dump(report: ReportModel) -> dict[str, Any]:
    """Any report as plain JSON values, free of NaN and infinity."""
    plain: dict[str, Any] = finite(report.model_dump(mode="json", by_alias=True))
    return plain


def provenance(manifest: Mapping[str, Any], config: Tracked) -> dict[str, Any]:
    """How the results of a study or OOD experiment were made, for its report."""
    keys = ("command", "git_revision", "versions", "platform", "device", "dtype", "world_size", "started", "finished")
    facts = {key: manifest.get(key) for key in keys}
    images = {name: data["sha256"] for name, data in manifest["data"].items()}
    return {**facts, "images_sha256": images, "config": config.settings()}


def finite(value: Any) -> Any:
    """The same value with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
