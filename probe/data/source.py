"""What every source of images gives: candidates in a seeded order, each read only when it is needed."""

import os
import stat
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from probe.config import DatasetConfig
from probe.names import shortened, shown

MAX_FILE_BYTES = 128 * 2**20  # the largest encoded image that is read, from a file or from a cell of a table


class UnreadableImage(Exception):
    """An image that cannot be read (damaged, not an image, not downloaded). It is counted and never ends the work."""


class OutOfRange(UnreadableImage):
    """Pixels outside of 0..255. It ends the work: other images of the set would be kept, with another range in mind."""


@dataclass(frozen=True)
class Candidate:
    """An image with a stable ``id`` in its source; ``read`` returns it encoded or decoded, or raises UnreadableImage.

    ``label`` is its class, where the source has classes. File names may hold anything, so both are made safe to write
    and to show (``probe.names.shown``).
    """

    id: str
    read: Callable[[], bytes | Image.Image]
    label: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", shown(self.id))
        object.__setattr__(self, "label", None if self.label is None else shown(self.label))


@dataclass(frozen=True)
class Opened:
    """An opened source.

    candidates: in an order that depends on the source and the seed alone, never on how many are needed.
    facts: what the report says of the source (column, revision, available, sample, ...).
    tries: how many candidates may be tried for each image needed; None for as many as there are.
    notes: sentences on anything odd about the source; they become warnings.
    classes: for a balanced draw, how many candidates each class has; None for a stream, where that is not known.
    """

    candidates: Generator[Candidate, None, None]
    facts: dict[str, Any] = field(default_factory=dict)
    tries: int | None = None
    notes: list[str] = field(default_factory=list)
    classes: dict[str, int | None] | None = None


@dataclass(frozen=True)
class Source:
    """A kind of source, chosen by the prefix of ``source`` in the configuration of a data set.

    prefix: what comes before the colon, such as ``folder``.
    place: how messages write what comes after it, such as ``PATH``.
    open: called with the words that begin every message on the data set, its configuration, and what comes after the
        colon; returns the opened source, or raises UserError in one sentence.
    explanation: what it is, for documentation.
    fields: of ``DatasetConfig``, those among ``config``, ``split``, ``column``, ``revision`` and ``balance`` that it
        reads. Setting any other of them is an error.
    remote: whether reading it again is slow or may give other images. Its images are then kept with the run, while
        those of other sources are read again and compared.
    """

    prefix: str
    place: str
    open: Callable[[str, DatasetConfig, str], Opened]
    explanation: str
    fields: frozenset[str] = frozenset()
    remote: bool = False

    @property
    def written(self) -> str:
        """How a configuration names it: ``folder:PATH``."""
        return f"{self.prefix}:{self.place}"


def seeded_order(count: int, seed: int) -> list[int]:
    """A permutation of 0..count-1 that depends on (count, seed) alone."""
    return np.random.default_rng(seed).permutation(count).tolist()


def read_regular(path: str | Path) -> bytes:
    """The bytes of a regular file (no pipe, device or folder) of at most ``MAX_FILE_BYTES``; links are followed."""
    try:
        # Opening a pipe without a writer would block for ever. The type is that of the opened file, since the path may
        # lead elsewhere by now.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImage("it is not a regular file")
            check_size(status.st_size)
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise UnreadableImage(getattr(error, "strerror", None) or str(error)) from error
    check_size(len(data))  # it may have grown
    return data


def check_size(size: int) -> None:
    """UnreadableImage for an encoded image of more than ``MAX_FILE_BYTES``."""
    if size > MAX_FILE_BYTES:
        raise UnreadableImage(f"it holds {size:,} bytes; an image may hold {MAX_FILE_BYTES:,}")


def first_line(error: BaseException) -> str:
    """The first line of a library's message, without its full stop, at most 150 characters."""
    return shortened(next(iter(str(error).splitlines()), type(error).__name__).rstrip(". "), 150)
