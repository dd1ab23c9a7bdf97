"""The run directory: one run's configuration, manifest and results."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.directory import Directory
from probe.config import Config, parse_config
from probe.data import resolve
from probe.errors import UserError
from probe.results import layout

Look = Callable[..., dict[str, Any] | None]
"""``checked``, ``needed`` or ``claimed`` of a directory."""


@dataclass(frozen=True)
class RunDirectory(Directory[Config]):
    """A folder that holds one run of ``probe run``."""

    NOUN = "run"
    RESULTS = (layout.ATTRACTORS, layout.DICTIONARY.name, layout.RECONSTRUCTIONS)

    @classmethod
    def create(cls, path: Path, config: Config) -> "RunDirectory":
        """As ``Directory.create``, with the presets of the data sets written out."""
        named = {name: resolve(name, spec) for name, spec in config.datasets.items()}
        return super().create(path, config.model_copy(update={"datasets": named}))

    @classmethod
    def parse(cls, data: dict[str, Any]) -> Config:
        """See ``parse_config``."""
        return parse_config(data)

    @classmethod
    def wants_cpu(cls, config: Config) -> bool:
        """Whether ``model.device`` is cpu."""
        return config.model.device == "cpu"

    def model_checksums(self) -> dict[str, str | None]:
        """Of weights and code; the manifest knows them once a stage has loaded the model.

        Raises:
            UserError: no stage has.
        """
        model = self.manifest.get("model")
        if model is None:
            raise UserError(
                f"{self.path} has no results yet; run `probe run {self.path}/config.yaml --out {self.path}` first."
            )
        try:
            return {name: model[name] for name in ("weights_sha256", "code_sha256")}
        except KeyError as error:
            raise UserError(
                f"{self.path / layout.MANIFEST} is damaged: its model has no {error.args[0]}; put the file back, or "
                "choose another folder with --out."
            ) from None

    def has_table(self, name: str, look: Look, **made_from: str | None) -> bool:
        """Whether a data set's final files are there, made from these results where they are given."""
        expected = {key: value for key, value in made_from.items() if value}
        return all(look(file, **expected) for file in table_files(name))


def table_files(name: str) -> tuple[str, str]:
    """The table of errors of a data set, and its example pictures."""
    return layout.TABLE.at(dataset=name), layout.PICTURES.at(dataset=name)
