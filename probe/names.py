"""Names from outside (files, folders, classes, other people's runs), made safe to write and to show."""

import csv
import difflib
import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from probe.errors import UserError

CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"  # control characters (ESC begins a terminal's commands) and line ends
DIRECTIONS = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # they let "gpj.exe" be read as "exe.jpg"
SURROGATES = r"\ud800-\udfff"  # Python's stand-ins for bytes of a file name that are not UTF-8: no file takes them

_UNSAFE = re.compile(f"[{CONTROLS}{DIRECTIONS}{SURROGATES}]")
_UNSAFE_IN_TEXT = re.compile(rf"(?![\n\t])[{CONTROLS}{DIRECTIONS}{SURROGATES}]")
_ESCAPED = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4})")
_FORMULA = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")  # the last four are full-width = + - @
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def shown(name: str) -> str:
    r"""A name as text that is safe in every file, page and terminal; different names stay different.

    A byte that is not UTF-8 becomes ``\xff``, a control character ``\x1b`` or ``\u202e``. Backslashes are doubled only
    in names that have such an escape, or text that looks like one; other names stay as they are.
    """
    if _UNSAFE.search(name) or _ESCAPED.search(name):
        return _UNSAFE.sub(_escape, name.replace("\\", "\\\\"))
    return name


def printable(text: str) -> str:
    """The same for texts: line ends and tabs stay, backslashes are not doubled, and escapes are those of JSON."""
    return _UNSAFE_IN_TEXT.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shortened(text: str, most: int) -> str:
    """A text of at most ``most`` characters; a longer one loses its middle."""
    half = (most - 3) // 2
    return text if len(text) <= most else f"{text[: most - 3 - half]}...{text[-half:]}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the known name that is nearest to a wrong one; empty if none is near."""
    near = difflib.get_close_matches(name[:100], list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def given_path(text: str | Path) -> Path:
    """A path from a command line or a configuration, with ``~`` expanded, since no shell expands ``--out=~/x``.

    Raises:
        UserError: ``~name`` of an unknown user, or a path that is not UTF-8, which libraries do not open.
    """
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise UserError(f"path '{shown(path)}': there is no such home folder; write ./~ for a folder named so.")
    if not path.isascii() and any("\ud800" <= c <= "\udfff" for c in path):
        raise UserError(f"path '{shown(path)}' is not UTF-8; rename it, or use another folder.")
    return Path(path)


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV; text that a spreadsheet would compute gets a quote before it."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if value.startswith(_FORMULA) and not _NUMBER.fullmatch(value) else text


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
