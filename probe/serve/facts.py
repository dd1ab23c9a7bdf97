"""What is so about a run, read from its folder and from the processes: nothing here is remembered."""

import errno
import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.lock import NO_LOCKS, is_there
from jobs.status import States, Status, read_status
from probe.errors import Failure, UserError, without_secrets
from probe.names import printable, shortened
from probe.reading import Unreadable, read_object
from probe.serve.child import LOCK, LOG, PROCESS
from probe.serve.executors import Life
from probe.serve.ticket import Ticket

LONGEST = 500
"""Characters of a sentence that a worker said."""


@dataclass(frozen=True)
class Facts:
    """All that the state of a run is derived from, besides its ticket.

    Attributes:
        done: units of all stages that are done.
        complete: all stages are done, the report too.
        owner: the live process that holds the directory, "process PID on HOST"; empty without one.
        error: the sentence of error.json, if it is newer than the last attempt; else empty.
        said: the last line that the worker of the last attempt said; empty without one.
        life: of the last attempt; of a foreign run: of its Slurm jobs. None without any.
        unreadable: why the folder cannot be read as work of probe; else empty.
    """

    done: int = 0
    complete: bool = False
    owner: str = ""
    error: str = ""
    said: str = ""
    life: Life | None = None
    unreadable: str = ""


def look(
    path: Path,
    ticket: Ticket | None,
    life_of: Callable[[Ticket, Path], Life] | None = None,
    states_of: States | None = None,
) -> tuple[Facts, Status | None]:
    """The facts of a run, and its status where it can be read.

    The attempt's life is asked first: once nothing of it lives, nothing of what is read next changes any more.
    """
    life = life_of(ticket, path) if ticket and ticket.attempts and life_of else None
    try:
        status = read_status(path, states_of)
    except (UserError, Failure) as wrong:
        return Facts(life=life, unreadable=str(wrong)), None
    owner = ""
    if status.owner and not (life and life.alive):
        owner = f"process {status.owner['pid']} on {status.owner['host']}"
    if ticket is None and status.state == "queued":
        life = Life(alive=True, waiting=True, reason="in Slurm's queue")
    elif ticket is None and status.state == "running" and not status.owner:
        life = Life(alive=True, reason="in Slurm")
    error = status.last_error
    begun = ticket.last.begun if ticket and ticket.last else ""
    sentence = str(error["message"]) if error and str(error["time"]) >= begun else ""
    said = _last_line(path / LOG) if life and not life.alive and life.exit else ""
    done = sum(stage.done for stage in status.stages)
    return Facts(done, status.state == "complete", owner, sentence, said, life), status


def is_held(path: Path) -> bool:
    """Whether something of an attempt lives: whether the shim's lock is held."""
    try:
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return True
        if error.errno not in NO_LOCKS:
            raise
        record = process_of(path)  # a file system without locks
        return bool(record and "exit" not in record and is_there(record) is not False)
    finally:
        os.close(descriptor)


def process_of(path: Path) -> dict[str, Any] | None:
    """The shim's record: attempt, pid, host, started, begun; after its end also ended and exit. None without one."""
    try:
        return read_object(path / PROCESS)
    except Unreadable:
        return None


def _last_line(file: Path) -> str:
    """The last line of a worker's log, as one sentence without secrets."""
    try:
        with file.open("rb") as log:
            log.seek(max(os.fstat(log.fileno()).st_size - 8192, 0))
            lines = log.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    last = next((line for line in reversed(lines) if line.strip()), "")
    return shortened(printable(without_secrets(last.strip().removeprefix("probe: "))), LONGEST)
