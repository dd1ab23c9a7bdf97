"""Folders that ``save_to_disk`` of datasets wrote: a Dataset, or a DatasetDict with a folder for each split."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from probe.config import DatasetConfig
from probe.data.arrow import described, value
from probe.data.balance import drawn_order
from probe.data.columns import class_column, image_column, label_of
from probe.data.parquet import local_image
from probe.data.patterns import split_names
from probe.data.source import Candidate, Opened, first_line
from probe.errors import UserError
from probe.names import given_path, shortened, shown

log = logging.getLogger("probe")
SPLIT = DatasetConfig.model_fields["split"].default


def is_saved(path: Path) -> bool:
    """Whether a folder was written by ``save_to_disk``."""
    return _has_splits(path) or ((path / "state.json").is_file() and any(path.glob("*.arrow")))


def _has_splits(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file()


def by_use(spec: DatasetConfig, part: str) -> DatasetConfig:
    """A specification with the split ``part``, if it names none and its source is a saved set with splits."""
    place = (spec.source or "").removeprefix("saved:")
    if "split" in spec.model_fields_set or not _has_splits(given_path(place)):
        return spec
    return spec.model_copy(update={"split": part})


def open_saved(where: str, spec: DatasetConfig, place: str) -> Opened:
    """The rows of a saved Dataset, or of a split of a saved DatasetDict, or of several (``train+test``), one after the
    other; an id is a row's number. Files are mapped into memory, and a row is read when it is needed.

    UserError if the folder was not written by ``save_to_disk``, lacks the split, is damaged, or its column of images is
    not clear.
    """
    root = given_path(place)
    table = _table(where, spec, root)
    if not len(table):
        raise UserError(f"{where} holds no rows; give a set with images.")
    features = described(table.features.arrow_schema)
    column = image_column(where, features, spec.column)
    label = class_column(where, features, spec.balance, column)
    rows = table.select_columns([column, label] if label else [column]).with_format("arrow")

    def labels() -> Iterator[str | None]:
        for batch in table.select_columns([label]).with_format("arrow").iter(1000):
            yield from (label_of(features[label or ""], cell) for cell in batch.column(0).to_pylist())

    def candidate(index: int) -> Candidate:
        row = rows[index]
        name = label_of(features[label], row.column(label)[0].as_py()) if label else None
        return Candidate(str(index), lambda: local_image(value(row.column(column)[0]), root), name)

    order, classes = drawn_order(where, spec, labels() if spec.balance else len(table))
    facts = {"column": column, "available": len(table), "sample": "exact"}
    return Opened((candidate(index) for index in order), facts, classes=classes)


def _table(where: str, spec: DatasetConfig, root: Path) -> Any:
    """The ``datasets.Dataset`` that is asked for."""
    import datasets

    if not is_saved(root):
        raise UserError(f"{where}: no set that save_to_disk wrote is there; check the path.")
    try:
        names = _splits(where, spec, root)
        folders = [root / name for name in names] if names else [root]
        for folder in folders:
            _check(folder)
        tables = [datasets.load_from_disk(str(folder)) for folder in folders]
    except UserError:
        raise
    except Exception as error:  # json, pyarrow and datasets raise many classes on damaged files
        raise UserError(f"{where} cannot be read: {first_line(error)}; write it again with save_to_disk.") from error
    try:
        return datasets.concatenate_datasets(tables)
    except ValueError as error:
        raise UserError(
            f"{where}: the splits {', '.join(names)} differ in the type of a column; take one of them."
        ) from error


def _splits(where: str, spec: DatasetConfig, root: Path) -> list[str]:
    """The names of the splits that are asked for; none for a Dataset."""
    if not _has_splits(root):
        if spec.split != SPLIT:
            raise UserError(f"{where} is a Dataset, which has no splits; remove split.")
        return []
    listed = json.loads((root / "dataset_dict.json").read_text("utf-8"))["splits"]
    known = [name for name in listed if name != ".." and (root / name).parent == root]  # it may be somebody else's list
    wanted = split_names(spec.split)
    if "split" not in spec.model_fields_set and spec.split in known and len(known) > 1:
        others = ", ".join(shortened(shown(name), 30) for name in known if name != spec.split)
        log.info(f"{where}: split {spec.split} is taken, the default; there is also {others}")
    if lacking := [name for name in wanted if name not in known]:
        there = ", ".join(shortened(shown(name), 30) for name in known[:10])
        raise UserError(f"{where} has no split {lacking[0]!r}; set split to one of {there}, or to several with +.")
    return wanted


def _check(folder: Path) -> None:
    """ValueError if a table's state names files elsewhere; it may come from somebody else."""
    state = json.loads((folder / "state.json").read_text("utf-8"))
    for one in [*state["_data_files"], *(state.get("_indices_data_files") or [])]:
        if Path(one["filename"]).name != one["filename"]:
            raise ValueError(f"{shown(str(one['filename']))!r} is not the name of a file in it")
