"""What a study directory holds, read and checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from probe.errors import UserError
from probe.report.run.schema import Open
from probe.results.files import Damaged, read_tensors
from probe.results.manifest import read_manifest
from probe.studies.sweeps.config import StudyConfig

Arrays = dict[str, NDArray[Any]]
M = TypeVar("M", bound=Open)


@dataclass(frozen=True)
class Found(Generic[M]):
    """One result file.

    Attributes:
        model: of the study's kind, see ``probe.report.study.schema``.
        arrays: its tensors, as ``sweeps.memorization.measure`` and ``sweeps.shards`` name them.
    """

    model: M
    arrays: Arrays


@dataclass(frozen=True)
class StudyResults:
    """config and manifest of the study, and its result files in the order of the grid."""

    config: StudyConfig
    manifest: dict[str, Any]
    found: list[Found[Any]]


def read_study(study: Path, config: StudyConfig, files: Sequence[str], model: type[Open]) -> StudyResults:
    """Read a study directory.

    Args:
        config: its own.
        model: what a result file says of its model.
        files: the result of each model, below the folder, in the order of the grid.

    Raises:
        UserError: a file is missing or damaged.
    """
    found = []
    for name in files:
        try:
            tensors, about = read_tensors(study / name)
        except (FileNotFoundError, Damaged) as error:
            raise UserError(f"{study / name} is missing or damaged ({error}); run the study again.") from None
        arrays = {key: np.asarray(value) for key, value in tensors.items()}
        found.append(Found(model.model_validate(about["model"]), arrays))
    manifest = read_manifest(study / "manifest.json")
    return StudyResults(config, manifest, found)
