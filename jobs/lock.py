"""One run directory, one run: the lock that excludes a second process."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from jobs.provenance import now
from probe.errors import Failure, UserError
from probe.files import write_atomically
from probe.reading import Unreadable, read_object

OWNER = ".owner.json"
PATIENCE = 60.0 if "SLURM_JOB_ID" in os.environ else 2.0
"""Seconds to wait for the lock: under Slurm a requeued job may begin before its predecessor's processes are gone."""


@contextmanager
def exclusive(path: Path, patience: float | None = None) -> Iterator[None]:
    """Hold the run directory; made if absent.

    The lock is the kernel's (flock), so it goes with its owner, however that dies; NFS passes it on to its server.

    Raises:
        UserError: another process holds it.
        Failure: the folder cannot be written.
    """
    lock = FileLock(path / ".lock")
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=PATIENCE if patience is None else patience)
    except Timeout:
        raise UserError(
            f"{path} is being worked on by {_owner(path)}; wait for it or stop it, or choose another folder with --out."
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; choose another folder with --out.") from None
    try:
        try:
            owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": now()}
            write_atomically(path / OWNER, json.dumps(owner))
        except OSError as error:
            raise Failure(f"{path} cannot be written: {error.strerror}.") from None
        yield
    finally:
        (path / OWNER).unlink(missing_ok=True)
        lock.release()


@contextmanager
def if_free(path: Path) -> Iterator[bool]:
    """Hold a folder, made if absent, where no other process does; whether it is held."""
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _owner(path: Path) -> str:
    try:
        owner = read_object(path / OWNER)
        return f"process {owner['pid']} on {owner['host']}, since {owner['since']}"
    except (Unreadable, KeyError):
        return "another process"
