"""Read and check the results of a round trip."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.measures import IDENTITY
from probe.results import layout
from probe.results.files import read_table, read_tensors, reading
from probe.results.manifest import read_manifest

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from probe.studies.roundtrip.config import RoundtripConfig


@dataclass(frozen=True, order=True)
class Trip:
    """One model, one thing that happens between cycles, one data set: what ranks share."""

    model: str
    between: str
    dataset: str

    @property
    def table(self) -> str:
        """Where its measures are."""
        return layout.TRIP.at(None, **self._path)

    @property
    def tensors(self) -> str:
        """Where its spectra, outcomes and pictures are."""
        return layout.TRIP_TENSORS.at(None, **self._path)

    @property
    def _path(self) -> dict[str, str]:
        return {"model": self.model, "between": self.between.replace(":", "-"), "dataset": self.dataset}


@dataclass(frozen=True)
class TripResults:
    """The results of one ``Trip``.

    Attributes:
        rows: a row per image and cycle, with the columns of ``layout.TRIP``, by image, then cycle.
        tensors: those of ``layout.TRIP_TENSORS``.
        about: the metadata of the tensors.
    """

    trip: Trip
    rows: "pd.DataFrame"
    tensors: "dict[str, Tensor]"
    about: dict[str, Any]

    def curve(self, measure: str) -> "pd.DataFrame | None":
        """A measure as a table: a row per image, a column per cycle 0..T; None where it was not measured."""
        if measure not in self.rows:
            return None
        return self.rows.pivot(index="image", columns="cycle", values=measure)


@dataclass(frozen=True)
class RoundtripResults:
    """The results of a round trip, by model (the control ``identity`` last), between and data set, as configured."""

    config: "RoundtripConfig"
    manifest: dict[str, Any]
    trips: dict[Trip, TripResults]

    def of(self, model: str, between: str, dataset: str) -> TripResults:
        """One of them; KeyError if there is none."""
        return self.trips[Trip(model, between, dataset)]


def trips(config: "RoundtripConfig") -> Iterator[Trip]:
    """All of a configuration: by model, the control last; then between; then data set."""
    for model in (*config.models, IDENTITY):
        for between in config.between:
            for dataset in config.datasets:
                yield Trip(model, between, dataset)


def read_roundtrip(folder: Path, config: "RoundtripConfig") -> RoundtripResults:
    """Read the directory of a round trip.

    Raises:
        UserError: a file is missing or damaged.
    """
    command = f"probe roundtrip {folder / layout.CONFIG} --out {folder}"
    found = {}
    for trip in trips(config):
        with reading(folder / trip.table, command) as path:
            rows, _ = read_table(path)
        with reading(folder / trip.tensors, command) as path:
            tensors, about = read_tensors(path)
        found[trip] = TripResults(trip, rows, tensors, about)
    return RoundtripResults(config, read_manifest(folder / layout.MANIFEST, "roundtrip"), found)
