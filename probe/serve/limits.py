"""Bounds on what clients may take: bytes of a request, runs in the queue, open streams, disk."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MIB, GIB = 1 << 20, 1 << 30


@dataclass(frozen=True)
class Limits:
    """Upper bounds; a disk quota of None is none.

    Attributes:
        body: bytes of a request.
        body_seconds: for a request to arrive.
        queue: runs that wait.
        streams: event streams open at once.
        follows: logs followed at once.
        changes: requests that change something, a minute.
        connections: open at once.
        run_bytes: on disk of a run of the service, which is cancelled beyond.
        total_bytes: on disk of all runs of the service; beyond, none is taken.
    """

    body: int = MIB
    body_seconds: float = 30.0
    queue: int = 100
    streams: int = 100
    follows: int = 50
    changes: int = 600
    connections: int = 1000
    run_bytes: int | None = 50 * GIB
    total_bytes: int | None = None

    def over_quota(self, run: Path) -> str | None:
        """Why a run must end: it takes more of the disk than it may. None where it does not."""
        if self.run_bytes is None or (used := disk_used(run, self.run_bytes)) <= self.run_bytes:
            return None
        return f"the run takes {used / GIB:.4g} GiB on disk, more than its quota of {self.run_bytes / GIB:.4g} GiB."

    def full(self, runs: Iterable[Path]) -> str | None:
        """Why no further run is taken; None where there is room.

        Args:
            runs: the folders of the service's runs, and its trash.
        """
        if self.total_bytes is None:
            return None
        used = 0
        for run in runs:
            used += disk_used(run, self.total_bytes - used)
            if used >= self.total_bytes:
                most = f"{self.total_bytes / GIB:.4g} GiB"
                return f"the runs and the trash take all of their {most} on disk: delete some, and empty the trash."
        return None


def disk_used(folder: Path, enough: int) -> int:
    """Bytes on disk below a folder, without following links; counting ends beyond ``enough``."""
    used, folders = 0, [str(folder)]
    while folders and used <= enough:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        used += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:  # removed meanwhile
            continue
    return used
