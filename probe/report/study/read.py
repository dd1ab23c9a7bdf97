"""What a study directory holds, read and checked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe.checked import Damaged, read_tensors
from probe.errors import UserError
from probe.report.study.schema import Model
from probe.studies.config import StudyConfig, load_study_config

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class StudyResults:
    """config and manifest of the study; models and, in the same order, their arrays: mem and the null levels per
    attractor or image, basin and certificate per attractor, test_error per image, gallery (uint8 pictures)."""

    config: StudyConfig
    manifest: dict[str, Any]
    models: list[Model]
    arrays: list[Arrays]


def read_study(study: Path, files: Sequence[str]) -> StudyResults:
    """Read a study directory.

    Args:
        files: the result of each model, below the folder, in the order of the grid.

    Raises:
        UserError: a file is missing or damaged.
    """
    models, arrays = [], []
    for name in files:
        try:
            tensors, about = read_tensors(study / name)
        except (FileNotFoundError, Damaged) as error:
            raise UserError(f"{study / name} is missing or damaged ({error}); run the study again.") from None
        models.append(Model.model_validate(about["model"]))
        arrays.append({key: np.asarray(value) for key, value in tensors.items()})
    manifest = json.loads((study / "manifest.json").read_text())
    return StudyResults(load_study_config(study / "config.yaml"), manifest, models, arrays)
