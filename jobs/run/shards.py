"""Shards of the attractor stage: a range of starts each, whole, or in part where the work was stopped."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

import torch

from jobs.directory import WORK
from probe.dynamics import EndPoints
from probe.dynamics.iterate import Gathered
from probe.studies.probing.end_points import batches

if TYPE_CHECKING:
    from jobs.run.job import Job


log = logging.getLogger("probe")


def shards(job: "Job") -> list[range]:
    """The ranges of starts."""
    return batches(job.config.seeds.count, job.config.seeds.shard_size)


def shard_file(indices: range) -> str:
    """Where a range of starts is kept."""
    return f"attractors/{indices.start:08d}-{indices.stop - 1:08d}.safetensors"


def part_file(indices: range) -> str:
    """Where the finished starts of a range are kept while others of it are missing."""
    return f"{WORK}/{shard_file(indices)}"


class Shards:
    """Saves the shards that one rank iterates; left early, it saves the finished starts of unfinished shards as well.

    Attributes:
        gathered: what has ended so far, to be given to ``solve``.
    """

    def __init__(self, job: "Job"):
        self.job, self.gathered = job, Gathered()

    def __enter__(self) -> "Shards":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            return
        saved = 0
        with suppress(OSError):  # the first error is the one to report
            for indices, rows, ends in self.gathered.unfinished():
                ended = [indices[row] for row in rows]
                shard = self._shard(ended)
                if not (self.job.run.path / shard_file(shard)).exists():  # stopped just after it was written
                    self._write(part_file(shard), *self._with_known(ended, ends))
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
        self._save(self._shard(indices), *self._with_known(indices, ends))

    def _save(self, shard: range, index: list[int], ends: list[EndPoints]) -> None:
        self._write(shard_file(shard), index, ends)
        (self.job.run.path / part_file(shard)).unlink(missing_ok=True)

    def _write(self, name: str, index: list[int], ends: list[EndPoints]) -> None:
        order = torch.tensor(index).argsort()
        rows = {key: value[order] for key, value in vars(EndPoints.concatenate(ends)).items()}
        self.job.run.save(name, {"index": torch.tensor(index)[order], **rows}, rank=self.job.world.rank)

    def _with_known(self, indices: list[int], ends: EndPoints) -> tuple[list[int], list[EndPoints]]:
        index, known = self._known(self._shard(indices))
        return [*index, *indices], [*known, ends]

    def _known(self, shard: range) -> tuple[list[int], list[EndPoints]]:
        """The starts of a shard that an earlier session finished, and their end points."""
        if not self.job.run.claimed(part_file(shard)):
            return [], []
        tensors = self.job.run.load(part_file(shard))[0]
        return tensors.pop("index").tolist(), [EndPoints(**tensors)]

    def _shard(self, indices: list[int]) -> range:
        return shards(self.job)[indices[0] // self.job.config.seeds.shard_size]
