"""How ranks find each other: a key-value store on rank 0.

Nothing here waits inside a library for longer than a connection takes, so that signals arrive and missing ranks are
named.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta

from torch.distributed import Store, TCPStore

from probe.errors import Failure, UserError

PATIENCE = 300.0
"""Seconds that ranks wait for each other at the start."""
CONNECTING = 30.0
"""Seconds that a connection to an existing store may take."""
FIRST_WORDS, NEXT_WORDS = 3.0, 30.0
"""Seconds until missing ranks are named, and until they are named again."""
ALL_HERE = "all here"
"""The key that rank 0 sets."""
FEW = 64
"""Ranks, up to which each names those that it waits for; of more, rank 0 does."""
POLL, POLL_OF_A_RANK = 0.05, 0.0005
"""Seconds between two questions in a short wait; those in a long one, times the ranks: together, waiting ranks ask the
store at most 2,000 times a second, or 20 times each if they are few."""
SPARE_FILES = 256
"""Files that a process may have open besides its connections."""
log = logging.getLogger("probe")


def pauses(size: int) -> Iterator[float]:
    """Seconds to sleep between questions to the store that ``size`` ranks share: short at first, then longer."""
    pause, longest = POLL, max(POLL, size * POLL_OF_A_RANK)
    while True:
        yield pause
        pause = min(2 * pause, longest)


def join(
    rank: int, size: int, host: str, port: int, patience: float = PATIENCE, kind: type[TCPStore] = TCPStore
) -> Store:
    """Wait for all ranks; returns the store that they share. Rank 0 hosts it, unless torchrun does.

    Rank 0 alone looks for all ranks all the time; if every rank did, the store would be asked size**2 times.

    Raises:
        UserError: rank or port is out of range.
        Failure: a rank did not arrive in time, one arrived twice, the port is taken, or rank 0 may not have so many
            connections.
    """
    if rank >= size or not 0 < port < 2**16:
        raise UserError(
            f"RANK is {rank}, WORLD_SIZE {size} and MASTER_PORT {port}; ranks count from 0 to WORLD_SIZE - 1, and "
            "ports are below 65536."
        )
    waiting = _Waiting(rank, size, f"{host}:{port}", time.monotonic() + patience)
    store = _open(waiting, host, port, kind)
    me, keys = f"{socket.gethostname()} {os.getpid()}", [f"here/{other}" for other in range(size)]
    try:
        store.set(keys[rank], me)
        if rank == 0:
            while not store.check(keys):
                waiting.go_on(lambda: _absent(store, keys))
            store.set(ALL_HERE, "")
        named = keys if size <= FEW else keys[:1]
        while not store.check([ALL_HERE]):
            waiting.go_on(lambda: _absent(store, named), lambda: _absent(store, keys))
        if (there := store.get(keys[rank]).decode()) != me:
            raise Failure(f"rank {rank} was started twice, as processes {me} and {there} (host, process id).")
    except RuntimeError as error:
        raise Failure(f"{waiting}: the connection to rank 0 is lost ({_line(error)}).") from None
    except BaseException:
        with suppress(RuntimeError):  # rank 0 is gone
            store.delete_key(keys[rank])  # the others keep waiting, and this rank may be started again
        raise
    store.set_timeout(timedelta(seconds=PATIENCE))
    return store


def _absent(store: Store, keys: Sequence[str], first: int = 0) -> list[int]:
    """The ranks without a key, found by halves: few questions where few are absent."""
    if store.check(list(keys)):
        return []
    if len(keys) == 1:
        return [first]
    half = len(keys) // 2
    return _absent(store, keys[:half], first) + _absent(store, keys[half:], first + half)


Missing = Callable[[], list[int]]


class _Waiting:
    """Names missing ranks now and then, and gives up in the end."""

    def __init__(self, rank: int, size: int, where: str, until: float):
        self.rank, self.size, self.where, self.until = rank, size, where, until
        self.speaks = time.monotonic() + FIRST_WORDS
        self.pauses = pauses(size)

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size} on {socket.gethostname()} did not find the others at {self.where}"

    def go_on(self, missing: Missing, in_the_end: Missing | None = None, why: str = "") -> None:
        """Sleep a moment; Failure if the time is up.

        Args:
            missing: finds the ranks to name, if any.
            in_the_end: the same for the Failure.
        """
        now = time.monotonic()
        if now >= self.until:
            found = (in_the_end or missing)()
            raise Failure(
                f"{self} (MASTER_ADDR:MASTER_PORT): {len(found)} of {self.size} ranks did not arrive "
                f"({_names(found, why)}); start them all, or unset WORLD_SIZE to run alone."
            )
        if now >= self.speaks:
            self.speaks, left = now + NEXT_WORDS, self.until - now
            if found := missing():
                many = f"{len(found)} of {self.size} ranks at {self.where} ({_names(found, why)})"
                log.warning(f"waiting for {many}, {left:.0f} s more")
        time.sleep(next(self.pauses))


def _names(ranks: list[int], why: str) -> str:
    names = ", ".join(map(str, ranks[:8])) + (", ..." if len(ranks) > 8 else "")
    return f"rank{'s' if len(ranks) > 1 else ''} {names}{why and f': {why}'}"


def _open(waiting: _Waiting, host: str, port: int, kind: type[TCPStore]) -> Store:
    # torchrun keeps a store in its own process and sets this variable.
    hosts = waiting.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    while not hosts:
        try:
            socket.create_connection((host, port), timeout=2).close()  # can be interrupted, unlike TCPStore
            break
        except OSError as error:
            waiting.go_on(lambda: [0], why=error.strerror or str(error))
    if hosts:
        _allow_connections(waiting.size)
    try:
        return kind(
            host,
            port,
            waiting.size,
            is_master=hosts,
            timeout=timedelta(seconds=CONNECTING),
            wait_for_workers=False,
            multi_tenant=True,
        )
    except (RuntimeError, ValueError) as error:
        raise Failure(f"{waiting} (MASTER_ADDR:MASTER_PORT): {_line(error)}") from error


def _allow_connections(size: int) -> None:
    """Raise this process's limit of open files, often 1024, so that every rank can connect."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    (soft, hard), needed = resource.getrlimit(resource.RLIMIT_NOFILE), size + SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Failure(
            f"{size} ranks connect to rank 0, which then has up to {needed} files open, but {hard} are allowed on "
            f"{socket.gethostname()} (`ulimit -Hn`); raise this limit, or start fewer ranks."
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
