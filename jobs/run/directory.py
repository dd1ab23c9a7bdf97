"""The run directory: one run's configuration, manifest and results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.directory import WORK, Directory, is_free
from probe.config import Config, parse_config
from probe.data import resolve
from probe.errors import UserError

__all__ = ["WORK", "RunDirectory", "is_free", "resolved"]


@dataclass(frozen=True)
class RunDirectory(Directory[Config]):
    """A folder that holds one run of ``probe run``."""

    NOUN = "run"
    RESULTS = ("attractors", "dictionary.safetensors", "reconstructions")

    @classmethod
    def create(cls, path: Path, config: Config) -> "RunDirectory":
        """As ``Directory.create``, with the presets of the data sets written out."""
        return super().create(path, resolved(config))

    @classmethod
    def parse(cls, data: dict[str, Any]) -> Config:
        """See ``parse_config``."""
        return parse_config(data)

    @classmethod
    def wants_cpu(cls, config: Config) -> bool:
        """Whether ``model.device`` is cpu."""
        return config.model.device == "cpu"

    def model_checksums(self) -> dict[str, str | None]:
        """Of weights and code. To be asked for once the model is known to the manifest.

        Raises:
            UserError: it is not, since no stage has run.
        """
        model = self.manifest.get("model")
        if model is None:
            raise UserError(f"{self.path} has no results yet; run `probe run {self.path}` first.")
        return {name: model[name] for name in ("weights_sha256", "code_sha256")}


def resolved(config: Config) -> Config:
    """The configuration with the presets of its data sets written out."""
    named = {name: resolve(name, spec) for name, spec in config.datasets.items()}
    return config.model_copy(update={"datasets": named})
