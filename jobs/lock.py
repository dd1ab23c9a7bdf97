"""One run directory, one run: the lock that excludes a second process."""

import errno
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jobs.process import is_there, this_process
from probe.errors import Failure, UserError
from probe.files import write_atomically
from probe.reading import Unreadable, read_object

OWNER = ".owner.json"
MARKER = ".lock.held"
"""The lock where the file system has none: a file that is there while the folder is held."""
PATIENCE = 60.0 if "SLURM_JOB_ID" in os.environ else 2.0
"""Seconds to wait for the lock: under Slurm a requeued job may begin before its predecessor's processes are gone."""
POLL = 0.1
NO_LOCKS = {errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What file systems without flock answer: NFS without lockd, Lustre mounted without `-o flock`, some of FUSE."""
NOT_THE_FOLDER = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
log = logging.getLogger("probe")


@contextmanager
def exclusive(path: Path, patience: float | None = None) -> Iterator[None]:
    """Hold the run directory; made if absent.

    The lock is the kernel's (flock), so it goes with its owner, however that dies; NFS passes it on to its server.
    Where the file system has none, it is a file that names its owner: one whose process is gone is removed by the next
    process on the same host, and by hand elsewhere.

    Raises:
        UserError: another process holds it.
        Failure: the folder cannot be written.
    """
    with ExitStack() as held:
        try:
            path.mkdir(parents=True, exist_ok=True)
            held.enter_context(_hold(path, PATIENCE if patience is None else patience))
        except Timeout:
            raise UserError(
                f"{path} is being worked on by {_owner(path)}; wait for it or stop it, or choose another folder with "
                f"--out.{_how_to_clear(path)}"
            ) from None
        except OSError as error:
            if error.errno in NOT_THE_FOLDER:
                raise
            reason = error.strerror or error
            raise UserError(f"{path} cannot be written: {reason}; choose another folder with --out.") from None
        try:
            write_atomically(path / OWNER, json.dumps(this_process()))
        except OSError as error:
            raise Failure(f"{path} cannot be written: {error.strerror or error}.") from None
        try:
            yield
        finally:
            with suppress(OSError):  # a file that stays names a process that is gone
                (path / OWNER).unlink(missing_ok=True)


@contextmanager
def if_free(path: Path) -> Iterator[bool]:
    """Hold a folder, made if absent, where no other process does; whether it is held."""
    path.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(_hold(path, 0))
            free = True
        except Timeout:
            free = False
            if clear := _how_to_clear(path):
                log.info(f"{path.name} is in the hands of {_owner(path)}.{clear}")
        yield free


@contextmanager
def _hold(path: Path, patience: float) -> Iterator[None]:
    """Hold a folder's lock of either kind.

    Raises:
        Timeout: another process holds it, so many seconds later.
        OSError: the folder cannot be written.
    """
    lock = FileLock(path / ".lock", fallback_to_soft=False)
    try:
        lock.acquire(timeout=patience)
    except OSError as error:  # Timeout is one, without a number
        if error.errno not in NO_LOCKS:
            raise
    else:
        try:
            yield
        finally:
            lock.release()
        return
    with _marked(path / MARKER, patience):
        yield


@contextmanager
def _marked(marker: Path, patience: float) -> Iterator[None]:
    until = time.monotonic() + patience
    while True:
        try:
            descriptor = os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            break
        except FileExistsError:
            if _cleared(marker):
                continue
            if time.monotonic() >= until:
                raise Timeout(str(marker)) from None
            time.sleep(POLL)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(this_process(), file)
        yield
    finally:
        with suppress(OSError):
            marker.unlink(missing_ok=True)


def _cleared(marker: Path) -> bool:
    """Remove a marker whose process is gone for sure; whether there is none now.

    Of several processes that find it so, one moves it aside. One that comes late might move the next owner's: it sees
    that, and puts it back.
    """
    found = _read(marker)
    if not found or is_there(found) is not False:
        return False
    aside = marker.with_name(f"{marker.name}.{os.getpid()}")
    try:
        os.rename(marker, aside)
    except FileNotFoundError:
        return True
    if _read(aside) != found:
        os.rename(aside, marker)
        return False
    aside.unlink()
    return True


def _owner(path: Path) -> str:
    owner = _read(path / OWNER) or _read(path / MARKER)
    try:
        return f"process {owner['pid']} on {owner['host']}, since {owner['since']}"
    except KeyError:
        return "another process"


def _how_to_clear(path: Path) -> str:
    marker = path / MARKER
    return f" If that process is gone, remove {marker} and rerun." if marker.exists() else ""


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_object(file)
    except Unreadable:
        return {}
