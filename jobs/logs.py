"""Log handlers: stderr on rank 0, and a file per rank in the run directory."""

import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from probe.errors import without_secrets
from probe.names import printable
from probe.results.layout import LOG, LOGS

logging.raiseExceptions = False  # a log that cannot be written (a full disk) must not end a run
log = logging.getLogger("probe")


class _Formatter(logging.Formatter):
    """Escapes what a terminal must not see, since names in messages may hold anything, and leaves secrets out, which
    tracebacks may hold."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(without_secrets(super().format(record)))


class _Stderr(logging.Handler):
    """The current sys.stderr: a progress bar replaces it, so that lines appear above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


@contextmanager
def to_stderr(rank: int = 0) -> Iterator[None]:
    """Show messages on stderr; on ranks other than 0 only warnings and errors, with the rank."""
    handler = _Stderr()
    handler.setLevel(logging.INFO if rank == 0 else logging.WARNING)
    handler.setFormatter(_Formatter("%(message)s" if rank == 0 else f"[rank {rank}] %(message)s"))
    with _attached(handler):
        yield


@contextmanager
def to_file(folder: Path, rank: int) -> Iterator[None]:
    """Append messages to ``logs/rank-NNNN.log`` of the run."""
    (folder / LOGS).mkdir(exist_ok=True)
    handler = logging.FileHandler(folder / LOG.at(rank=rank), encoding="utf-8")
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
        with suppress(OSError):  # a full disk is reported where results are written
            handler.close()
        log.setLevel(level)
        log.propagate = propagate
