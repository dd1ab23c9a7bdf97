"""Ranges of starts that are iterated and saved together, whole, or in part where the work was stopped."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any

import torch

from jobs.directory import Directory
from probe.config import SeedConfig
from probe.dynamics import EndPoints
from probe.dynamics.iterate import Gathered
from probe.results.layout import SHARD, SHARD_PART
from probe.studies.probing.end_points import batches

log = logging.getLogger("probe")


def shards(seeds: SeedConfig) -> list[range]:
    """The ranges of starts of a run."""
    return batches(seeds.count, seeds.shard_size)


class Shards:
    """Saves the shards that one rank iterates; after an error or a stop also the finished starts of the others.

    Attributes:
        gathered: what has ended so far, to be given to ``solve``.
    """

    def __init__(self, directory: Directory[Any], shard_of: Callable[[int], range], rank: int):
        self.directory, self.shard_of, self.rank = directory, shard_of, rank
        self.gathered = Gathered()

    def __enter__(self) -> "Shards":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            return
        saved = 0
        with suppress(OSError):  # the first error is the one to report
            for indices, rows, ends in self.gathered.unfinished():
                ended = [indices[row] for row in rows]
                shard = self.shard_of(ended[0])
                if not (self.directory.path / SHARD.at(shard)).exists():  # stopped just after it was written
                    self._write(SHARD_PART.at(shard), *self._with_known(ended, ends))
                    saved += len(ended)
        if saved:
            log.info(f"attractors: saved {saved} finished starts of unfinished shards")

    def count(self, shard: range) -> int:
        """How many starts of an unfinished shard are there."""
        return len(self._known(shard)[0])

    def missing(self, claims: Iterable[range]) -> Iterator[list[int]]:
        """The starts that each shard lacks. One that lacks none is saved."""
        for shard in claims:
            index, ends = self._known(shard)
            if left := sorted({*shard} - {*index}):
                yield left
            else:
                self._save(shard, index, ends)

    def save(self, indices: list[int], ends: EndPoints) -> None:
        """Write the shard that these starts complete."""
        self._save(self.shard_of(indices[0]), *self._with_known(indices, ends))

    def _save(self, shard: range, index: list[int], ends: list[EndPoints]) -> None:
        self._write(SHARD.at(shard), index, ends)
        (self.directory.path / SHARD_PART.at(shard)).unlink(missing_ok=True)

    def _write(self, name: str, index: list[int], ends: list[EndPoints]) -> None:
        order = torch.tensor(index).argsort()
        rows = {key: value[order] for key, value in EndPoints.concatenate(ends).stored().items()}
        self.directory.save(name, {"index": torch.tensor(index)[order], **rows}, rank=self.rank)

    def _with_known(self, indices: list[int], ends: EndPoints) -> tuple[list[int], list[EndPoints]]:
        index, known = self._known(self.shard_of(indices[0]))
        return [*index, *indices], [*known, ends]

    def _known(self, shard: range) -> tuple[list[int], list[EndPoints]]:
        """The starts of a shard that an earlier session finished, and their end points."""
        if not self.directory.claimed(SHARD_PART.at(shard)):
            return [], []
        tensors = self.directory.load(SHARD_PART.at(shard))[0]
        return tensors.pop("index").tolist(), [EndPoints.of_stored(tensors)]
