"""The image files below a folder, without what systems put there, and through links without going round in circles."""

import os
import stat
from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from probe.names import shortened, shown

# Also every name that begins with a dot: ._a.jpg of macOS, .ipynb_checkpoints, .git, .Trash.
SYSTEM = frozenset(
    {"__macosx", "@eadir", "#recycle", "$recycle.bin", "thumbs.db", "ehthumbs.db", "desktop.ini", "lost+found"}
    | {"system volume information"}
)
MANY = 6  # kinds of skipped files that are named


class Walk:
    """What lies below ``root``.

    Attributes:
        names: paths below it, with slashes, of the files with one of the suffixes; each file once.
        skipped: how many others there are, by suffix, or ``hidden``, ``linked twice``, ``broken link``, ``no file``.
        notes: sentences on folders that could not be read.
    """

    def __init__(self, root: Path, suffixes: Collection[str]):
        self.names: list[str] = []
        self.skipped: Counter[str] = Counter()
        self.notes: list[str] = []
        self._suffixes = suffixes
        self._files: set[tuple[int, int]] = set()
        # A link to a folder that holds the root would lead back here, after a walk through half of the disk.
        above = (root.resolve(), *root.resolve().parents)
        self._folders = {_identity(folder.stat()) for folder in above}
        self._closed: list[str] = []
        links = self._real(root, "")
        while links:  # what is reached by a link comes last, so that a file keeps its own name
            links = [further for name in sorted(links) for further in self._link(root, name)]
        if self._closed:
            first = shown(shortened(self._closed[0], 80))
            more = f" and {len(self._closed) - 1} more" if len(self._closed) > 1 else ""
            self.notes.append(f"folder {first!r}{more} could not be read; its images are missing.")

    def skipped_words(self) -> str:
        """``3 .txt, 1 hidden``; empty where nothing was skipped."""
        common = self.skipped.most_common()
        words = [f"{number} {shortened(kind, 30)}" for kind, number in common[:MANY]]
        return ", ".join(words + ([f"{sum(number for _, number in common[MANY:])} others"] if common[MANY:] else []))

    def _real(self, root: Path, start: str) -> list[str]:
        """Take the files of a folder and of those in it; the links met on the way."""
        links, todo = [], [start]
        while todo:
            below = todo.pop()
            try:
                entries = sorted(os.scandir(root / below), key=lambda entry: entry.name)
            except OSError:
                self._closed.append(below or ".")
                continue
            for entry in entries:
                name = f"{below}/{entry.name}" if below else entry.name
                if entry.name.startswith(".") or entry.name.lower() in SYSTEM:
                    self.skipped["hidden"] += 1
                elif entry.is_symlink():
                    links.append(name)
                elif entry.is_dir(follow_symlinks=False):
                    if self._is_new(root / name):
                        todo.append(name)
                else:
                    self._file(root, name)
        return links

    def _link(self, root: Path, name: str) -> list[str]:
        path = root / name
        if not os.path.exists(path):  # Path.exists raises where a folder on the way is closed
            self.skipped["broken link"] += 1
        elif not os.path.isdir(path):
            self._file(root, name)
        elif self._is_new(path):
            return self._real(root, name)
        else:
            self.skipped["linked twice"] += 1
        return []

    def _is_new(self, path: Path) -> bool:
        try:
            identity = _identity(path.stat())
        except OSError:
            return True  # reading it will fail, and be noted
        new = identity not in self._folders
        self._folders.add(identity)
        return new

    def _file(self, root: Path, name: str) -> None:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix not in self._suffixes:
            self.skipped[shown(suffix) or "without suffix"] += 1
            return
        try:
            status = (root / name).stat()
        except OSError:
            self.skipped["broken link"] += 1
            return
        if not stat.S_ISREG(status.st_mode):
            self.skipped["no file"] += 1
        elif _identity(status) in self._files:
            self.skipped["linked twice"] += 1
        else:
            self._files.add(_identity(status))
            self.names.append(name)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
