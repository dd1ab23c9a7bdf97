"""Files that appear whole or not at all, and checksums of tensors and sources."""

import errno
import hashlib
import inspect
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""Errors of file systems without fsync (CIFS, VirtualBox's shared folders, some of FUSE)."""
NOT_FOR_FOLDERS = UNSUPPORTED | {errno.EACCES, errno.EBADF, errno.EISDIR, errno.EPERM}
"""Errors of those without fsync of folders, or of folders that this user cannot read."""


def sync(descriptor: int) -> None:
    """fsync, if the file system supports it; OSError if the disk is full or broken."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def _sync_folder(path: Path) -> None:
    try:
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno not in NOT_FOR_FOLDERS:
            raise


def write_atomically(path: Path, data: bytes | str | Callable[[Path], None]) -> None:
    """Write ``data``, or what a function writes to the path that it is given, to ``path``: a temporary name in the same
    folder, fsync, rename.

    Readers of ``path`` see the old content or the new one, also after a crash. Text is encoded as UTF-8, a lone
    surrogate as ``\\udcff``, as in JSON. Missing folders are made.

    Raises:
        OSError: it cannot be written; ``filename`` is always set.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if callable(data):
            data(temporary)
        else:
            temporary.write_bytes(data.encode(errors="backslashreplace") if isinstance(data, str) else data)
        with temporary.open("rb+") as file:
            sync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)  # the rename itself lives in the folder
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


def tensors_sha256(named: "Iterable[tuple[str, Tensor]]", *more: str) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of tensors in the given order, and over further texts."""
    import torch

    digest = hashlib.sha256()
    for name, value in named:
        digest.update(heading(name, value))
        if value.numel():  # an empty tensor may have strides that `view` refuses
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    for text in more:
        digest.update(text.encode())
    return digest.hexdigest()


def heading(name: str, value: "Tensor") -> bytes:
    """What ``tensors_sha256`` takes of a tensor before its bytes."""
    return f"{name} {value.dtype} {tuple(value.shape)}\n".encode()


def source_sha256(thing: Any) -> str | None:
    """SHA-256 of the source file of a function or class, or None: a run must not resume with another map under the same
    weights."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(thing))
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None
    except (TypeError, OSError):
        return None
