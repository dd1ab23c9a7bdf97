"""The directory of a round trip of ``probe roundtrip``, and what is there; torch is not imported."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.directory import Directory
from jobs.stage import Counts, count_drawn
from probe.data.presets import resolve
from probe.results import layout
from probe.results.roundtrip import Trip, trips
from probe.studies.roundtrip.config import RoundtripConfig, parse_roundtrip_config

Look = Callable[..., dict[str, Any] | None]
"""``checked``, ``needed`` or ``claimed`` of a directory."""


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

    def has(self, trip: Trip, look: Look, **made_from: str | None) -> bool:
        """Whether the files of a trip are there, made from the images and these results."""
        about = {"data": self.drawn(trip.dataset)["sha256"], **made_from}
        found = [look(file, **about) for file in (trip.table, trip.tensors)]  # both, also where the first is missing
        return None not in found


def image_file(name: str) -> str:
    """Where the images of a data set are kept until the report is there."""
    return layout.TRIP_IMAGES.at(dataset=name)


def count_images(directory: RoundtripDirectory) -> Counts:
    """Data sets that are drawn."""
    return count_drawn(directory, layout.TRIP_IMAGES, directory.config.datasets)


def count_trips(directory: RoundtripDirectory) -> Counts:
    """Trips whose files are there."""
    there = [trip for trip in trips(directory.config) if (directory.path / trip.tensors).is_file()]
    return len(there), len(list(trips(directory.config)))
