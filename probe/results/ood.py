"""Read and check the results of an OOD experiment."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from probe.results import layout
from probe.results.files import read_table, read_tensors, reading
from probe.results.manifest import read_manifest

if TYPE_CHECKING:
    from probe.studies.ood.config import OodConfig


@dataclass(frozen=True)
class OodResults:
    """The results of an OOD experiment.

    Attributes:
        table: a row per image, with the columns of ``layout.SCORE_TABLE``.
        facts: of the training attractors (``probe.studies.ood.scores.References``).
    """

    config: "OodConfig"
    manifest: dict[str, Any]
    table: pd.DataFrame
    facts: dict[str, Any]


def read_ood(folder: Path, config: "OodConfig") -> OodResults:
    """Read the directory of an OOD experiment.

    Raises:
        UserError: a file is missing or damaged.
    """
    command = f"probe ood {folder / layout.CONFIG} --out {folder}"
    with reading(folder / layout.SCORE_TABLE, command) as path:
        table, _ = read_table(path)
    with reading(folder / layout.REFERENCES, command) as path:
        facts = read_tensors(path)[1]["facts"]
    return OodResults(config, read_manifest(folder / layout.MANIFEST, "ood"), table, facts)
