"""Cache folders of libraries, and the environment variable that moves each."""

import errno
import getpass
import os
import tempfile
from pathlib import Path

from probe.names import shortened

LONGEST_PATH = 160
"""Characters of a path in a message."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""The file system is at fault, not the file."""


def cache_sentence(error: BaseException | None) -> str | None:
    """What to do about a cache that cannot be used, as a sentence; None if no cache is at fault.

    Args:
        error: an ``OSError`` that names a file in a cache, or an exception caused by one.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and (found := _sentence(error)):
            return found
        error = error.__cause__ or error.__context__
    return None


def _sentence(error: OSError) -> str | None:
    if "No usable temporary directory" in str(error):
        return "no temporary folder can be written; set TMPDIR to a folder that you can write, and rerun to resume."
    if not isinstance(error.filename, str | bytes | os.PathLike):
        return None
    file = Path(os.path.abspath(os.fsdecode(error.filename)))
    folders = _folders()
    if error.errno in FULL:  # other errors there are about the file itself
        folders.append(("TMPDIR", Path(tempfile.gettempdir())))
    holding = [(len(folder.parts), name) for name, folder in folders if file == folder or folder in file.parents]
    if not holding:
        return None
    name = max(holding)[1]
    place = shortened(str(file), LONGEST_PATH)
    return (
        f"{place} cannot be used: {error.strerror or error}; it belongs to a cache: correct its permissions, or set "
        f"{name} to a folder that you can write, and rerun to resume."
    )


def _folders() -> list[tuple[str, Path]]:
    """Environment variables and their folders: what they are set to, else the default."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a name for this user
        user = ""
    known: dict[str, tuple[Path | str, ...]] = {
        "XDG_CACHE_HOME": (cache,),
        "HF_HOME": (cache / "huggingface",),
        "HF_HUB_CACHE": (),
        "HF_DATASETS_CACHE": (),
        "TORCH_HOME": (cache / "torch",),
        "TORCHINDUCTOR_CACHE_DIR": (Path(tempfile.gettempdir()) / f"torchinductor_{user}",),
        "TRITON_CACHE_DIR": ("~/.triton",),
        "MPLCONFIGDIR": (cache / "matplotlib", "~/.config/matplotlib"),
        "NUMBA_CACHE_DIR": (),
    }
    places = {name: (os.environ[name],) if os.environ.get(name) else default for name, default in known.items()}
    return [(name, Path(os.path.abspath(os.path.expanduser(p)))) for name, all_ in places.items() for p in all_]
