"""The columns of a parquet file: what they hold, and what the ``datasets`` library noted of them."""

import json
from typing import Any

import pyarrow as pa
from pyarrow import types

from probe.data.columns import Column


def columns_of_schema(schema: pa.Schema) -> dict[str, Column]:
    """Column name -> its description."""
    noted = _noted(schema.metadata or {})
    return {field.name: _column(field.type, noted.get(field.name)) for field in schema}


def _column(kind: pa.DataType, noted: Any) -> Column:
    noted = noted if isinstance(noted, dict) else {}
    holds = _holds(kind)
    if holds and noted.get("_type") == "Image":
        holds = "image"
    names = noted.get("names") if noted.get("_type") == "ClassLabel" else None
    return Column(str(kind), holds, tuple(map(str, names)) if isinstance(names, list) else None)


def _holds(kind: pa.DataType) -> str | None:
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_struct(kind):
        parts = {field.name: _holds(field.type) for field in kind}
        return "bytes" if parts.get("bytes") == "bytes" else "path" if parts.get("path") == "path" else None
    if is_bytes(kind):
        return "bytes"
    return "path" if is_text(kind) else None


def is_bytes(kind: pa.DataType) -> bool:
    return (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def is_text(kind: pa.DataType) -> bool:
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _noted(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """Features by column; what cannot be read there is no reason to refuse the table."""
    try:
        noted = json.loads(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return noted if isinstance(noted, dict) else {}
