"""The lock of a run directory, which excludes a second process; and the records by which processes are known."""

import errno
import hashlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jobs.provenance import now
from probe.errors import Failure, UserError
from probe.files import write_atomically
from probe.reading import Unreadable, read_object
from probe.results.layout import LOCK, LOCK_HELD, OWNER

MARKER = LOCK_HELD.name
"""The lock on file systems without flock: a file that exists while the folder is held."""
PATIENCE = 60.0 if "SLURM_JOB_ID" in os.environ else 2.0
"""Seconds to wait for the lock. Under Slurm a requeued job may begin before the processes of its last try are gone."""
POLL = 0.1
NO_LOCKS = {errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""Errors of file systems without flock: NFS without lockd, Lustre mounted without `-o flock`, some of FUSE."""
NOT_THE_FOLDER = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
log = logging.getLogger("probe")


@contextmanager
def exclusive(path: Path, patience: float | None = None) -> Iterator[None]:
    """Hold the run directory, which is made if it does not exist.

    The lock is the kernel's (flock): it ends with its process, also on NFS. On a file system without flock it is a file
    that names its owner; the next process on the same host removes one whose process is gone, on another host the user.

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
            with suppress(OSError):  # a file left behind names a process that is gone
                (path / OWNER).unlink(missing_ok=True)


@contextmanager
def if_free(path: Path) -> Iterator[bool]:
    """Hold a folder, made if absent, unless another process does; yields whether it is held."""
    path.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(_hold(path, 0))
            free = True
        except Timeout:
            free = False
            if clear := _how_to_clear(path):
                _tell(f"{path.name} is held by {_owner(path)}.{clear}")
        yield free


@cache
def _tell(text: str) -> None:
    """Log once: who waits looks again and again."""
    log.info(text)


def is_held(path: Path) -> bool:
    """Whether a process holds a folder that is there."""
    with if_free(path) as free:
        return not free


@contextmanager
def _hold(path: Path, patience: float) -> Iterator[None]:
    """Hold a folder's lock of either kind; Timeout if another process still holds it after ``patience`` seconds."""
    lock = FileLock(path / LOCK, fallback_to_soft=False)
    try:
        lock.acquire(timeout=patience)
    except OSError as error:  # so is Timeout, without an errno
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
    """Remove a marker if its process is gone for sure; returns whether there is none now.

    Whoever removes it claims that record first, and looks again: a late one would remove the next owner's marker. A
    claim left behind by a kill keeps that marker for the user to remove.
    """
    found = _read(marker)
    if not found or is_there(found) is not False:
        return False
    record = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]
    claim = marker.with_name(f"{marker.name}.{record}")
    try:
        os.close(os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False  # another process is removing it
    try:
        if _read(marker) == found:
            marker.unlink(missing_ok=True)
        return not marker.exists()
    finally:
        claim.unlink(missing_ok=True)


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


def this_process() -> dict[str, Any]:
    """host, pid, since (now, UTC), and started: a mark that tells this process from a later one with the same pid."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": now(), "started": _mark(os.getpid())}


def is_there(record: Mapping[str, Any]) -> bool | None:
    """Whether the process of a record runs; None if it is on another machine. A suspended process runs, a zombie does
    not."""
    pid = record.get("pid")
    if record.get("host") != socket.gethostname() or not isinstance(pid, int) or not 0 < pid < 2**31:
        return None
    here, there = _mark(os.getpid()), record.get("started")
    if here and isinstance(there, str) and here.rpartition("/")[0] != there.rpartition("/")[0]:
        return None  # another machine of the same name, another container, or before the last boot
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    if _state(pid) in ("Z", "X"):
        return False
    return not (isinstance(there, str) and (now_there := _mark(pid)) and now_there != there)


def is_suspended(record: Mapping[str, Any]) -> bool:
    """Whether the process of a record exists and is stopped by SIGSTOP or a debugger."""
    return is_there(record) is True and _state(record["pid"]) in ("T", "t")


def _mark(pid: int) -> str | None:
    """boot id/pid namespace/start time; None without /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}/{stat_fields(pid)[19]}"
    except (OSError, IndexError):
        return None


def _state(pid: int) -> str:
    try:
        return stat_fields(pid)[0]
    except (OSError, IndexError):
        return ""


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold spaces and parentheses; the first is the state."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
