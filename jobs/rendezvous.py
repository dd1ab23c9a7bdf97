"""How ranks find each other: a key-value store on rank 0.

Nothing here waits inside a library for longer than a connection takes, so that signals arrive and missing ranks are
named.
"""

import logging
import os
import socket
import time
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
POLL = 0.1
log = logging.getLogger("probe")


def join(rank: int, size: int, host: str, port: int, patience: float = PATIENCE) -> Store:
    """Wait for all ranks; returns the store that they share. Rank 0 hosts it, unless torchrun does.

    Raises:
        UserError: rank or port is out of range.
        Failure: a rank did not arrive in time, one arrived twice, or the port is taken.
    """
    if rank >= size or not 0 < port < 2**16:
        raise UserError(
            f"RANK is {rank}, WORLD_SIZE {size} and MASTER_PORT {port}; ranks count from 0 to WORLD_SIZE - 1, and "
            "ports are below 65536."
        )
    waiting = _Waiting(rank, size, f"{host}:{port}", time.monotonic() + patience)
    store = _open(waiting, host, port)
    me, keys = f"{socket.gethostname()} {os.getpid()}", [f"here/{other}" for other in range(size)]
    try:
        store.set(keys[rank], me)
        while not store.check(keys):
            waiting.go_on([other for other in range(size) if not store.check([keys[other]])])
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


class _Waiting:
    """Names missing ranks now and then, and gives up in the end."""

    def __init__(self, rank: int, size: int, where: str, until: float):
        self.rank, self.size, self.where, self.until = rank, size, where, until
        self.speaks = time.monotonic() + FIRST_WORDS

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size} on {socket.gethostname()} did not find the others at {self.where}"

    def go_on(self, missing: list[int], why: str = "") -> None:
        """Sleep a moment; Failure if the time is up."""
        names = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        who = f"rank{'s' if len(missing) > 1 else ''} {names}{why and f': {why}'}"
        now = time.monotonic()
        if now >= self.until:
            raise Failure(
                f"{self} (MASTER_ADDR:MASTER_PORT): {len(missing)} of {self.size} ranks did not arrive ({who}); start "
                "them all, or unset WORLD_SIZE to run alone."
            )
        if now >= self.speaks:
            self.speaks = now + NEXT_WORDS
            left = self.until - now
            log.warning(f"waiting for {len(missing)} of {self.size} ranks at {self.where} ({who}), {left:.0f} s more")
        time.sleep(POLL)


def _open(waiting: _Waiting, host: str, port: int) -> Store:
    # torchrun keeps a store in its own process and sets this variable.
    hosts = waiting.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    while not hosts:
        try:
            socket.create_connection((host, port), timeout=2).close()  # can be interrupted, unlike TCPStore
            break
        except OSError as error:
            waiting.go_on([0], error.strerror or str(error))
    try:
        return TCPStore(
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


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
