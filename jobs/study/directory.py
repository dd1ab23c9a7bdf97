"""The directory of a study: configuration, manifest, one result file for each model."""

from dataclasses import dataclass
from typing import Any

from jobs.directory import Directory
from probe.report.study.kinds import parse_study_config
from probe.results import layout
from probe.studies.sweeps.config import StudyConfig


@dataclass(frozen=True)
class StudyDirectory(Directory[Any]):
    """A folder that holds one study of ``probe study``; its ``config`` is of one of the kinds of ``StudyConfig``."""

    NOUN = "study"
    RESULTS = (layout.CELLS, layout.MODELS)

    @classmethod
    def parse(cls, data: dict[str, Any]) -> StudyConfig:
        """See ``parse_study_config``."""
        return parse_study_config(data)

    @classmethod
    def wants_cpu(cls, config: StudyConfig) -> bool:
        """Whether ``device`` is cpu."""
        return config.device == "cpu"
