"""Parquet files with a column of encoded images, as the hub keeps them; they may be far larger than memory."""

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from probe.config import DatasetConfig
from probe.data.arrow import described, value
from probe.data.balance import drawn_order
from probe.data.cells import content
from probe.data.columns import Column, class_column, image_column, kind, label_of
from probe.data.formats import named
from probe.data.partitions import partitions
from probe.data.patterns import matching_files
from probe.data.source import Candidate, Opened, UnreadableImage, first_line, read_regular
from probe.errors import UserError
from probe.names import given_path, shortened

WINDOW = range(64, 4097)  # rows read at once: as many as are needed, within these bounds
WINDOW_BYTES = 512 * 2**20  # and no more encoded images than this
MAX_ROWS = 2**26  # an order of all rows is drawn: half a gigabyte
MAX_GROUP_BYTES = 2 * 2**30  # of the columns read, in one row group, unpacked
MAX_FOOTER_BYTES = 256 * 2**20
BATCH = 16  # rows decoded at a time; a value may have more than a hundred megabytes

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class File:
    """A parquet file.

    starts: number, in the whole table, of the first row of each row group; and of the row after the last one.
    leaves: the paths of the stored columns of bytes, such as "image.bytes".
    constants: columns that the names of folders give, such as ``split=test``, with their values.
    """

    path: Path
    columns: dict[str, Column]
    starts: list[int]
    leaves: list[str]
    constants: dict[str, str | None] = field(default_factory=dict)


def open_parquet(where: str, spec: DatasetConfig, place: str) -> Opened:
    """The rows of all files that ``place`` (see ``matching_files``) names; an id is a row's number.

    The order is drawn over all rows. It is taken in windows of as many rows as are needed, and of each window only the
    row groups that hold its rows are read, so ten images of a million take neither the time nor the memory of all.
    UserError if no file matches, a file is not parquet, the files differ, or the column of images is not clear.
    """
    files: list[File] = []
    rows = 0
    paths = matching_files(where, place, ".parquet")
    for path, partition in zip(paths, partitions(given_path(place), paths), strict=True):
        file = open_file(where, Path(path), rows, partition)
        rows = file.starts[-1]
        if rows > file.starts[0]:  # an empty file often knows no types
            files.append(file)
    if not files:
        raise UserError(f"{where} holds no rows; give a table with images.")
    if rows > MAX_ROWS:
        raise UserError(f"{where} holds {rows:,} rows, and at most {MAX_ROWS:,} are read; name fewer files.")
    features = _common_columns(where, files)
    column = image_column(where, features, spec.column)
    label = class_column(where, features, spec.balance, column)
    columns = [column] if label is None else [column, label]
    for file in files:
        if file.columns[column].holds is None and file.columns[column].dtype != "null":
            held = f"holds {kind(file.columns[column])}, not images as in other files"
            raise UserError(f"{where}: column {_name(column)!r} of {_name(file.path)} {held}; give files of one kind.")
    wanted = min(max(spec.n + spec.holdout, WINDOW.start), WINDOW.stop - 1)
    facts = {"column": column, "available": rows, "sample": "exact"}
    if spec.balance:
        drawn, classes = drawn_order(where, spec, _labels(where, files, spec.balance))
        return Opened(_candidates(files, np.array(drawn), wanted, columns), facts, classes=classes)
    order = np.random.default_rng(spec.seed).permutation(rows)  # that of seeded_order, which would make a list of it
    return Opened(_candidates(files, order, wanted, columns), facts)


def _labels(where: str, files: list[File], column: str) -> Iterator[str | None]:
    """The class of every row."""
    for file in files:
        if column in file.constants:
            yield from repeat(label_of(None, file.constants[column]), file.starts[-1] - file.starts[0])
            continue
        try:
            with parquet.ParquetFile(file.path, pre_buffer=False) as opened:
                for batch in opened.iter_batches(columns=[column]):
                    for cell in batch.column(0).to_pylist():
                        yield label_of(file.columns[column], cell)
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = f"{_name(file.path)}: {first_line(error)}"
            raise UserError(f"{where}: its classes cannot be read from {reason}; replace the file.") from error


def open_file(where: str, path: Path, start: int, partition: Mapping[str, str | None] = MappingProxyType({})) -> File:
    """A file whose first row has the number ``start``; UserError if it is damaged or not parquet.

    partition: columns that its folders give; one of the same name in the file goes first.
    """
    try:
        _check_format(path)
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            columns = described(file.schema_arrow)
            if len(columns) < len(file.schema_arrow.names):
                raise UserError(f"{where}: {_name(path)} has two columns of one name; rename one.")
            groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
            starts = accumulate((max(0, group.num_rows) for group in groups), initial=start)
            stored = map(file.schema.column, range(len(file.schema)))
            leaves = [one.path for one in stored if one.physical_type == "BYTE_ARRAY"]
            constants = {key: value for key, value in partition.items() if key not in columns}
            columns |= dict.fromkeys(constants, Column("string"))
            return File(path, columns, list(starts), leaves, constants)
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a name that is not UTF-8
        reason = f"{_name(path)}: {first_line(error)}"
        raise UserError(f"{where} cannot be read as parquet: {reason}; give parquet files.") from error


def _check_format(path: Path) -> None:
    """ValueError for a file that has no parquet footer or an enormous one."""
    if (size := path.stat().st_size) < 12:
        raise ValueError(f"it holds {size} bytes")
    with path.open("rb") as file:
        file.seek(-8, 2)
        end = file.read(8)
    if end[4:] not in (b"PAR1", b"PARE"):
        raise ValueError("it does not end as parquet files do, so it is damaged, incomplete or of another format")
    if int.from_bytes(end[:4], "little") > MAX_FOOTER_BYTES:
        raise ValueError("its footer is too large")


