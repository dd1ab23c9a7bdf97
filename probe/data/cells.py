"""What the cell of a column of images leads to: its own bytes, or a file beside the table or on the hub."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probe.data.source import MAX_FILE_BYTES, UnreadableImage, check_size, read_regular
from probe.names import shortened

_ON_THE_HUB = re.compile(r"(zip://[^:]*::)?hf://[^:]+")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def local_image(cell: Any, folder: Path) -> bytes:
    """The encoded image of a cell of a local table: its bytes, or the file that its path names.

    Tables usually come from somewhere else, so a path must lead to a regular file below ``folder``, the table's folder.
    Any other path could put private files of this machine into reports, or never stop being read.

    Args:
        cell: bytes, a path, {"bytes", "path"}, or None.
        folder: relative paths start here.

    Raises:
        UnreadableImage: the cell is empty or too large, or its path leads elsewhere.
    """
    path = _bytes_or_path(cell)
    if isinstance(path, bytes):
        return path
    name = repr(shortened(path, 60))
    if _ADDRESS.match(path):
        raise UnreadableImage(f"its path {name} is an address, and a local table may name local files only")
    try:
        inside = (folder / path).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError) as error:  # a null byte, or a loop of links
        raise UnreadableImage(f"its path {name} cannot be followed ({error})") from error
    if not inside:
        raise UnreadableImage(f"its path {name} leads out of the table's folder")
    return read_regular(folder / path)


def hub_image(cell: Any) -> bytes:
    """The same for a table on the hub, where paths lead to files on the hub."""
    path = _bytes_or_path(cell)
    if isinstance(path, bytes):
        return path
    if not _ON_THE_HUB.fullmatch(path):
        raise UnreadableImage(f"its path {shortened(path, 60)!r} is not on the hub")
    import fsspec  # type: ignore[import-untyped]

    try:
        with fsspec.open(path, "rb") as file:
            data: bytes = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError, KeyError) as error:  # KeyError: no such member of an archive
        raise UnreadableImage(str(error)) from error
    check_size(len(data))
    return data


def _bytes_or_path(cell: Any) -> bytes | str:
    if isinstance(cell, Mapping):
        cell = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
        if cell is not None and not isinstance(cell, str | bytes):
            raise UnreadableImage(f"the cell holds {type(cell).__name__}, not bytes")
    if not cell:
        raise UnreadableImage("the cell is empty")
    if isinstance(cell, str):
        return cell
    check_size(len(cell))
    return bytes(cell)
