"""The logs of a run: which there are, their last lines, and what is appended."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio

from probe.names import printable, shown
from probe.results.layout import LOG, LOGS
from probe.serve import child
from probe.serve.files import CHUNK, inside
from probe.serve.problems import Problem

SERVICE = "service.log"
"""What the API calls stdout and stderr of the worker, which the service keeps."""
POLL = 0.5
"""Seconds between two looks at a log that is followed."""
LAST = 1 << 20
"""Bytes that are searched for the last lines."""


def names(folder: Path) -> list[str]:
    """The logs of a run, the one that is shown by default first."""
    there = [f"{LOGS}/{file.name}" for file in sorted((folder / LOGS).glob("*.log")) if not file.name.startswith(".")]
    first = LOG.at(rank=0)
    service = [SERVICE] if (folder / child.LOG).is_file() else []
    return [*([first] if first in there else []), *service, *(name for name in there if name != first)]


def path_of(folder: Path, name: str | None) -> Path | None:
    """The path of a log; None where none is named and there is none yet.

    Raises:
        Problem: 404, there is no such log.
    """
    if name is None:
        there = names(folder)
        if not there:
            return None
        name = there[0]
    if name == SERVICE and not (folder / child.LOG).is_symlink() and (folder / child.LOG).is_file():
        return folder / child.LOG
    if not name.startswith(f"{LOGS}/") or not name.endswith(".log"):
        raise Problem(404, f"the run has no log {shown(name)[:200]!r}; ?list=1 says which there are.")
    return inside(folder, name)


def last_lines(path: Path, lines: int) -> int:
    """The offset at which the last lines begin; the last MiB at most is looked at."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(size - LAST, 0)
        file.seek(start)
        data = file.read(size - start)
    at = len(data)
    if data.endswith(b"\n"):
        at -= 1
    for _ in range(lines):
        at = data.rfind(b"\n", 0, max(at, 0))
        if at < 0:
            return start
    return start + at + 1


def lines(path: Path, number: int) -> bytes:
    """The last lines of a log."""
    with path.open("rb") as file:
        file.seek(last_lines(path, number))
        return file.read(LAST)


def tail(folder: Path, number: int) -> str:
    """The last lines of a run's log, as text that is safe to show; empty where there is none."""
    try:
        path = path_of(folder, None)
        return printable(lines(path, number).decode("utf-8", "replace")) if path else ""
    except (OSError, Problem):
        return ""


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK)
    except OSError:
        return b""


async def follow(
    find: Callable[[], Path | None],
    start: Callable[[Path], int],
    over: Callable[[], bool],
    gone: Callable[[], Awaitable[bool]],
) -> AsyncIterator[bytes]:
    """What is in a log, and what is appended until the run is over.

    Args:
        find: the log; None until there is one.
        start: the offset to begin at.
        over: whether nothing more will be appended.
        gone: whether nobody reads any more.
    """
    path, offset = None, 0
    while not await gone():
        ended = await anyio.to_thread.run_sync(over)
        if path is None and (path := await anyio.to_thread.run_sync(find)) is not None:
            offset = await anyio.to_thread.run_sync(start, path)
        if path is not None:
            while data := await anyio.to_thread.run_sync(_read, path, offset):
                offset += len(data)
                yield data
        if ended:
            return
        await anyio.sleep(POLL)
