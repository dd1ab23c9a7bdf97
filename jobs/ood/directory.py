"""The directory of an experiment on OOD detection: configuration, manifest, training attractors, a table per set."""

from dataclasses import dataclass
from typing import Any

from jobs.directory import Directory
from probe.studies.ood.config import OodConfig, parse_ood_config

MODEL, REFERENCES, TABLE = "model", "references.safetensors", "scores.parquet"
"""A model that is trained here; the training attractors; a row per image of every set, joined from scores/."""


@dataclass(frozen=True)
class OodDirectory(Directory[OodConfig]):
    """A folder that holds one experiment of ``probe ood``."""

    NOUN = "ood"
    RESULTS = (MODEL, REFERENCES, "scores")

    @classmethod
    def parse(cls, data: dict[str, Any]) -> OodConfig:
        """See ``parse_ood_config``."""
        return parse_ood_config(data)

    @classmethod
    def wants_cpu(cls, config: OodConfig) -> bool:
        """Whether the model's device is the CPU."""
        return config.device == "cpu"
