"""Read and check the results of a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from numpy.typing import NDArray
from pydantic import BaseModel

from probe.results import layout
from probe.results.files import read_tensors, reading
from probe.results.manifest import read_manifest

if TYPE_CHECKING:
    from probe.studies.sweeps.config import StudyConfig

Arrays = dict[str, NDArray[Any]]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Found(Generic[M]):
    """The result of one model.

    Attributes:
        model: its numbers, of the class that the kind of study has in ``probe.report.study.schema``.
        arrays: its tensors, see ``layout.CELL_COLUMNS``.
    """

    model: M
    arrays: Arrays


@dataclass(frozen=True)
class StudyResults:
    """Configuration and manifest of the study, and its results in the order of the grid."""

    config: "StudyConfig"
    manifest: dict[str, Any]
    found: list[Found[Any]]


def read_study(study: Path, config: "StudyConfig", files: Sequence[str], model: type[BaseModel]) -> StudyResults:
    """Read the directory of a study.

    Args:
        config: of the study.
        files: the result of each model, below the folder, in the order of the grid.
        model: the class of a model's numbers.

    Raises:
        UserError: a file is missing or damaged.
    """
    found = []
    for name in files:
        with reading(study / name, f"probe study {study / layout.CONFIG} --out {study}") as path:
            tensors, about = read_tensors(path)
            arrays = {key: value.numpy() for key, value in tensors.items()}
            found.append(Found(model.model_validate(about["model"]), arrays))
    return StudyResults(config, read_manifest(study / layout.MANIFEST, "study"), found)
