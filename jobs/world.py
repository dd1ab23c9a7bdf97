"""The processes (ranks) that work on one run: how they share the work and end together.

Ranks communicate through the key-value store of torch.distributed. There is no process group and no collective
operation, so no rank waits inside a library, and the end of a rank is noticed within seconds. A single process is a
world of size 1 with a store in its own memory.

One process serves the store. So a rank asks it a fixed number of questions for each thing it does, and the fewer a
second the more ranks wait; only rank 0 asks for all ranks, and then in one question. `probe bench ranks` counts them.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import ParamSpec, TypeVar

import torch
from torch.distributed import HashStore, Store

from jobs.launcher import take_over_slurm, tasks_of_step
from jobs.logs import to_stderr
from jobs.rendezvous import PATIENCE, POLL, join, pauses
from jobs.stopping import Ended
from probe.errors import Failure, UserError
from probe.reading import short

T = TypeVar("T")
P = ParamSpec("P")
MOST_RANKS = 100_000
GLANCE, GLANCE_OF_A_RANK = 1.0, 0.001
"""Seconds between two looks for the end of another rank; if they are many, seconds times the ranks."""
LAST_WORDS = 10.0
"""Seconds that rank 0, which may host the store, waits after an error for the others to notice."""
BEAT, SILENCE = 5.0, 12
"""Every rank beats once in ``BEAT`` seconds. Rank 0 takes a rank for dead that missed ``SILENCE`` of rank 0's own
beats: if all ranks are suspended together, rank 0 does not beat either."""


def number(name: str, default: int | None = None) -> int:
    """The integer from 0 to 2**32 - 1 in an environment variable; ``default`` if unset or empty.

    Raises:
        UserError: it is no such integer, or unset without a default.
    """
    text = os.environ.get(name, "").strip()
    if not text and default is not None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) < 2**32):
        raise UserError(f"environment variable {name} must be an integer from 0 to 2**32 - 1, not {short(text)}.")
    return int(text)


class SharedStore:
    """The key-value store of the ranks, hosted by rank 0. Every call raises ``Ended`` if the store is gone."""

    def __init__(self, store: Store):
        self.add, self.set = _or_end(store.add), _or_end(store.set)
        self.get, self.check = _or_end(store.get), _or_end(store.check)
        self.multi_get = _or_end(store.multi_get)
        self.multi_set = _or_end(store.multi_set)  # type: ignore[attr-defined]  # torch's stub lacks it


class World:
    """All ranks of a run.

    Attributes:
        rank, size: of this process, and the number of ranks.
        ranks: host and device of each rank; those of others are known to rank 0 alone.
        processes: how many share the work: the ranks, or the processes of ``jobs.independent``.
        independent: whether others work here that are no ranks of this world.
        glance: seconds between two looks for the end of another rank.
    """

    independent = False

    def __init__(self, rank: int = 0, size: int = 1, store: Store | None = None):
        self.rank, self.size, self.processes = rank, size, size
        self.store = SharedStore(HashStore() if store is None else store)
        self.ranks: list[dict[str, str]] = [{"host": socket.gethostname()}]
        self.glance = max(GLANCE, size * GLANCE_OF_A_RANK)
        self._count = 0
        self._dead: str | None = None
        self._over = threading.Event()
        self._pulse = threading.Thread(target=self._beat, daemon=True, name="beat")
        if size > 1:
            self._pulse.start()

    def __str__(self) -> str:
        return "1 rank" if self.size == 1 else f"{self.size} ranks"

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    @staticmethod
    def gather(cpu: bool, expected: int | None = None) -> "World":
        """Join the ranks started by accelerate, torchrun or srun, or by hand with RANK and WORLD_SIZE.

        Args:
            cpu: use the CPU even if there is a GPU.
            expected: the number of ranks that there must be.

        Raises:
            UserError: environment variables contradict each other.
            Failure: there are fewer ranks than the launcher promised, or they did not find each other.
        """
        take_over_slurm()
        size = number("WORLD_SIZE", 1)
        if not 1 <= size <= MOST_RANKS or (size > 1 and number("RANK") >= size):
            raise UserError(
                f"WORLD_SIZE is {size} and RANK is {short(os.environ.get('RANK'))}: WORLD_SIZE must be from 1 to "
                f"{MOST_RANKS}, RANK below it; use accelerate launch, torchrun or srun."
            )
        _keep_promises(size, expected)
        if size == 1:
            return World()
        return _gather(cpu or not torch.cuda.is_available())

    def introduce(self, about: dict[str, str]) -> None:
        """Tell rank 0 a record of each rank.

        Raises:
            Ended: another rank ended instead.
        """
        self.ranks, keys = [about], [f"about/{rank}" for rank in range(self.size)]
        self.store.set(keys[self.rank], json.dumps(about))
        if self.leads:
            self._wait(lambda: self.store.check(keys))
            self.ranks = [json.loads(one) for one in self.store.multi_get(keys)]

    def broadcast(self, value: T | None = None) -> T:
        """The value of rank 0, which must be JSON, on every rank."""
        key = self.next_key("broadcast")
        if self.rank == 0:
            self.store.set(key, json.dumps(value))
            return value  # type: ignore[return-value]
        self._wait(lambda: self.store.check([key]))
        return json.loads(self.store.get(key))

    def on_rank_0(self, work: Callable[[], T]) -> T:
        """Let rank 0 work while the others wait; its result (JSON) on every rank."""
        return self.broadcast(work() if self.leads else None)

    def missing(self, parts: Sequence[T], is_there: Callable[[T], object]) -> list[T]:
        """The parts that are not there, as rank 0 sees it; the same on all ranks."""
        spans = self.on_rank_0(lambda: _spans([i for i, part in enumerate(parts) if not is_there(part)]))
        return [part for first, end in spans for part in parts[first:end]]

    def alone(self, patience: float = 0.0) -> AbstractContextManager[None]:
        """While the block runs, no independent process does what one does alone; ranks of one world know of each other
        without."""
        return nullcontext()

    def left(self, parts: Sequence[T], is_there: Callable[[T], object]) -> list[T]:
        """The parts that independent processes held when this one found no other; none among ranks."""
        return []

    def claims(
        self, title: str, items: Sequence[T], is_there: Callable[[T], object], elsewhere: Callable[[T], object]
    ) -> Iterator[T]:
        """Items for this rank: each goes to one rank, the next one to whichever is free.

        Args:
            title: of the items; it and what follows is for independent processes.
            is_there: whether an item is done.
            elsewhere: called with every item that another process did.
        """
        key = self.next_key("claims")
        while (i := self.store.add(key, 1) - 1) < len(items):
            yield items[i]

    def let_go(self) -> None:
        """Hold no items any more."""

    def barrier(self) -> None:
        """Wait until every rank is here.

        Raises:
            Ended: another rank ended instead.
        """
        key = self.next_key("barrier")
        self.store.add(key, 1)
        self._wait(lambda: self.store.add(key, 0) >= self.size)

    def _wait(self, until: Callable[[], bool]) -> None:
        look, waits = 0.0, pauses(self.size)
        while not until():
            if time.monotonic() >= look:
                self.watch()
                look = time.monotonic() + self.glance
            time.sleep(next(waits))

    def tell(self, key: str, more: int) -> int:
        """Add to a number that all ranks share; the sum. ``key`` is one of ``next_key``."""
        return self.store.add(key, more)

    def watch(self) -> None:
        """Raise ``Ended`` if another rank has ended or is silent."""
        if self.size == 1:
            return
        if self._dead:
            raise Ended(1, self._dead)
        if not self.store.check(["ended"]):
            return
        last = json.loads(self.store.get("ended"))
        raise Ended(last["status"], f"rank {last['rank']} on {last['host']}: {last['message']}")

    def end(self, status: int, message: str) -> None:
        """Tell the others that this rank ends, with which status and why; without an error wait for the last one."""
        if self.size == 1:
            return
        self._over.set()
        try:
            if status and not self.store.check(["ended"]):
                last = {"rank": self.rank, "host": socket.gethostname(), "status": status, "message": message}
                self.store.set("ended", json.dumps(last))
            self.store.add("gone", 1)
            until = time.monotonic() + (LAST_WORDS if status else PATIENCE)
            while self.rank == 0 and self.store.add("gone", 0) < self.size and time.monotonic() < until:
                time.sleep(POLL)
        except Ended:
            return  # the store is gone, so all ranks know
        finally:
            self._pulse.join(BEAT)  # a thread within the store at the end of Python aborts the process

    def _beat(self) -> None:
        """Publish that this rank lives; on rank 0 also watch the others. Ends with the store."""
        others = [f"alive/{rank}" for rank in range(1, self.size)]
        last, missed, beats = [b"0"] * len(others), [0] * len(others), 0
        with suppress(Ended):
            if self.leads:
                self.store.multi_set(others, ["0"] * len(others))  # all can then be asked at once
            while self._dead is None:
                beats += 1
                self.store.set(f"alive/{self.rank}", str(beats))
                if self._over.wait(BEAT):
                    return
                if self.rank:
                    continue
                heard = self.store.multi_get(others)
                missed = [count + 1 if old == new else 0 for count, old, new in zip(missed, last, heard, strict=True)]
                last = heard
                if max(missed) >= SILENCE:
                    rank, silence = 1 + missed.index(max(missed)), f"{BEAT * SILENCE:.0f} s"
                    self._dead = f"rank {rank} has not been heard of for {silence}; see logs/rank-{rank:04d}.log"

    def next_key(self, name: str) -> str:
        """A key for one use, the same on all ranks, since they make the same calls in the same order."""
        self._count += 1
        return f"{self._count}/{name}"


def _spans(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Rising numbers as ranges, first and end: a value in the store has at most 8 MiB."""
    starts = [i for i, number in enumerate(numbers) if i == 0 or number != numbers[i - 1] + 1]
    ends = [*starts, len(numbers)][1:]
    return [(numbers[i], numbers[j - 1] + 1) for i, j in zip(starts, ends, strict=True)]


