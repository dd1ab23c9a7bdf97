"""What this process may use of the machine: memory and processors, as far as its control groups allow."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def free_bytes() -> int:
    """Main memory that this process may still take."""
    left = psutil.virtual_memory().available
    for folder in _folders("memory"):
        for most, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            limit, now = _number(folder / most), _number(folder / used)
            if limit is not None and now is not None:
                left = min(left, int(limit - now) + _cached(folder))
    return max(left, 0)


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


def cpus() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
        root = GROUPS / controllers if controllers else GROUPS
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
