"""A folder of image files, without what systems put there, and through links without going round in circles."""

import logging
import os
import stat
from collections import Counter
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from probe.config import DatasetConfig
from probe.data.source import Candidate, Opened, read_regular, seeded_order
from probe.errors import UserError
from probe.names import given_path, shortened, shown

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
# Also every name that begins with a dot: ._a.jpg of macOS, .ipynb_checkpoints, .git, .Trash.
SYSTEM = {"__macosx", "@eadir", "#recycle", "$recycle.bin", "thumbs.db", "ehthumbs.db", "desktop.ini", "lost+found"}
SYSTEM |= {"system volume information"}
MANY = 6  # kinds of skipped files that a message names
log = logging.getLogger("probe")


def open_folder(where: str, spec: DatasetConfig, place: str) -> Opened:
    """All image files below a folder. An id is the path below the folder, with slashes; its first part is the class.

    Linked folders are entered, and a file that is reached twice is taken once. Hidden files and folders and those of
    operating systems are skipped. UserError if the folder is absent, or holds no file with an image's suffix.
    """
    root = given_path(place)
    if not os.path.isdir(root):
        raise UserError(f"{where}: there is no folder {shown(str(root))!r}; give the path of a folder of images.")
    walk = Walk(root)
    names = sorted(walk.names)
    skipped = walk.skipped_words()
    if not names:
        closed = f" {walk.notes[0]}" if walk.notes else ""
        looked = f"looked for {', '.join(sorted(SUFFIXES))}" + (f" and skipped {skipped}" if skipped else "")
        raise UserError(f"{where}: the folder holds no image files; {looked}.{closed}")
    facts: dict[str, Any] = {"available": len(names), "sample": "exact"}
    if skipped:
        log.info(f"{where}: skipped {skipped}")
        facts["skipped"] = dict(walk.skipped)
    candidates = (_candidate(root, names[index]) for index in seeded_order(len(names), spec.seed))
    return Opened(candidates, facts, notes=walk.notes)


def _candidate(root: Path, name: str) -> Candidate:
    first, slash, _ = name.partition("/")
    return Candidate(name, partial(read_regular, root / name), first if slash else None)


class Walk:
    """The image files below ``root``.

    names: their paths below it, with slashes; each file once.
    skipped: how many other files there are, by suffix, or ``hidden``, ``linked twice``, ``broken link``, ``no file``.
    notes: sentences on folders that could not be read.
    """

    def __init__(self, root: Path):
        self.root = root
        self.names: list[str] = []
        self.skipped: Counter[str] = Counter()
        self.notes: list[str] = []
        self._closed: list[str] = []
        self._seen: set[tuple[int, int]] = set()
        for folder in (root.resolve(), *root.resolve().parents):  # a link to one would lead through half of the disk
            self._is_new(folder.stat())
        links = self._real("")
        while links:  # links come last, so that a file is listed under its own name
            links = [further for name in sorted(links) for further in self._link(name)]
        if self._closed:
            first = shown(shortened(self._closed[0], 80))
            more = f" and {len(self._closed) - 1} more" if len(self._closed) > 1 else ""
            self.notes.append(f"folder {first!r}{more} could not be read; its images are missing.")

    def skipped_words(self) -> str:
        """``3 .txt, 1 hidden``; empty where nothing was skipped."""
        common = self.skipped.most_common()
        words = [f"{number} {shortened(kind, 30)}" for kind, number in common[:MANY]]
        return ", ".join(words + ([f"{sum(number for _, number in common[MANY:])} others"] if common[MANY:] else []))

    def _real(self, start: str) -> list[str]:
        """Take the files of a folder and of those in it; returns the links found."""
        links, todo = [], [start]
        while todo:
            below = todo.pop()
            try:
                entries = sorted(os.scandir(self.root / below), key=lambda entry: entry.name)
            except OSError:
                self._closed.append(below or ".")
                continue
            for entry in entries:
                name = os.path.join(below, entry.name)
                if entry.name.startswith(".") or entry.name.lower() in SYSTEM:
                    self.skipped["hidden"] += 1
                elif entry.is_symlink():
                    links.append(name)
                elif not entry.is_dir(follow_symlinks=False):
                    self._file(name)
                elif (status := self._status(name)) is None or self._is_new(status):  # without one it counts as closed
                    todo.append(name)
        return links

    def _link(self, name: str) -> list[str]:
        status = self._status(name)
        if status is None:
            self.skipped["broken link"] += 1
        elif not stat.S_ISDIR(status.st_mode):
            self._file(name)
        elif self._is_new(status):
            return self._real(name)
        else:
            self.skipped["linked twice"] += 1
        return []

    def _file(self, name: str) -> None:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix not in SUFFIXES:
            self.skipped[shown(suffix) or "without suffix"] += 1
        elif (status := self._status(name)) is None:
            self.skipped["broken link"] += 1
        elif not stat.S_ISREG(status.st_mode):
            self.skipped["no file"] += 1
        elif self._is_new(status):
            self.names.append(name)
        else:
            self.skipped["linked twice"] += 1

    def _status(self, name: str) -> os.stat_result | None:
        try:
            return (self.root / name).stat()
        except OSError:
            return None

    def _is_new(self, status: os.stat_result) -> bool:
        identity = (status.st_dev, status.st_ino)
        new = identity not in self._seen
        self._seen.add(identity)
        return new
