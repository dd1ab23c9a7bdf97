"""Columns that the names of folders give, ``key=value``, as Hive, Spark and pyarrow write partitioned tables."""

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def partitions(place: Path, files: Sequence[str]) -> list[dict[str, str | None]]:
    """For each file of a folder or pattern, the columns that the folders below ``place`` give; those of all files."""
    # Below a pattern means below its last folder without a wildcard.
    root = next(one for one in (place, *place.parents) if not _is_pattern(str(one)) or os.path.isdir(one))
    # Not ``relative_to``: braces may name places that do not lie below it, such as ``{/a,/b}/*.parquet``.
    found = [_of(Path(os.path.relpath(file, root)).parts[:-1]) for file in files]
    common = set.intersection(*map(set, found)) if found else set()
    return [{key: value for key, value in one.items() if key in common} for one in found]


def _is_pattern(path: str) -> bool:
    return glob.has_magic(path) or "{" in path


def _of(folders: Iterable[str]) -> dict[str, str | None]:
    pairs = (folder.partition("=") for folder in folders)
    return {unquote(key): None if value == NO_VALUE else unquote(value) for key, equals, value in pairs if equals}
