"""Result files with a checksum and the name of the run that made them, written whole or not at all."""

import hashlib
import io
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.errors import UserError
from probe.files import heading, tensors_sha256, write_atomically
from probe.reading import Unreadable, parse_json

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

NOT_WHOLE = "its content does not match its checksum"
AT_ONCE = 1 << 20
"""Bytes that are read at once to check a file."""


class Damaged(Exception):
    """A result file is truncated or changed; the text says what is wrong, without the file's name."""


@contextmanager
def reading(path: Path, command: str) -> Iterator[Path]:
    """Turn whatever goes wrong with a file within the block into one sentence that names it.

    Args:
        command: makes the file.

    Raises:
        UserError: the file is missing, damaged, or its content is not as agreed.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path} is missing; run `{command}` first.")
        yield path
    except (Unreadable, Damaged, OSError, ValueError, KeyError, TypeError) as error:
        reason = error.reason if isinstance(error, Unreadable) else " ".join(str(error).split()).rstrip(".")
        raise UserError(f"{path} cannot be read ({reason[:160]}); delete it and rerun `{command}`.") from None


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", about: Mapping[str, Any]) -> str:
    """Write a safetensors file, whole or not at all.

    Each entry of ``about`` becomes JSON in the file's metadata, beside the SHA-256 of the content, which is returned.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save, save_file

    whole = {name: value.contiguous() for name, value in tensors.items()}
    digest = content_sha256(whole, about)
    metadata = {key: json.dumps(value) for key, value in {**about, "sha256": digest}.items()}

    def write(temporary: Path) -> None:
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            save_file(whole, temporary, metadata)  # without a copy of all in memory
            with suppress(OSError):  # file systems without modes
                temporary.chmod(mode)  # it makes files that nobody else may read
        except SafetensorError:  # it does not say which error of the system this was: write again, and see
            temporary.write_bytes(save(whole, metadata))

    write_atomically(path, write)
    return digest


def read_tensors(
    path: Path, names: Collection[str] | None = None, *, check: bool | None = None
) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Read a file of ``write_tensors``: its tensors and its metadata, ``sha256`` included.

    A tensor is a view of the file: the system reads its pages when they are needed, and drops them when it needs room.

    Args:
        names: give only these tensors, those that are there.
        check: whether to compare the whole content with its checksum, a few bytes at a time; by default only without
            ``names``, which must then all be there.

    Raises:
        Damaged: it is truncated, or its content does not match its checksum.
        FileNotFoundError: there is no such file.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            about = {key: parse_json(value, f"its entry {key}", nan=True) for key, value in metadata.items()}
            there = sorted(file.keys())
            check = names is None if check is None else check
            wanted = there if names is None else [name for name in names if name in there] if check else names
            tensors = {key: file.get_tensor(key) for key in wanted}
            metadata.pop("sha256", None)
            if check and _digest_of(path, {key: file.get_tensor(key) for key in there}, metadata) != about.get(
                "sha256"
            ):
                raise Damaged(NOT_WHOLE)
    except (SafetensorError, OSError, ValueError, UserError) as error:
        raise _damage(error, path) from None
    return tensors, about


def _digest_of(path: Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]) -> str:
    """``_digest`` of the tensors and metadata of a safetensors file. The tensors, sorted by name, are views of it, and
    their content is not looked at: pages that were would stay in memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        begin = file.tell()
        for name, one in tensors.items():
            digest.update(heading(name, one))
            first, last = header[name]["data_offsets"]
            file.seek(begin + first)
            for at in range(first, last, AT_ONCE):
                digest.update(file.read(min(AT_ONCE, last - at)))
    digest.update(json.dumps(metadata, sort_keys=True).encode())
    return digest.hexdigest()


def tensor_names(path: Path) -> set[str]:
    """Names of the tensors of a safetensors file; none if it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return set(file.keys())
    except (SafetensorError, OSError, ValueError):
        return set()


def rows_of(path: Path, name: str) -> int:
    """Rows of a tensor of a safetensors file; 0 if the file, or the tensor, is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return file.get_slice(name).get_shape()[0]
    except (SafetensorError, OSError, ValueError, IndexError):
        return 0


def write_table(path: Path, rows: "pd.DataFrame", about: Mapping[str, Any]) -> None:
    """Write a parquet file, whole or not at all, with ``about`` and the SHA-256 of the content as JSON under the
    schema's key ``probe``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(rows, preserve_index=False)
    entry = json.dumps({**about, "sha256": _table_digest(rows, about)})
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"probe": entry.encode()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    write_atomically(path, buffer.getvalue())


def read_table(path: Path) -> "tuple[pd.DataFrame, dict[str, Any]]":
    """Read a file of ``write_table``: its rows and its metadata. Errors as ``read_tensors``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        table = pq.read_table(path)
        about = parse_json((table.schema.metadata or {})[b"probe"].decode(), "its entry probe", nan=True)
        rows = table.to_pandas()
        digest = _table_digest(rows, {key: about[key] for key in about if key != "sha256"})
    except KeyError:
        raise Damaged("it was not written by this tool") from None
    except (pa.ArrowException, OSError, ValueError, UserError) as error:
        raise _damage(error, path) from None
    if digest != about.get("sha256"):
        raise Damaged(NOT_WHOLE)
    return rows, about


def read_about(path: Path) -> dict[str, Any]:
    """The metadata of a result file; its content is not read. Empty if the file cannot be read."""
    if path.suffix == ".parquet":
        return _about_table(path)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:  # "pt" would import torch
            return {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
    except (SafetensorError, OSError, ValueError):
        return {}


def _about_table(path: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return json.loads((pq.read_schema(path).metadata or {})[b"probe"])
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return {}


def content_sha256(content: "Mapping[str, Tensor] | pd.DataFrame", about: Mapping[str, Any]) -> str:
    """The checksum of a file with these tensors, or rows."""
    if isinstance(content, Mapping):
        return _digest(content, {key: json.dumps(value) for key, value in about.items()})
    return _table_digest(content, about)


def _digest(tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]) -> str:
    return tensors_sha256(sorted(tensors.items()), json.dumps(metadata, sort_keys=True))


def _table_digest(rows: "pd.DataFrame", about: Mapping[str, Any]) -> str:
    import pandas as pd

    digest = hashlib.sha256(json.dumps([list(rows.columns), dict(about)], sort_keys=True).encode())
    digest.update(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _damage(error: Exception, path: Path) -> Exception:
    """The system's own errors, such as a missing permission, say nothing about the content."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    return Damaged(" ".join(str(error).replace(str(path), path.name).split()).rstrip(".")[:160])
