"""A folder of image files."""

import logging
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from probe.config import DatasetConfig
from probe.data.candidates import Candidate, Opened, seeded_order
from probe.data.files import read_regular
from probe.data.walk import Walk
from probe.errors import UserError
from probe.names import given_path, shown

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
log = logging.getLogger("probe")


def open_folder(where: str, spec: DatasetConfig, place: str) -> Opened:
    """All image files below a folder; an id is the path below it, with slashes, its first folder the class.

    Linked folders are entered, and a file that is reached twice is taken once. Hidden files and folders and those of
    operating systems are skipped.

    Raises:
        UserError: the folder does not exist, cannot be read, or holds no file with an image's suffix.
    """
    root = given_path(place)
    if not os.path.isdir(root):
        raise UserError(f"{where}: there is no folder {shown(str(root))!r}; give the path of a folder of images.")
    walk = Walk(root, SUFFIXES)
    names = sorted(walk.names)
    skipped = walk.skipped_words()
    if not names:
        closed = f" {walk.notes[0]}" if walk.notes else ""
        looked = f"looked for {', '.join(sorted(SUFFIXES))}"
        raise UserError(
            f"{where}: the folder holds no image files; {looked}{f' and skipped {skipped}' if skipped else ''}.{closed}"
        )
    facts: dict[str, Any] = {"available": len(names), "sample": "exact"}
    if skipped:
        log.info(f"{where}: skipped {skipped}")
        facts["skipped"] = dict(walk.skipped)
    return Opened(_candidates(root, names, spec.seed), facts, notes=walk.notes)


def _candidates(root: Path, names: list[str], seed: int) -> Generator[Candidate, None, None]:
    for index in seeded_order(len(names), seed):
        path = root / names[index]
        inside, slash, _ = names[index].partition("/")
        yield Candidate(names[index], lambda path=path: read_regular(path), inside if slash else None)  # type: ignore[misc]
