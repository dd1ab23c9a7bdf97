"""A folder of image files, without what systems put there, and through links without going round in circles."""

import logging
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath
from typing import Any

from probe.config import DatasetConfig
from probe.data.balance import drawn_order
from probe.data.columns import absent, label_column, label_of
from probe.data.formats import HEIF_ADVICE, HEIF_SUFFIXES, named, suffixes
from probe.data.metadata import FILES as METADATA
from probe.data.metadata import Metadata
from probe.data.source import Candidate, Opened, read_regular
from probe.errors import UserError
from probe.names import given_path, shortened, shown

# Also every name that begins with a dot: ._a.jpg of macOS, .ipynb_checkpoints, .git, .Trash.
SYSTEM = {"__macosx", "@eadir", "#recycle", "$recycle.bin", "thumbs.db", "ehthumbs.db", "desktop.ini", "lost+found"}
SYSTEM |= {"system volume information"}
SUBFOLDER = "label"  # what ``balance`` and datasets' imagefolder call the first subfolder
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}
MANY = 6  # kinds of skipped files that a message names
log = logging.getLogger("probe")


def open_folder(where: str, spec: DatasetConfig, place: str) -> Opened:
    """All image files below a folder. An id is the path below the folder, with slashes; its first part is the class.

    The class is that of a metadata file (``probe.data.metadata``) if this has a column for it: ``balance``, or one
    with a usual name. Linked folders are entered, and a file that is reached twice is taken once. Hidden files and
    folders and those of operating systems are skipped. UserError if the folder is absent, or holds no file with an
    image's suffix.
    """
    root = given_path(place)
    if not os.path.isdir(root):
        raise UserError(f"{where}: there is no folder {shown(str(root))!r}; give the path of a folder of images.")
    walk = Walk(root)
    names = sorted(walk.names)
    unread = HEIF_SUFFIXES & walk.skipped.keys()
    if not names:
        skipped = walk.skipped_words()
        closed = f" {walk.notes[0]}" if walk.notes else ""
        looked = f"looked for {', '.join(sorted(suffixes()))}" + (f" and skipped {skipped}" if skipped else "")
        advice = f"; {HEIF_ADVICE}" if unread else ""
        raise UserError(f"{where}: the folder holds no image files; {looked}{advice}.{closed}")
    facts: dict[str, Any] = {"available": len(names), "sample": "exact"}
    if skipped := walk.skipped_words(unread):  # a note counts these
        log.info(f"{where}: skipped {skipped}")
    if walk.skipped:
        facts["skipped"] = dict(walk.skipped)
    metadata = Metadata(root, walk.metadata, names)
    notes = walk.notes + metadata.notes
    if unread:
        count = sum(walk.skipped[suffix] for suffix in unread)
        notes.append(f"{count} {'file was' if count == 1 else 'files were'} left out; {HEIF_ADVICE}.")
    if splits := _splits(names):
        one = f"give {shown(str(root / splits[0]))!r} for one of them"
        notes.append(f"images of its folders {' and '.join(map(repr, splits))} are drawn together; {one}.")
    label_of = _labels(where, spec, metadata)
    order, classes = drawn_order(where, spec, map(label_of, names) if spec.balance else len(names))
    candidates = (_candidate(root, names[index], label_of(names[index])) for index in order)
    return Opened(candidates, facts, notes=notes, classes=classes)


def _candidate(root: Path, name: str, label: str | None) -> Candidate:
    return Candidate(name, lambda: named(read_regular(root / name), name), label)


def _splits(names: Collection[str]) -> list[str]:
    """The first subfolders, if there are several and all are called as splits are."""
    first = sorted({name.partition("/")[0] for name in names})
    return first if len(first) > 1 and SPLITS.issuperset(one.lower() for one in first) else []


def _labels(where: str, spec: DatasetConfig, metadata: Metadata) -> Callable[[str], str | None]:
    """The class of a file by its name: from the metadata, or the first subfolder.

    UserError if ``balance`` names a column that the metadata lack, and is not ``label``, which the subfolders give too.
    """
    columns = dict.fromkeys(metadata.columns)
    if spec.balance in columns:
        column: str | None = spec.balance
    elif spec.balance in (None, SUBFOLDER):
        column = label_column(columns)
    else:
        raise absent(where, [*columns, SUBFOLDER], spec.balance, "balance")

    def label(name: str) -> str | None:
        if column is not None and name in metadata.rows:
            return label_of(None, metadata.rows[name].get(column))
        first, slash, _ = name.partition("/")
        return first if slash and column is None else None

    return label


class Walk:
    """The image files below ``root``.

    names: their paths below it, with slashes; each file once.
    metadata: the paths of files with metadata (``probe.data.metadata``).
    skipped: how many other files there are, by suffix, or ``hidden``, ``linked twice``, ``broken link``, ``no file``.
    notes: sentences on folders that could not be read.
    """

    def __init__(self, root: Path):
        self.root = root
        self.names: list[str] = []
        self.metadata: list[str] = []
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

    def skipped_words(self, told: Collection[str] = ()) -> str:
        """``3 .txt, 1 hidden``, without the kinds that are told elsewhere; empty where nothing else was skipped."""
        common = [one for one in self.skipped.most_common() if one[0] not in told]
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
        if os.path.basename(name) in METADATA:
            self.metadata.append(name)
        elif suffix not in suffixes():
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
