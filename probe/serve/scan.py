"""Where runs are below a root: folders with a config.yaml or a ticket, at most three levels down; links are not
followed."""

import os
from collections.abc import Iterator
from pathlib import Path

from probe.errors import UserError
from probe.results.layout import CONFIG
from probe.serve.ticket import TICKET

DEPTH = 3
LONGEST = 200
"""Characters of an id."""
USABLE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


class Absent(UserError):
    """There is no such run (HTTP 404)."""


def is_part(name: str) -> bool:
    """Whether a folder of this name can be part of an id."""
    return bool(name) and not name.startswith(".") and USABLE.issuperset(name)


def path_of(root: Path, id: str) -> Path:
    """The folder that an id stands for, whether it exists or not.

    Raises:
        Absent: it is not an id.
    """
    parts = id.split("~")
    if len(id) > LONGEST or len(parts) > DEPTH or not all(map(is_part, parts)):
        raise Absent(f"there is no run {id[:LONGEST]!r}.")
    return root.joinpath(*parts)


def is_run(path: Path) -> bool:
    """Whether a folder is that of a run."""
    return os.path.isfile(path / CONFIG) or os.path.isfile(path / TICKET)


def find(root: Path) -> Iterator[tuple[str, Path]]:
    """Id and folder of every run. Folders whose name no id can have are left out; a run is not looked into."""
    yield from _below(root, "", DEPTH)


def _below(folder: Path, before: str, levels: int) -> Iterator[tuple[str, Path]]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(one.name for one in entries if is_part(one.name) and one.is_dir(follow_symlinks=False))
    except OSError:  # not ours to read
        return
    for name in names:
        path, id = folder / name, before + name
        if is_run(path):
            if len(id) <= LONGEST:
                yield id, path
        elif levels > 1:
            yield from _below(path, f"{id}~", levels - 1)


def fingerprint(path: Path) -> str:
    """Differs once anything in a run's folder has changed; empty where that is too recent to tell.

    Files are written by renaming them, which changes the time of their folder.
    """
    times = []
    for folder in (path, path / "report"):
        try:
            times.append(os.stat(folder).st_mtime_ns)
        except OSError:
            times.append(0)
    return f"{times[0]} {times[1]}"
