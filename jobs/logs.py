"""Where messages go: stderr on rank 0, and a file per rank in the run directory."""

import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from probe.names import printable

logging.raiseExceptions = False  # a log that cannot be written (a full disk) must not end a run
log = logging.getLogger("probe")


class _Formatter(logging.Formatter):
    """Names in messages may hold anything."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Stderr(logging.Handler):
    """Whatever sys.stderr is now: a progress bar puts itself in its place, so that lines go above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


@contextmanager
def to_stderr(rank: int = 0) -> Iterator[None]:
    """Show messages on stderr; of other ranks than 0 only warnings and errors, with their number."""
    handler = _Stderr()
    handler.setLevel(logging.INFO if rank == 0 else logging.WARNING)
    handler.setFormatter(_Formatter("%(message)s" if rank == 0 else f"[rank {rank}] %(message)s"))
    with _attached(handler):
        yield


@contextmanager
def to_file(folder: Path, rank: int) -> Iterator[None]:
    """Keep messages in ``logs/rank-NNNN.log`` of the run, behind those of earlier processes."""
    (folder / "logs").mkdir(exist_ok=True)
    handler = logging.FileHandler(folder / "logs" / f"rank-{rank:04d}.log", encoding="utf-8")
    host = socket.gethostname()
    handler.setFormatter(_Formatter(f"%(asctime)s {host} %(process)d %(levelname)s %(message)s"))
    with _attached(handler):
        yield


@contextmanager
def _attached(handler: logging.Handler) -> Iterator[None]:
    level, propagate = log.level, log.propagate
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        with suppress(OSError):  # of a full disk, which is told where results are written
            handler.close()
        log.setLevel(level)
        log.propagate = propagate
