"""Files that appear whole or not at all, and what they hold."""

import hashlib
import inspect
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write ``data`` to ``path``: a temporary name in the same folder, fsync, rename.

    Text becomes UTF-8; a lone surrogate, which has none, becomes ``\\udcff`` (that of JSON, too). Whoever reads
    ``path`` sees the old content or the new one, also after a crash. Missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data.encode(errors="backslashreplace") if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself lives in the folder
    finally:
        os.close(folder)


def tensors_sha256(named: "Iterable[tuple[str, Tensor]]", *more: str) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors in the order given, and over further texts."""
    import torch

    digest = hashlib.sha256()
    for name, value in named:
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    for text in more:
        digest.update(text.encode())
    return digest.hexdigest()


def source_sha256(thing: Any) -> str | None:
    """SHA-256 of the source file of a function or class; None where there is none.

    A run must not go on with another map under the same weights.
    """
    try:
        file = inspect.getsourcefile(inspect.unwrap(thing))
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None
    except (TypeError, OSError):
        return None
