"""Which process holds something, written down so that another can tell whether it still runs."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.provenance import now


def this_process() -> dict[str, Any]:
    """host, pid, since (now, UTC), and started: a mark of this very process, in case its number is given away again."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": now(), "started": _mark(os.getpid())}


def is_there(record: Mapping[str, Any]) -> bool | None:
    """Whether the process of a record runs; None where this machine cannot tell, since it runs on another.

    A process that is suspended is there; one that has ended and was not waited for is not.
    """
    pid = record.get("pid")
    if record.get("host") != socket.gethostname() or not isinstance(pid, int) or not 0 < pid < 2**31:
        return None
    here, there = _mark(os.getpid()), record.get("started")
    if here and isinstance(there, str) and here.rpartition("/")[0] != there.rpartition("/")[0]:
        return None  # another machine of the same name, another container, or this one before it was booted
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
    """Whether the process of a record is there, and stopped by SIGSTOP or a debugger."""
    return is_there(record) is True and _state(record["pid"]) in ("T", "t")


def _mark(pid: int) -> str | None:
    """boot/namespace of process numbers/time of start; None where there is no /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}/{_fields(pid)[19]}"
    except (OSError, IndexError):
        return None


def _state(pid: int) -> str:
    try:
        return _fields(pid)[0]
    except (OSError, IndexError):
        return ""


def _fields(pid: int) -> list[str]:
    """/proc/PID/stat behind the name, which may hold spaces and parentheses."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
