"""Files of a run over HTTP: found without leaving the run, and sent whole or in part."""

import mimetypes
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from probe.names import shown
from probe.serve.problems import Problem
from probe.serve.security import REPORT_CSP

CHUNK = 1 << 18
MOST = 5000
"""Files that a list of artifacts holds."""
TEXT = {".log", ".txt", ".md", ".yaml", ".csv", ".jsonl", ".tex", ".sbatch"}
TYPES = {".md": "text/markdown", ".yaml": "application/yaml", ".jsonl": "application/jsonl"}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Opened:
    """A regular file, opened.

    Attributes:
        size: bytes, as it was opened; what is appended later is not sent.
    """

    file: BinaryIO
    size: int
    modified_ns: int

    @property
    def etag(self) -> str:
        """Changes with the content."""
        return f'"{self.modified_ns:x}-{self.size:x}"'


def inside(folder: Path, name: str) -> Path:
    """The path of a file of a run, links resolved.

    Raises:
        Problem: 404, it is hidden, leads out of the folder, or is not there.
    """
    parts = name.split("/")
    wrong = Problem(404, f"the run has no file {shown(name)[:200]!r}; its list of artifacts has all.")
    if "\0" in name or "\\" in name or any(part in ("", "..") or part.startswith(".") for part in parts):
        raise wrong
    try:
        found, root = folder.joinpath(*parts).resolve(strict=True), folder.resolve(strict=True)
        below = found.relative_to(root)
    except (OSError, ValueError, RuntimeError):
        raise wrong from None
    if any(part.startswith(".") for part in below.parts) or not found.is_file():
        raise wrong
    return found


def opened(path: Path) -> Opened:
    """Open a file whose links are resolved. Raises ``Problem`` (404): it is gone, or no regular file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise Problem(404, f"{shown(path.name)} cannot be read; it may just have been removed.") from None
    file, about = os.fdopen(descriptor, "rb"), os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        file.close()
        raise Problem(404, f"{shown(path.name)} is no file.")
    return Opened(file, about.st_size, about.st_mtime_ns)


def media_type(path: Path) -> str:
    """By the ending."""
    ending = path.suffix.lower()
    known = TYPES.get(ending) or ("text/plain" if ending in TEXT else None) or mimetypes.guess_type(path.name)[0]
    known = known or "application/octet-stream"
    return f"{known}; charset=utf-8" if known.startswith("text/") or ending in TYPES else known


def send(request: Request, path: Path, kind: str | None = None, download: bool = False) -> Response:
    """A file, or the part of it that the request names; 304 where the client has it.

    Args:
        kind: media type; by default that of the ending.
        download: tell the browser to save it rather than show it.

    Raises:
        Problem: 404, 416.
    """
    found, kind = opened(path), kind or media_type(path)
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": found.etag,
        "Last-Modified": formatdate(found.modified_ns / 1e9, usegmt=True),
        "Cache-Control": "private, no-cache",  # ask again each time, with the ETag
    }
    if kind.startswith(("text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/xml")):
        headers["Content-Security-Policy"] = REPORT_CSP
    if download:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(path.name)}"
    try:
        if found.etag in _tags(request.headers.get("if-none-match", "")):
            found.file.close()
            return Response(status_code=304, headers=headers)
        first, last = _part(request, found)
    except Problem:
        found.file.close()
        raise
    headers["Content-Length"] = str(last - first)
    if whole := (last - first == found.size):
        pass
    else:
        headers["Content-Range"] = f"bytes {first}-{last - 1}/{found.size}"
    if request.method == "HEAD":
        found.file.close()
        return Response(status_code=200 if whole else 206, headers=headers, media_type=kind)
    return StreamingResponse(_chunks(found, first, last), 200 if whole else 206, headers, kind)


def _tags(text: str) -> list[str]:
    return [one.strip().removeprefix("W/") for one in text.split(",")]


def _part(request: Request, found: Opened) -> tuple[int, int]:
    """The half-open range of bytes that is asked for; the whole where that is none, or several."""
    asked = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if not asked or not (asked[1] or asked[2]) or not _still(request.headers.get("if-range"), found):
        return 0, found.size
    if len(asked[1]) > 18 or len(asked[2]) > 18:
        raise _unsatisfiable(found.size)
    if not asked[1]:
        first, last = max(found.size - int(asked[2]), 0), found.size
    else:
        first, last = int(asked[1]), min(int(asked[2]) + 1 if asked[2] else found.size, found.size)
        if asked[2] and int(asked[2]) < first:
            return 0, found.size  # no range at all, by RFC 9110
    if first >= last:
        raise _unsatisfiable(found.size)
    return first, last


def _unsatisfiable(size: int) -> Problem:
    return Problem(
        416, f"the range is outside of the file, which has {size} bytes.", headers={"Content-Range": f"bytes */{size}"}
    )


def _still(condition: str | None, found: Opened) -> bool:
    """Whether the file is the one that If-Range names."""
    if condition is None or condition.strip() == found.etag:
        return True
    try:
        return parsedate_to_datetime(condition).timestamp() == found.modified_ns // 10**9
    except (TypeError, ValueError):
        return False


def _chunks(found: Opened, first: int, last: int) -> Iterator[bytes]:
    with found.file as file:
        file.seek(first)
        while first < last and (chunk := file.read(min(CHUNK, last - first))):
            first += len(chunk)
            yield chunk


def listed(folder: Path) -> tuple[list[tuple[str, int, str]], bool]:
    """Path, size and time of the files of a run that are not hidden, sorted; and whether some were left out.

    Links are not followed into folders; one to a file counts if it stays inside.
    """
    found: list[tuple[str, int, str]] = []
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(here, name)
            below = path.relative_to(folder).as_posix()
            if name.startswith(".") or not _is_text(below):
                continue
            try:
                about = inside(folder, below).stat()
            except (Problem, OSError):
                continue
            if len(found) == MOST:
                return found, True
            found.append(
                (below, about.st_size, datetime.fromtimestamp(about.st_mtime, UTC).isoformat(timespec="seconds"))
            )
    return found, False


def _is_text(name: str) -> bool:
    """Whether a name is Unicode, so that an address can hold it."""
    return not any("\ud800" <= c <= "\udfff" for c in name)
