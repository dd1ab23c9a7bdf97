"""What this process may use of the machine: memory and processors, as far as its control groups allow."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
CPUS = Path("/sys/devices/system/cpu")
LOAD = Path("/proc/loadavg")
MEMORY = Path("/proc/meminfo")
STATUS = Path("/proc/self/status")
GLANCES, BETWEEN = 5, 0.005
"""How often, and how many seconds apart, ``running`` looks."""


def free_bytes() -> int:
    """Main memory that this process may still take."""
    left = _available()
    for folder in _folders("memory"):
        for most, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            limit, now = _number(folder / most), _number(folder / used)
            if limit is not None and now is not None:
                left = min(left, int(limit - now) + _cached(folder))
    return max(left, 0)


def resident_bytes(most: bool = False) -> int:
    """Main memory that this process holds, or the most that it has held so far. Not Linux' ru_maxrss, which begins with
    that of the process that started this one."""
    try:
        about = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
        return int(about["VmHWM" if most else "VmRSS"].split()[0]) * 1024
    except (OSError, KeyError):  # another system than Linux, or a container's
        import psutil  # type: ignore[import-untyped]

        return int(psutil.Process().memory_info().rss)


def _available() -> int:
    """Main memory that is free, or that the system frees when asked to."""
    try:
        lines = MEMORY.read_text().splitlines()
    except OSError:  # another system than Linux
        import psutil  # every command asks for processors at its start; this takes longer

        return int(psutil.virtual_memory().available)
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024


def cpu_quota() -> float | None:
    """Processors' worth of time that the control groups grant, such as 1.5; None if they set no limit."""
    quotas = []
    for folder in _folders("cpu"):
        try:
            quota, period = (folder / "cpu.max").read_text().split()
        except (OSError, ValueError):
            quota, period = str(_number(folder / "cpu.cfs_quota_us")), str(_number(folder / "cpu.cfs_period_us"))
        try:
            quotas.append(float(quota) / float(period))
        except ValueError:  # "max" or no file: no limit
            continue
    return min((one for one in quotas if one > 0), default=None)


def cores() -> int:
    """Cores that this process may run on. Two hardware threads of one core count once, as in torch's own default."""
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return len({_siblings(cpu) for cpu in mine})


def running() -> int:
    """Processes and threads that want a processor now, this one included: the fewest seen in a few glances.

    The mean load of the last minute would count our own work before a restart, and miss what has just begun.
    """
    fewest = 0
    for glance in range(GLANCES):
        time.sleep(BETWEEN if glance else 0)
        try:
            seen = int(LOAD.read_text().split()[3].partition("/")[0])
        except (OSError, ValueError, IndexError):  # another system than Linux
            return 1
        fewest = min(fewest, seen) if glance else seen
        if fewest <= 1:  # we alone: no glance will see fewer, and every command waits for this
            break
    return fewest


def _siblings(cpu: int) -> str:
    try:
        return (CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text()
    except OSError:  # another system than Linux
        return str(cpu)


def _folders(controller: str) -> Iterator[Path]:
    """The control groups that this process is in, from its own up to the root; of version 1 those of a controller."""
    try:
        lines = OWN.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = GROUPS / controller if controllers else GROUPS  # a link where several are mounted as one
        own = Path(path.lstrip("/"))
        yield from (root / part for part in (own, *own.parents))


def _cached(folder: Path) -> int:
    """Bytes of files that a memory group counts as used, and frees when asked to."""
    try:
        found = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(found.get("total_inactive_file", found.get("inactive_file", 0)))


def _number(file: Path) -> float | None:
    try:
        return float(file.read_text())
    except (OSError, ValueError):
        return None
