"""Parquet files with a column of encoded images, as the hub keeps them."""

import glob
import os
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from probe.config import DatasetConfig
from probe.data.cells import local_image
from probe.data.columns import image_column, kind, label_column, label_of
from probe.data.rows import MAX_ROWS, File, Row, open_file, read_rows
from probe.data.source import Candidate, Opened, UnreadableImage
from probe.errors import UserError
from probe.names import given_path, shortened

WINDOW = range(64, 4097)  # rows read at once: as many as are needed, within these bounds
WINDOW_BYTES = 512 * 2**20  # and no more encoded images than this


def open_parquet(where: str, spec: DatasetConfig, place: str) -> Opened:
    """The rows of all files that ``place`` (a path, a folder, or a pattern) matches; an id is a row's number.

    The order is drawn over all rows. It is taken in windows of as many rows as are needed, and of each window only the
    row groups that hold its rows are read, so ten images of a million take neither the time nor the memory of all.

    Raises:
        UserError: no file matches, a file is not parquet, the files differ, or the column of images is not clear.
    """
    files: list[File] = []
    rows = 0
    for path in matching_files(where, place):
        file = open_file(where, Path(path), rows)
        rows = file.starts[-1]
        if rows > file.starts[0]:  # an empty file often knows no types
            files.append(file)
    if not files:
        raise UserError(f"{where} holds no rows; give a table with images.")
    if rows > MAX_ROWS:
        raise UserError(f"{where} holds {rows:,} rows, and at most {MAX_ROWS:,} are read; name fewer files.")
    features = _common_columns(where, files)
    column, label = image_column(where, features, spec.column), label_column(features)
    _check_column(where, files, column)
    wanted = min(max(spec.n + spec.holdout, WINDOW.start), WINDOW.stop - 1)
    order = np.random.default_rng(spec.seed).permutation(rows)  # that of seeded_order, which would make a list of it
    facts = {"column": column, "available": rows, "sample": "exact"}
    return Opened(_candidates(files, order, wanted, column, label), facts)


def matching_files(where: str, place: str) -> list[str]:
    """The files of a path, folder or pattern, sorted; UserError where there is none."""
    pattern = str(given_path(place))
    if os.path.isdir(pattern):  # os.path returns False for an impossible path, where Path raises
        pattern = str(Path(glob.escape(pattern)) / "**" / "*.parquet")
    paths = [pattern] if os.path.isfile(pattern) else sorted(glob.glob(pattern, recursive=True))
    files = [path for path in paths if os.path.isfile(path)]
    special = [path for path in (paths or [pattern]) if os.path.exists(path) and not os.path.isdir(path)]
    if odd := next((path for path in special if path not in files), None):
        raise UserError(f"{where}: {_name(odd)} is not a regular file; give parquet files.")
    if not files:
        raise UserError(
            f"{where}: no file matches {_name(pattern)!r}; give the path of a file or folder, or a pattern such as "
            "DIR/*.parquet."
        )
    return files


def _common_columns(where: str, files: list[File]) -> dict[str, Any]:
    """Columns by name, which must be those of every file; UserError naming the first file that differs."""
    first = files[0]
    for file in files:
        if odd := sorted(first.columns.keys() ^ file.columns.keys()):
            has, lacks = (first, file) if odd[0] in first.columns else (file, first)
            raise UserError(
                f"{where}: {_name(has.path)} has a column {_name(odd[0])!r} and {_name(lacks.path)} has none; give "
                "files with the same columns."
            )
    # A column without a value in one file (type null) is described by another.
    known = {name: [file.columns[name] for file in files] for name in first.columns}
    return {name: next((one for one in ones if one.dtype != "null"), ones[0]) for name, ones in known.items()}


def _check_column(where: str, files: list[File], column: str) -> None:
    for file in files:
        if file.columns[column].holds is None and file.columns[column].dtype != "null":
            raise UserError(
                f"{where}: column {_name(column)!r} of {_name(file.path)} holds {kind(file.columns[column])}, not "
                "images as in other files; give files of one kind."
            )


def _candidates(
    files: list[File], order: Any, wanted: int, column: str, label: str | None
) -> Generator[Candidate, None, None]:
    done = 0
    while done < len(order):
        window, read = _window(files, order[done : done + wanted].tolist(), column, label)
        done += len(window)
        wanted = len(window)  # what did not fit in memory once will not fit again
        for number in window:
            yield _candidate(number, read.pop(number), label)


def _window(files: list[File], window: list[int], column: str, label: str | None) -> tuple[list[int], dict[int, Any]]:
    """Rows by number, for as many of the window's first rows as fit in memory."""
    read: dict[int, Any] = {}
    size = 0
    inside = set(window)
    for number, row in read_rows(files, window, column, label):
        if number in inside:
            read[number] = row
            size += _size(row)
        while size > WINDOW_BYTES and len(window) > 1:
            window = window[: len(window) // 2]
            inside = set(window)
            read = {number: row for number, row in read.items() if number in inside}
            size = sum(map(_size, read.values()))
    return window, read


def _size(row: Row | UnreadableImage) -> int:
    if isinstance(row, UnreadableImage):
        return 0
    cell = row.cell.get("bytes") if isinstance(row.cell, dict) else row.cell
    return len(cell) if isinstance(cell, bytes | str) else 0


def _candidate(number: int, row: Row | UnreadableImage, label: str | None) -> Candidate:
    if isinstance(row, UnreadableImage):
        return Candidate(str(number), partial(_fail, row))
    named = label_of(row.file.columns.get(label), row.label) if label is not None else None
    return Candidate(str(number), partial(local_image, row.cell, row.file.path.parent), named)


def _fail(error: UnreadableImage) -> bytes:
    raise error


def _name(path: Path | str) -> str:
    return shortened(str(path), 100)
