"""A round trip of ``probe roundtrip``: its directory, and its stages."""

from dataclasses import dataclass
from pathlib import Path

from jobs.directory import Directory
from probe.data import resolve
from probe.results import layout
from probe.studies.roundtrip.config import RoundtripConfig, parse_roundtrip_config


@dataclass(frozen=True)
class RoundtripDirectory(Directory[RoundtripConfig]):
    """A folder that holds a table and tensors per model, between and data set."""

    NOUN = "roundtrip"
    RESULTS = (layout.TRIPS,)
    parse = staticmethod(parse_roundtrip_config)

    @classmethod
    def create(cls, path: Path, config: RoundtripConfig) -> "RoundtripDirectory":
        """As ``Directory.create``, with the presets of the data sets written out."""
        named = {name: resolve(name, spec) for name, spec in config.datasets.items()}
        return super().create(path, config.model_copy(update={"datasets": named}))