def _common_columns(where: str, files: list[File]) -> dict[str, Column]:
    """Columns by name, which must be those of every file; UserError naming the first file that differs."""
    first = files[0].columns
    for file in files:
        if odd := sorted(first.keys() ^ file.columns.keys()):
            has, lacks = (files[0], file) if odd[0] in first else (file, files[0])
            differ = f"{_name(has.path)} has a column {_name(odd[0])!r} and {_name(lacks.path)} has none"
            raise UserError(f"{where}: {differ}; give files with the same columns.")
    columns = [file.columns for file in files]
    # A column without a value in one file (type null) is described by another.
    return {name: next((one[name] for one in columns if one[name].dtype != "null"), columns[0][name]) for name in first}


def _candidates(
    files: list[File], order: np.ndarray, wanted: int, columns: list[str]
) -> Generator[Candidate, None, None]:
    done = 0
    while done < len(order):
        window = _window(files, order[done : done + wanted].tolist(), columns)
        done += len(window)
        wanted = len(window)  # what did not fit in memory once will not fit again
        while window:
            yield window.popleft()


def _window(files: list[File], rows: list[int], columns: list[str]) -> deque[Candidate]:
    """As many of the rows, from the first on, as fit in memory."""
    read: dict[int, tuple[Candidate, int]] = {}
    size, inside = 0, set(rows)
    for row, candidate, held in read_rows(files, rows, columns):
        if row in inside:
            read[row] = candidate, held
            size += held
        while size > WINDOW_BYTES and len(rows) > 1:
            rows = rows[: len(rows) // 2]
            inside = set(rows)
            read = {row: one for row, one in read.items() if row in inside}
            size = sum(held for _, held in read.values())
    return deque(read[row][0] for row in rows)


def read_rows(files: list[File], rows: list[int], columns: list[str]) -> Iterator[tuple[int, Candidate, int]]:
    """Each of the rows with its candidate and the bytes that this holds, in the order of the files.

    columns: that of the images and, if there is one, that of the classes.
    """
    first = [file.starts[0] for file in files]
    rows = sorted(rows)
    while rows:
        file = files[bisect_right(first, rows[0]) - 1]
        group = bisect_right(file.starts, rows[0]) - 1
        count = bisect_right(rows, file.starts[group + 1] - 1)
        yield from _read_group(file, group, rows[:count], columns)
        rows = rows[count:]


def _read_group(file: File, group: int, left: list[int], columns: list[str]) -> Iterator[tuple[int, Candidate, int]]:
    # A value that occurs in every row is stored once; as dictionaries the columns stay that small.
    stored = [column for column in columns if column not in file.constants]
    small = [leaf for leaf in file.leaves if _belongs(leaf, stored)]
    try:
        with parquet.ParquetFile(file.path, pre_buffer=False, buffer_size=2**20, read_dictionary=small) as opened:
            _check_group(opened.metadata.row_group(group), stored)
            start = file.starts[group]
            for batch in opened.iter_batches(BATCH, row_groups=[group], columns=stored):
                while left and left[0] < start + len(batch):
                    yield left[0], *_read_row(file, left[0], batch.slice(left[0] - start, 1), columns)
                    del left[0]
                start += len(batch)
                if not left:
                    return
        reason = "the file holds fewer rows than it says"
    except (pa.ArrowException, OSError, ValueError, UnreadableImage) as error:
        reason = first_line(error)
    for row in left:  # damage to a row group is damage to its rows only
        yield row, _unreadable(row, f"{_name(file.path)}, row group {group}: {reason}"), 0


def _read_row(file: File, row: int, batch: pa.RecordBatch, columns: list[str]) -> tuple[Candidate, int]:
    try:
        cell = value(batch.column(columns[0])[0])
        label = next((_label(file, name, batch) for name in columns[1:]), None)
    except (UnreadableImage, ValueError) as error:  # ValueError: text that is not UTF-8
        return _unreadable(row, first_line(error)), 0
    held = cell.get("bytes") if isinstance(cell, dict) else cell
    size = held.nbytes if isinstance(held, np.ndarray) else len(held) if isinstance(held, bytes | str) else 0
    candidate = Candidate(str(row), partial(local_image, cell, file.path.parent), label)
    return candidate, size


def _label(file: File, column: str, batch: pa.RecordBatch) -> str | None:
    if column in file.constants:
        return label_of(None, file.constants[column])
    return label_of(file.columns[column], batch.column(column)[0].as_py())


def _unreadable(row: int, reason: str) -> Candidate:
    def fail() -> bytes:
        raise UnreadableImage(reason)

    return Candidate(str(row), fail)


def _check_group(group: parquet.RowGroupMetaData, columns: list[str]) -> None:
    chunks = map(group.column, range(group.num_columns))
    size = sum(chunk.total_uncompressed_size for chunk in chunks if _belongs(chunk.path_in_schema, columns))
    if size > MAX_GROUP_BYTES:
        raise UnreadableImage(f"it unpacks to {size:,} bytes, above {MAX_GROUP_BYTES:,}; write smaller row groups")


def _belongs(leaf: str, columns: list[str]) -> bool:
    return any(f"{leaf}.".startswith(f"{column}.") for column in columns)


def local_image(cell: Any, folder: Path) -> bytes | Image.Image:
    """The image of a cell of a local table: its bytes or pixels, or the file that its path names.

    Tables usually come from somewhere else, so a path must lead to a regular file below ``folder``, the table's folder.
    Any other path could put private files of this machine into reports, or never stop being read.
    """
    path = content(cell)
    if not isinstance(path, str):
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
    return named(read_regular(folder / path), path)


def _name(path: Path | str) -> str:
    return shortened(str(path), 100)
