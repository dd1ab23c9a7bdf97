"""One bounded reader of the image files that a folder or a table names."""

import os
import stat
from pathlib import Path

from probe.data.candidates import UnreadableImage

MAX_FILE_BYTES = 128 * 2**20  # the largest encoded image that is read; a cell of a table may hold no more either


def read_regular(path: str | Path) -> bytes:
    """The bytes of a regular file of at most ``MAX_FILE_BYTES`` (links are followed).

    Raises:
        UnreadableImage: the file cannot be read, is too large, or is no regular file (a pipe, a device, a folder).
    """
    try:
        # Opening a pipe that nobody writes to would wait for ever. The kind is asked of what was opened, not of the
        # path, which may lead elsewhere by then.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
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
    """UnreadableImage where an encoded image of ``size`` bytes is larger than ``MAX_FILE_BYTES``."""
    if size > MAX_FILE_BYTES:
        raise UnreadableImage(f"it holds {size:,} bytes; an image may hold {MAX_FILE_BYTES:,}")
