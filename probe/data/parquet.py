"""Parquet files with a column of encoded images, as the hub keeps them."""

import glob
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

from probe.config import DatasetConfig
from probe.data.candidates import Candidate, Opened, UnreadableImage, seeded_order
from probe.data.columns import image_column, label_column, label_of
from probe.errors import UserError


def open_parquet(where: str, spec: DatasetConfig, place: str) -> Opened:
    """The rows of all files that ``place`` (a path, or a pattern with wildcards) matches; an id is a row's number.

    ``datasets`` keeps a memory-mapped copy in its cache, so that single rows are read and only they are decoded.

    Raises:
        UserError: no file matches, a file is no parquet, or the column of images is not clear.
    """
    import datasets

    datasets.disable_progress_bars()  # they run into the lines of our own
    paths = matching_files(where, place)
    try:
        table = datasets.load_dataset("parquet", data_files=[glob.escape(path) for path in paths], split="train")
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:  # ValueError: pyarrow's ArrowInvalid
        cause = error.__cause__ or error
        raise UserError(
            f"{where} cannot be read as parquet ({first_line(cause)}); give parquet files with the same columns."
        ) from error
    column = image_column(where, table.features, spec.column)
    images = table.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    classes = label_column(table.features)
    labels: list[str | None] = [None] * len(table)
    if classes:
        labels = [label_of(table.features[classes], value) for value in table[classes]]
    return Opened(
        _candidates(images, column, labels, spec.seed), {"column": column, "available": len(images), "sample": "exact"}
    )


def matching_files(where: str, place: str) -> list[str]:
    """The files of a path or pattern, sorted; UserError where there is none."""
    pattern = str(Path(place).expanduser())
    paths = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern, recursive=True))
    paths = [path for path in paths if Path(path).is_file()]
    if not paths:
        raise UserError(
            f"{where}: no file matches {pattern!r}; give the path of a file, or a pattern such as DIR/*.parquet."
        )
    return paths


def read_cell(cell: dict[str, Any] | None) -> bytes:
    """The encoded image of an undecoded Image cell: its bytes, or what its path (local or on the hub) leads to."""
    if cell is None or (cell["bytes"] is None and cell["path"] is None):
        raise UnreadableImage("the cell is empty")
    if cell["bytes"] is not None:
        return cell["bytes"]
    import fsspec  # type: ignore[import-untyped]

    try:
        with fsspec.open(cell["path"], "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise UnreadableImage(str(error)) from error


def first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(". ")


def _candidates(images: Any, column: str, labels: list[str | None], seed: int) -> Generator[Candidate, None, None]:
    for row in seeded_order(len(images), seed):
        yield Candidate(str(row), partial(_read_row, images, column, row), labels[row])


def _read_row(images: Any, column: str, row: int) -> bytes:
    return read_cell(images[row][column])