def _or_end(call: Callable[P, T]) -> Callable[P, T]:
    def ask(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except RuntimeError:
            raise Ended(1, "the connection to rank 0 is lost: its process is gone") from None

    return ask


def _gather(cpu: bool) -> World:
    local = number("LOCAL_RANK", 0)
    os.environ["LOCAL_RANK"] = str(local)  # Accelerate asks for it
    rank, size, port = (number(name) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
    with to_stderr(rank):
        world = World(rank, size, join(rank, size, os.environ["MASTER_ADDR"], port))
        if not cpu:
            torch.cuda.set_device(local % torch.cuda.device_count())
        device = f"cpu ({local})" if cpu else torch.cuda.get_device_name()
        world.introduce({"host": socket.gethostname(), "device": device})
    return world


def _keep_promises(size: int, expected: int | None) -> None:
    """Fail if this world has fewer ranks than were started: `accelerate launch --cpu` on two nodes makes two worlds of
    size 1, and each would report success."""
    tasks = tasks_of_step()
    if expected is not None and expected != size:
        raise Failure(f"{expected} ranks were promised with --world-size, but this world has {size}.")
    if size % tasks:
        raise Failure(
            f"srun started {tasks} tasks, but this world has {size}: the launcher made several worlds. Start "
            "`python -m jobs.worker` with srun directly, as `probe submit` does."
        )
    if size == 1 and "ACCELERATE_USE_CPU" in os.environ and os.environ.get("MASTER_ADDR") and "RANK" not in os.environ:
        raise Failure(
            "accelerate was asked for several ranks and started this one alone, as it does on CPUs; use "
            "`accelerate launch --multi_gpu` (it serves CPUs, too), torchrun, or srun."
        )
    if size > 1 and not os.environ.get("MASTER_ADDR"):
        raise UserError(f"WORLD_SIZE is {size}, but MASTER_ADDR is not set; use accelerate launch, torchrun or srun.")
