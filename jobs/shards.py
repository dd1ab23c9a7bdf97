"""Starts that are iterated and saved together: whole, or in part where the work was stopped."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from jobs.directory import Directory
from probe.dynamics import EndPoints
from probe.dynamics.iterate import Gathered
from probe.errors import UserError
from probe.results.layout import SHARD, SHARD_PART

log = logging.getLogger("probe")


class Shards:
    """The shards (ranges of starts) that one rank iterates. The block saves, after an error or a stop, the finished
    starts of unfinished shards; the next process joins them with the rest.

    Args:
        fresh: shards of which no earlier process finished a start, as far as that is known.

    Attributes:
        gathered: what has ended so far, to be given to ``solve``.
    """

    def __init__(
        self, directory: Directory[Any], shard_of: Callable[[int], range], rank: int, fresh: Iterable[range] = ()
    ):
        self.directory, self.shard_of, self.rank, self.fresh = directory, shard_of, rank, {*fresh}
        self.gathered = Gathered()

    def __enter__(self) -> Self:
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
                    self._write(SHARD_PART.at(shard), *self.joined(shard, ended, [ends]))
                    saved += len(ended)
        if saved:
            log.info(f"attractors: saved {saved} finished starts of unfinished shards")

    def missing(self, shard: range) -> list[int]:
        """The starts of a shard that are not there."""
        return sorted({*shard} - {*self._known(shard)[0]})

    def save(self, shard: range, indices: Sequence[int] = (), ends: Sequence[EndPoints] = ()) -> None:
        """Write the shard that these starts complete."""
        self._write(SHARD.at(shard), *self.joined(shard, indices, ends))
        if shard not in self.fresh:
            (self.directory.path / SHARD_PART.at(shard)).unlink(missing_ok=True)

    def joined(self, shard: range, indices: Sequence[int], ends: Sequence[EndPoints]) -> tuple[Tensor, EndPoints]:
        """These starts of a shard and those that an earlier process finished, in order: indices and end points."""
        index, known = self._known(shard)
        both = torch.tensor([*index, *indices])
        order = both.argsort()
        rows = vars(EndPoints.concatenate([*known, *ends]))
        return both[order], EndPoints(**{name: value[order] for name, value in rows.items()})

    def _write(self, name: str, index: Tensor, ends: EndPoints) -> None:
        self.directory.save(name, {"index": index, **ends.stored()}, rank=self.rank)

    def _known(self, shard: range) -> tuple[list[int], list[EndPoints]]:
        """The starts of a shard that an earlier process finished, and their end points."""
        if shard in self.fresh or not self.directory.claimed(SHARD_PART.at(shard)):
            return [], []
        try:
            tensors = self.directory.load(SHARD_PART.at(shard))[0]
        except UserError:
            if (self.directory.path / SHARD_PART.at(shard)).exists():
                raise
            return [], []  # an independent process has just completed the shard, or is adding to what is known
        return tensors.pop("index").tolist(), [EndPoints.of_stored(tensors)]
