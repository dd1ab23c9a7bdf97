"""What metadata.csv, .jsonl or .parquet in a folder of images says of them, as in ``datasets``' imagefolder."""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from probe.data.source import UnreadableImage, first_line, read_regular
from probe.names import shortened, shown

FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
KEY = "file_name"


class Metadata:
    """The rows of all metadata files below a folder.

    rows: by the image's path below the folder, its columns without ``file_name``.
    notes: sentences on files that could not be used, and on images that they name and that are not there.
    """

    def __init__(self, root: Path, files: Iterable[str], images: Iterable[str]):
        self.rows: dict[str, Mapping[str, Any]] = {}
        self.notes: list[str] = []
        known = set(images)
        for file in sorted(files, key=lambda file: (file.count("/"), file)):
            try:
                self._take(file, _rows(root / file), known)
            except UnicodeDecodeError:
                self.notes.append(f"{_quoted(file)} is not used: it is no text in UTF-8; save it as UTF-8.")
            except Exception as error:  # pyarrow, csv and json raise many classes on what is no table
                reason = shown(first_line(error))
                self.notes.append(f"{_quoted(file)} is not used: {reason}; give it a column {KEY} and a row per image.")

    @property
    def columns(self) -> list[str]:
        """The names of all columns."""
        return list(dict.fromkeys(name for row in self.rows.values() for name in row))

    def _take(self, file: str, rows: list[Mapping[str, Any]], known: set[str]) -> None:
        folder, absent = os.path.dirname(file), []
        mine: Counter[str] = Counter()
        if not all(isinstance(row, Mapping) and isinstance(row.get(KEY), str) for row in rows):
            raise ValueError(f"a row has no text in {KEY}")  # before any is taken: half a table says nothing true
        for row in rows:
            image = os.path.normpath(os.path.join(folder, row[KEY]))
            if image in known:
                self.rows[image] = {name: value for name, value in row.items() if name != KEY}
                mine[image] += 1
            else:
                absent.append(row[KEY])
        if several := [image for image, count in mine.items() if count > 1]:
            more = f" and {len(several) - 1} more" if len(several) > 1 else ""
            self.notes.append(
                f"{_quoted(file)} has several rows for {_quoted(several[0])}{more}; the last one is used."
            )
        if absent:
            more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            self.notes.append(f"{_quoted(file)} names {_quoted(absent[0])}{more}, and no such image is in the folder.")


def _rows(path: Path) -> list[Mapping[str, Any]]:
    try:
        data = read_regular(path)
    except UnreadableImage as error:
        raise ValueError(str(error)) from error
    if path.suffix == ".parquet":
        from pyarrow import BufferReader, parquet

        return parquet.ParquetFile(BufferReader(data)).read().to_pylist()
    text = data.decode("utf-8-sig")
    if path.suffix == ".jsonl":
        # str.splitlines would also break at characters that a JSON string may hold, such as U+2028.
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    if KEY not in (table.fieldnames or ()):
        raise ValueError(f"it has no column {KEY}, only {', '.join(map(_quoted, table.fieldnames or ())) or 'nothing'}")
    rows: list[Mapping[str, Any]] = list(table)
    if any(None in row for row in rows):
        raise ValueError("a row has more cells than the first line names")
    return rows


def _quoted(name: str) -> str:
    return repr(shown(shortened(name, 60)))
