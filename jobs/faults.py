"""One sentence for an error of the operating system: about a file of the run, another file, a cache or a connection."""

import errno
import os
import re
from pathlib import Path

from probe.caches import FULL, LONGEST_PATH, cache_sentence
from probe.errors import Failure, UserError
from probe.names import shortened

CONNECTIONS = ("aiohttp", "http", "httpx", "httpcore", "huggingface_hub", "requests", "socket", "ssl", "urllib")
RESUME = "fix this and rerun to resume."


def sentence_of(error: Exception, run: Path | None = None) -> str | None:
    """What went wrong, with what, and what to do; None for an error that is not the operating system's.

    Args:
        error: an ``OSError``, or one caused by an ``OSError`` in a library's cache.
        run: the directory worked on; named for its own files only.
    """
    if isinstance(error, UserError | Failure):  # it says itself what it is about
        return None
    if not isinstance(error, OSError):
        return cache_sentence(error)
    reason = " ".join((error.strerror or str(error) or type(error).__name__).split())[:200].rstrip(".")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"too many files are open ({reason}); raise the limit with `ulimit -n`, and rerun to resume."
    if error.errno == errno.ENOMEM:
        return f"the memory is used up ({reason}); free some, and rerun to resume."
    files = [Path(os.fsdecode(name)) for name in (error.filename2, error.filename) if _is_path(name)]
    for file in files:
        if run is not None and _is_inside(file, run):
            return f"{shortened(str(file), LONGEST_PATH)} cannot be {_deed(error, file)}: {reason}; {RESUME}"
    if cached := cache_sentence(error):
        return cached
    if files:
        return f"{shortened(str(files[-1]), LONGEST_PATH)} cannot be {_deed(error, files[-1])}: {reason}; {RESUME}"
    if isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.split(".")[0] in CONNECTIONS:
        return f"a connection failed ({type(error).__name__}: {reason}); check the network, and rerun to resume."
    if error.errno in FULL:
        return f"a disk cannot be written: {reason}; the traceback in logs/ shows which; {RESUME}"
    named = reason if reason == type(error).__name__ else f"{type(error).__name__}: {reason}"
    return f"{named}; the traceback is in logs/; {RESUME}"


def _is_path(name: object) -> bool:
    """Whether it names a file, and is no descriptor or address (urllib)."""
    return isinstance(name, bytes | os.PathLike) or (
        isinstance(name, str) and bool(name) and not re.match(r"[a-z][a-z0-9+.-]*://", name)
    )


def _is_inside(file: Path, folder: Path) -> bool:
    inner, outer = (Path(os.path.abspath(path)) for path in (file, folder))
    return inner == outer or outer in inner.parents or outer.resolve() in inner.resolve().parents


def _deed(error: OSError, file: Path) -> str:
    """What cannot be done with it, as far as the error tells."""
    if error.errno in FULL or error.errno == errno.EFBIG:
        return "written"
    if isinstance(error, FileNotFoundError | IsADirectoryError):
        return "read"
    there = file if file.exists() else file.parent
    return "read or written" if os.access(there, os.W_OK) else "written" if os.access(there, os.R_OK) else "read"
