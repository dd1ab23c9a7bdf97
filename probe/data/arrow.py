"""Columns and cells of local tables, as pyarrow has them."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import types

from probe.data.columns import Column, held_by_array
from probe.data.source import UnreadableImage, check_size

_HOLDS = dict.fromkeys(("binary", "large_binary", "binary_view", "fixed_size_binary"), "bytes")
_HOLDS |= dict.fromkeys(("string", "large_string", "string_view"), "path")


def described(schema: pa.Schema) -> dict[str, Column]:
    """The columns of a table by name, with what ``datasets`` noted of them."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        noted = {name: one for name, one in features.items() if isinstance(one, dict)}
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):  # a table does without these notes
        noted = {}
    columns = {}
    for field in schema:
        note, kind = noted.get(field.name, {}), _plain(field.type)
        holds = _holds(kind)
        if holds in ("bytes", "path") and note.get("_type") == "Image":
            holds = "image"
        names = note.get("names") if note.get("_type") == "ClassLabel" else None
        classes = tuple(map(str, names)) if isinstance(names, list) else None
        columns[field.name] = Column(str(kind), holds, classes, _nesting(kind))
    return columns


def value(scalar: pa.Scalar) -> Any:
    """A cell as bytes, text, an array, or a dictionary of them; its size is checked before it is copied."""
    if isinstance(scalar, pa.DictionaryScalar | pa.ExtensionScalar):
        return value(scalar.value) if scalar.is_valid else None
    if isinstance(scalar, pa.StructScalar):
        return {key: value(scalar[key]) for key in ("bytes", "path") if key in scalar} if scalar.is_valid else None
    if isinstance(scalar, pa.BinaryScalar) and scalar.is_valid:
        check_size(scalar.as_buffer().size)
    if _is_list(scalar.type):
        return _array(scalar.values) if scalar.is_valid else None
    return scalar.as_py()


def _array(values: pa.Array) -> np.ndarray:
    """The nested lists of a cell, as an array of as many dimensions; UnreadableImage for gaps and ragged rows."""
    shape = [len(values)]
    values = _stored(values)
    while _is_list(values.type):
        lengths = set(values.value_lengths().to_pylist()) if not types.is_fixed_size_list(values.type) else set()
        if len(lengths) > 1 or None in lengths or values.null_count:
            raise UnreadableImage("its rows differ in length")
        shape.append(lengths.pop() if lengths else getattr(values.type, "list_size", 0))
        values = _stored(values.flatten())
    if values.null_count:
        raise UnreadableImage("it holds gaps; store whole numbers 0..255")
    check_size(len(values))
    return values.to_numpy(zero_copy_only=False).reshape(shape)


def _stored(values: pa.Array) -> pa.Array:
    return values.storage if isinstance(values, pa.ExtensionArray) else values


def _plain(kind: pa.DataType) -> pa.DataType:
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _holds(kind: pa.DataType) -> str | None:
    kind = _plain(kind)
    if types.is_struct(kind):
        parts = {field.name: _holds(field.type) for field in kind}
        return "bytes" if parts.get("bytes") == "bytes" else "path" if parts.get("path") == "path" else None
    depth, inner = _nesting(kind)
    return held_by_array(depth, inner) if depth else _HOLDS.get(inner.partition("[")[0])  # fixed_size_binary[1]


def _nesting(kind: pa.DataType) -> tuple[int, str]:
    """See ``Column.nesting``."""
    depth = 0
    while _is_list(kind):
        kind, depth = _plain(kind.value_type), depth + 1
    return depth, str(kind)


def _is_list(kind: pa.DataType) -> bool:
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
