"""What the directory of an OOD experiment holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from probe.results.manifest import read_manifest
from probe.studies.ood.config import OodConfig, load_ood_config


@dataclass(frozen=True)
class OodResults:
    """config, manifest; table: a row per image (set, image, id, scores, outcome); facts of the training attractors."""

    config: OodConfig
    manifest: dict[str, Any]
    table: pd.DataFrame
    facts: dict[str, Any]


def read_ood(path: Path, table: str, facts: dict[str, Any]) -> OodResults:
    """Read a directory; ``table`` is the file of scores below it."""
    manifest = read_manifest(path / "manifest.json")
    return OodResults(load_ood_config(path / "config.yaml"), manifest, pd.read_parquet(path / table), facts)
