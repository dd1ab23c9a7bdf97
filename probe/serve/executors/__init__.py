"""What an executor is: it starts workers somewhere, ends them, and says whether they live."""

import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jobs.lock import is_there
from probe.errors import Failure
from probe.reading import read_object
from probe.serve import child
from probe.serve.ticket import Ticket
from probe.threads import environment_without_ours

PROC = Path("/proc")
PATIENCE = 60.0
"""Seconds that the shim may take to begin: it waits for a slow disk only."""
NOT_HANDED_ON = ("PROBE_", "SLURM_", "SBATCH_", "MASTER_", "TORCHELASTIC_")
NOT_HANDED_ON_NAMES = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"}


@dataclass(frozen=True)
class Life:
    """Of the last attempt of a run, as its executor knows it.

    Attributes:
        alive: something of it is there: a process, or a job in Slurm's queue.
        ended: when it ended; None while it lives, and where nobody was left to note it.
        exit: status of the worker, negative for a signal; None as ``ended``.
        reason: what the executor has to say, such as Slurm's reason; else empty.
        waiting: alive, but in another queue: it does not run yet.
        began: False where the attempt was noted, and never came to start.
    """

    alive: bool
    ended: str | None = None
    exit: int | None = None
    reason: str = ""
    waiting: bool = False
    began: bool = True


class Held(Exception):
    """Something of the run still lives, or the attempt is no longer wanted: it must not start now."""


class Executor(Protocol):
    """Where runs run. All methods return at once or within seconds; errors are ``Failure`` or ``UserError``."""

    def room(self, taken: Collection[int]) -> int | None:
        """A slot for one more run, given the slots of those that live; None where there is none."""

    def size(self) -> int | None:
        """How many slots there are; None where that is not ours to say."""

    def start(self, ticket: Ticket, path: Path) -> None:
        """Start the last attempt of the ticket, which is on disk already. Raises ``Held``."""

    def cancel(self, ticket: Ticket, path: Path, hard: bool) -> None:
        """End the last attempt; ``hard`` if it did not end when it was asked to. Called again until it is over."""

    def life(self, ticket: Ticket, path: Path) -> Life:
        """Of the last attempt of the ticket, which has one."""


def begin(path: Path, number: int, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Start a command under the shim, as an attempt of the run in ``path``.

    Raises:
        Held: it must not start now.
        Failure: it cannot start.
    """
    shim = [sys.executable, "-I", "-S", child.__file__, str(path), str(number), *command]
    try:
        done = subprocess.run(
            shim,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"{path} did not answer within {PATIENCE:.0f} s; is its disk reachable?") from None
    except OSError as error:
        raise Failure(f"a process cannot be started: {error.strerror or error}.") from None
    if done.returncode == child.HELD:
        raise Held
    if done.returncode:
        reason = " ".join(done.stderr.split())[-300:] or f"status {done.returncode}"
        raise Failure(f"the run cannot be started: {reason}.")


def environment() -> dict[str, str]:
    """This process's environment for a worker: without the service's own settings and secrets, and without what a
    launcher or Slurm said about this process."""
    return {
        name: value
        for name, value in environment_without_ours().items()
        if not name.startswith(NOT_HANDED_ON) and name not in NOT_HANDED_ON_NAMES
    }


def signal_all(path: Path, number: signal.Signals) -> None:
    """Send a signal to every process that holds the shim's lock of a run, and to their process groups."""
    record = {} if PROC.is_dir() else read_object(path / child.PROCESS)
    for pid in holders(path / child.LOCK) if PROC.is_dir() else [record["pid"]] if is_there(record) else []:
        with suppress(ProcessLookupError, PermissionError):
            group = os.getpgid(pid)
            if group == os.getpgrp():  # never ours, whatever happened
                os.kill(pid, number)
            else:
                os.killpg(group, number)


def holders(file: Path) -> list[int]:
    """Processes of this user that have a file open, this one left out."""
    try:
        there = file.stat()
    except OSError:
        return []
    wanted, found = (there.st_dev, there.st_ino), []
    for pid in filter(str.isdecimal, os.listdir(PROC)):
        if int(pid) != os.getpid() and wanted in _opened(pid):
            found.append(int(pid))
    return found


def _opened(pid: str) -> Iterator[tuple[int, int]]:
    """Device and inode of each file that a process has open; none of one that has ended, or is another user's."""
    with suppress(OSError):
        for descriptor in os.listdir(PROC / pid / "fd"):
            with suppress(OSError):
                opened = os.stat(PROC / pid / "fd" / descriptor)
                yield opened.st_dev, opened.st_ino
