"""Columns and single rows of parquet files that may be far larger than memory: only the row groups needed are read."""

import json
import stat
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet, types

from probe.data.columns import Column
from probe.data.source import UnreadableImage, check_size
from probe.errors import UserError
from probe.names import shortened

MAX_ROWS = 2**26  # an order of all rows is drawn: half a gigabyte
MAX_GROUP_BYTES = 2 * 2**30  # of the columns read, in one row group, unpacked
MAX_FOOTER_BYTES = 256 * 2**20
BATCH = 16  # rows decoded at a time; a value may have more than a hundred megabytes


@dataclass(frozen=True)
class File:
    """A parquet file.

    starts: number, in the whole table, of the first row of each row group; and of the row after the last one.
    leaves: the paths of the stored columns of bytes, such as "image.bytes".
    """

    path: Path
    columns: dict[str, Column]
    starts: list[int]
    leaves: list[str]


@dataclass(frozen=True)
class Row:
    """What was read of a row: the cell of images, the class's cell, and the file (its folder is where paths start)."""

    cell: Any
    label: Any
    file: File


def open_file(where: str, path: Path, start: int) -> File:
    """The columns and row groups of a file; its first row has the number ``start``.

    UserError if the file is damaged or not parquet.
    """
    name = shortened(str(path), 100)
    try:
        _check_format(path)
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            about, schema = file.metadata, file.schema_arrow
            starts = [start]
            for group in range(about.num_row_groups):
                starts.append(starts[-1] + max(0, about.row_group(group).num_rows))
            columns = columns_of_schema(schema)
            stored = [file.schema.column(index) for index in range(len(file.schema))]
            leaves = [one.path for one in stored if one.physical_type == "BYTE_ARRAY"]
            repeated = len(columns) < len(schema.names)
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a name that is not UTF-8
        raise UserError(
            f"{where} cannot be read as parquet: {name}: {first_line(error)}; give parquet files."
        ) from error
    if repeated:
        raise UserError(f"{where}: {name} has two columns of one name; rename one.")
    return File(path, columns, starts, leaves)


def _check_format(path: Path) -> None:
    """ValueError for a file that is not regular, or has no parquet footer or an enormous one."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    if status.st_size < 12:
        raise ValueError(f"it holds {status.st_size} bytes")
    with path.open("rb") as file:
        file.seek(-8, 2)
        end = file.read(8)
    if end[4:] not in (b"PAR1", b"PARE"):
        raise ValueError("it does not end as parquet files do, so it is damaged, incomplete or of another format")
    if int.from_bytes(end[:4], "little") > MAX_FOOTER_BYTES:
        raise ValueError("its footer is too large")


def columns_of_schema(schema: pa.Schema) -> dict[str, Column]:
    """Column name -> its description."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):  # notes of ``datasets``; a table does without
        features = {}
    noted = features if isinstance(features, dict) else {}
    return {field.name: _column(field.type, noted.get(field.name)) for field in schema}


def _column(kind: pa.DataType, noted: Any) -> Column:
    noted = noted if isinstance(noted, dict) else {}
    holds = _holds(kind)
    if holds and noted.get("_type") == "Image":
        holds = "image"
    names = noted.get("names") if noted.get("_type") == "ClassLabel" else None
    return Column(str(kind), holds, tuple(map(str, names)) if isinstance(names, list) else None)


_BYTES = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
_TEXT = (types.is_string, types.is_large_string, types.is_string_view)


def _holds(kind: pa.DataType) -> str | None:
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_struct(kind):
        parts = {field.name: _holds(field.type) for field in kind}
        return "bytes" if parts.get("bytes") == "bytes" else "path" if parts.get("path") == "path" else None
    if any(test(kind) for test in _BYTES):
        return "bytes"
    return "path" if any(test(kind) for test in _TEXT) else None


def read_rows(files: list[File], rows: list[int], column: str, label: str | None) -> Iterator[tuple[int, Any]]:
    """(number, ``Row`` or ``UnreadableImage``) of each of the rows, in the order of the files."""
    first = [file.starts[0] for file in files]
    rows = sorted(rows)
    while rows:
        file = files[bisect_right(first, rows[0]) - 1]
        group = bisect_right(file.starts, rows[0]) - 1
        count = bisect_right(rows, file.starts[group + 1] - 1)
        mine, rows = rows[:count], rows[count:]
        yield from _read_group(file, group, mine, column, label)


def _read_group(file: File, group: int, left: list[int], column: str, label: str | None) -> Iterator[tuple[int, Any]]:
    columns = [column] if label is None or label not in file.columns else [column, label]
    try:
        # A value that occurs in every row is stored once; as dictionaries the columns stay that small.
        dictionaries = [leaf for leaf in file.leaves if _belongs(leaf, columns)]
        with parquet.ParquetFile(
            file.path, pre_buffer=False, buffer_size=2**20, read_dictionary=dictionaries
        ) as opened:
            _check_group(opened.metadata, group, columns)
            start = file.starts[group]
            for batch in opened.iter_batches(BATCH, row_groups=[group], columns=columns):
                while left and left[0] < start + len(batch):
                    yield left[0], _row(file, batch, left[0] - start, column, label)
                    del left[0]
                start += len(batch)
                if not left:
                    return
        reason = "the file holds fewer rows than it says"
    except (pa.ArrowException, OSError, ValueError, UnreadableImage) as error:
        reason = first_line(error)
    # Damage to a row group is damage to its rows only.
    name = shortened(str(file.path), 100)
    yield from ((row, UnreadableImage(f"{name}, row group {group}: {reason}")) for row in left)


def _row(file: File, batch: pa.RecordBatch, at: int, column: str, label: str | None) -> "Row | UnreadableImage":
    try:
        cell = _value(batch.column(column)[at])
        named = batch.column(label)[at].as_py() if label is not None and label in batch.schema.names else None
    except (UnreadableImage, ValueError) as error:  # ValueError: text that is not UTF-8
        return UnreadableImage(first_line(error))
    return Row(cell, named, file)


def _value(scalar: pa.Scalar) -> Any:
    """A cell as bytes, text, or a dictionary of them; its size is checked before it is copied."""
    if isinstance(scalar, pa.DictionaryScalar):
        return _value(scalar.value) if scalar.is_valid else None
    if isinstance(scalar, pa.StructScalar):
        return {key: _value(scalar[key]) for key in ("bytes", "path") if key in scalar} if scalar.is_valid else None
    if isinstance(scalar, pa.BinaryScalar) and scalar.is_valid:
        check_size(scalar.as_buffer().size)
    return scalar.as_py()


def _check_group(about: parquet.FileMetaData, group: int, columns: list[str]) -> None:
    chunks = (about.row_group(group).column(index) for index in range(about.num_columns))
    size = sum(chunk.total_uncompressed_size for chunk in chunks if _belongs(chunk.path_in_schema, columns))
    if size > MAX_GROUP_BYTES:
        raise UnreadableImage(
            f"it unpacks to {size:,} bytes and may hold {MAX_GROUP_BYTES:,}; write smaller row groups"
        )


def _belongs(leaf: str, columns: list[str]) -> bool:
    return leaf in columns or any(leaf.startswith(f"{column}.") for column in columns)


def first_line(error: BaseException) -> str:
    """The first line of a library's message, without its full stop, at most 150 characters."""
    return shortened(next(iter(str(error).splitlines()), type(error).__name__).rstrip(". "), 150)
