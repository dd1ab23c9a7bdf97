"""Records of a process, from which another process can tell whether it still runs."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.provenance import now


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
